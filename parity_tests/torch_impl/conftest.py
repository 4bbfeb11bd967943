"""A template small enough to train on in a test: an icosahedron, halved twice."""

from typing import Any

import numpy as np
import pytest
import torch

from inputs.demo import demo_item_path
from inputs.graphs import convex_triangles, edges_of, neighbours_of, scaled_laplacian
from inputs.ground_truth import GroundTruth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import SparseMatrix, Template


@pytest.fixture(scope="module", autouse=True)
def two_threads():
    """Threads that race, where something depends on their order.

    For a module as a whole, because what its fixtures compute is held against its tests.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> Template:
    """12, 42 and 162 vertices, 20, 80 and 320 faces."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(0, y, z * golden) for y in (-1, 1) for z in (-1, 1)]
    points = np.array([np.roll(corner, axis) for axis in range(3) for corner in corners])
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    all_faces, all_edges = [convex_triangles(points)], []
    for level in range(3):
        edges = edges_of(all_faces[level])
        all_edges.append(edges)
        if level < 2:
            number = {(a, b): len(points) + n for n, (a, b) in enumerate(map(tuple, edges))}
            points = np.concatenate([points, points[edges].mean(axis=1)])
            all_faces.append(_halved(all_faces[level], number))
    counts = [12, 42, 162]
    supports = [_support(edges, count) for edges, count in zip(all_edges, counts, strict=True)]
    laplace = [_laplace(edges, count) for edges, count in zip(all_edges, counts, strict=True)]
    # Turned, because corners on an axis lie exactly between two pixels.
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    coordinates = (0.2 * points[:12] @ turn + [0, 0, -0.8]).astype(np.float32)
    unpooling = (all_edges[0].astype(np.int32), all_edges[1].astype(np.int32))
    return Template(
        "tiny", coordinates, tuple(supports), unpooling, tuple(laplace), tuple(all_faces)
    )


@pytest.fixture(scope="session")
def small_inputs(tiny: Template) -> dict[str, dict[str, Any]]:
    """Inputs of both stages on the tiny template, with 300 points of ground truth."""
    random = np.random.default_rng(0)
    directions = random.standard_normal((300, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = (directions * [0.25, 0.15, 0.2] + [0, 0, -0.8]).astype(np.float32)
    normals = directions.astype(np.float32)
    normals[:3] = 0  # as in the data set, where some are zero
    item = load_item(demo_item_path("sofa"))
    mesh = tiny.coordinates.astype(np.float64)
    for pairs in tiny.unpooling:
        mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    shared = {
        "images": item.images,
        "cameras": item.cameras,
        "template": tiny,
        "hypotheses": build_hypotheses(),
        "ground_truth": GroundTruth(points, normals),
    }
    return {
        "coarse": {**shared, "mesh": tiny.coordinates},
        "refine": {**shared, "mesh": mesh.astype(np.float32)},
    }


@pytest.fixture(scope="session")
def seeded() -> dict[str, dict[str, np.ndarray]]:
    return {stage: seeded_weights(stage) for stage in ("coarse", "refine")}


def _halved(faces: np.ndarray, number: dict[tuple[int, int], int]) -> np.ndarray:
    children = []
    for a, b, c in faces.tolist():
        ab, bc, ca = (number[min(pair), max(pair)] for pair in ((a, b), (b, c), (c, a)))
        children += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.array(children)


def _support(edges: np.ndarray, count: int) -> tuple[SparseMatrix, SparseMatrix]:
    diagonal = np.repeat(np.arange(count)[:, None], 2, axis=1)
    scaled: Any = scaled_laplacian(edges, count).tocoo()
    where = np.stack([scaled.row, scaled.col], axis=1).astype(np.int64)
    return (
        SparseMatrix(diagonal, np.ones(count, np.float32), (count, count)),
        SparseMatrix(where, scaled.data.astype(np.float32), (count, count)),
    )


def _laplace(edges: np.ndarray, count: int) -> np.ndarray:
    table = np.full((count, 10), -1, dtype=np.int32)
    for vertex, neighbours in enumerate(neighbours_of(edges, count)):
        table[vertex, : len(neighbours)] = neighbours
        table[vertex, 8:] = vertex, len(neighbours)
    return table
