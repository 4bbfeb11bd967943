"""Projections on hostile coordinates, and the sparse product, against torch and NumPy."""

import numpy as np
import torch

from parity_tests.torch_impl.onnx.evaluated import GraphWriter, evaluated
from torch_impl import onnx_network, onnx_projection, projection

PIXELS = np.array(
    [0.0, 223.0, 222.9, 221.0, 111.5, 55.75, 4.0, 3.9999998, 8.0, 17.3, np.nan], np.float32
)


def hostile_pixels() -> np.ndarray:
    """(3, N, 2): every pair of ``PIXELS``, in another order for each view."""
    pairs = np.stack(np.meshgrid(PIXELS, PIXELS), axis=2).reshape(-1, 2)
    return np.stack([np.roll(pairs, view, axis=0) for view in range(3)])


def test_nearest_features_on_hostile_pixels() -> None:
    random = np.random.default_rng(0)
    at = hostile_pixels()
    feeds = {"at": at} | {
        f"map_{size}": random.normal(size=(1, size, size, 5)).astype(np.float32)
        for size in (56, 28)
    }

    def build(graph: GraphWriter) -> list[str]:
        cells = onnx_projection.nearest_cells(graph, "at")
        maps = [onnx_projection.Maps(f"map_{size}", size, 5) for size in (56, 28)]
        views = onnx_projection.nearest_features(graph, maps, cells)
        return [graph.cast(cells, np.float32), *views]

    cells, *views = evaluated(build, feeds)
    expected = projection.nearest_cells(torch.from_numpy(at))
    np.testing.assert_array_equal(cells, expected.numpy())
    np.testing.assert_array_equal(cells == projection.OUTSIDE, np.isnan(at))
    tensors = [torch.from_numpy(feeds[f"map_{size}"]) for size in (56, 28)]
    features = projection.nearest_features(tensors, expected)
    np.testing.assert_array_equal(np.stack(views), features.numpy())
    assert (np.stack(views)[np.isnan(at).any(axis=2)] == 0).all()


def test_bilinear_features_on_hostile_pixels() -> None:
    random = np.random.default_rng(0)
    at = hostile_pixels()
    sizes = (224, 112, 56)
    feeds = {"at": at} | {
        f"map_{size}": random.normal(size=(3, size, size, 2)).astype(np.float32) for size in sizes
    }

    def build(graph: GraphWriter) -> list[str]:
        corners = onnx_projection.bilinear_corners(graph, "at")
        maps = [onnx_projection.Maps(f"map_{size}", size, 2) for size in sizes]
        views = onnx_projection.bilinear_features(graph, maps, "at", corners)
        statistics = onnx_projection.view_statistics(graph, views)
        return [graph.cast(corners, np.float32), *views, *statistics]

    corners, *found = evaluated(build, feeds)
    expected = projection.bilinear_corners(torch.from_numpy(at))
    np.testing.assert_array_equal(corners, expected.numpy())
    assert (corners[np.isnan(at)] == projection.OUTSIDE).all()
    tensors = [torch.from_numpy(feeds[f"map_{size}"]) for size in sizes]
    bordered = [projection.with_border(each) for each in tensors]
    features = projection.bilinear_features(bordered, torch.from_numpy(at), expected)
    np.testing.assert_allclose(np.stack(found[:3]), features.numpy(), rtol=1e-5, atol=1e-6)
    statistics = projection.view_statistics(features).numpy()
    assert 0 < np.isnan(statistics).mean() < 1
    np.testing.assert_allclose(np.concatenate(found[3:], axis=1), statistics, rtol=1e-5, atol=1e-6)


def test_pixels_and_cameras() -> None:
    cameras = np.array(
        [[20, 25, 0, 1.2, 25], [250, 33, 0, 1.35, 25], [130, 89, 0, 1.1, 25]], np.float32
    )
    points = np.random.default_rng(0).normal([0, 0, -0.8], 0.2, (500, 3)).astype(np.float32)
    # View 0's own place, whose pixel is 0/0.
    points[0] = 0

    def build(graph: GraphWriter) -> list[str]:
        frames = onnx_projection.camera_frames(graph, "cameras")
        return [onnx_projection.pixels(graph, "points", frames)]

    (found,) = evaluated(build, {"cameras": cameras, "points": points})
    expected = projection.pixels(torch.from_numpy(points), torch.from_numpy(cameras)).numpy()
    assert np.isnan(expected[0, 0]).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_sparse_product_adds_in_any_order_and_spreads_no_nan() -> None:
    random = np.random.default_rng(0)
    indices = np.argwhere(random.random((156, 156)) < 0.1)
    random.shuffle(indices)
    values = random.normal(size=len(indices)).astype(np.float32)
    x = random.normal(size=(156, 3)).astype(np.float32)
    x[5] = np.nan

    def build(graph: GraphWriter) -> list[str]:
        rows, columns = graph.split("indices", 1, [1, 1])
        matrix = onnx_network.Sparse(
            rows, graph.squeeze(columns, 1), graph.unsqueeze("values", 1), 156
        )
        return [onnx_network._mix(graph, matrix, "x", 3)]

    (found,) = evaluated(build, {"indices": indices, "values": values, "x": x})
    expected = np.zeros((156, 3))
    np.add.at(expected, indices[:, 0], values[:, None].astype(np.float64) * x[indices[:, 1]])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert 0 < np.isnan(found).mean() < 0.5
