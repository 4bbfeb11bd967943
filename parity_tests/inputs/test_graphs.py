"""Laplacians and hulls against values known otherwise."""

import numpy as np
import pytest

from inputs.graphs import (
    convex_triangles,
    edges_of,
    enclosed_volume,
    extreme_eigenvalues,
    neighbours_of,
    normalised_laplacian,
    scaled_laplacian,
)

CUBE_EDGES = np.array([(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit])
OCTAHEDRON = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)], float)


def test_cubes_spectrum() -> None:
    # The cube graph's normalised Laplacian has the eigenvalues 0, 2/3 (3×), 4/3 (3×), 2.
    values = np.linalg.eigvalsh(normalised_laplacian(CUBE_EDGES, 8).toarray())
    np.testing.assert_allclose(values, [0, *[2 / 3] * 3, *[4 / 3] * 3, 2], atol=1e-12)


def test_scaled_cube() -> None:
    scaled = scaled_laplacian(CUBE_EDGES, 8).toarray()
    assert extreme_eigenvalues(scaled_laplacian(CUBE_EDGES, 8)) == pytest.approx((-1, 1))
    np.testing.assert_allclose(np.diag(scaled), 0.0, atol=1e-12)
    assert scaled[0, 1] == pytest.approx(-1 / 3)


def test_large_and_small_matrices_have_the_same_eigenvalues() -> None:
    ring = np.array([(n, (n + 1) % 301) for n in range(301)])
    matrix = normalised_laplacian(ring, 301)
    low, high = extreme_eigenvalues(matrix)
    expected = 1 - np.cos(2 * np.pi * np.arange(301) / 301)
    assert low == pytest.approx(expected.min(), abs=1e-10)
    assert high == pytest.approx(expected.max(), abs=1e-10)


def test_octahedron() -> None:
    faces = convex_triangles(OCTAHEDRON)
    assert faces.shape == (8, 3)
    assert enclosed_volume(OCTAHEDRON, faces) == pytest.approx(4 / 3)
    assert edges_of(faces).shape == (12, 2)
    assert neighbours_of(edges_of(faces), 6)[0].tolist() == [2, 3, 4, 5]


def test_hull_does_not_depend_on_the_order_found() -> None:
    turned = OCTAHEDRON @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned *= np.linalg.det(turned[::2]) * np.linalg.det(OCTAHEDRON[::2])
    np.testing.assert_array_equal(convex_triangles(OCTAHEDRON), convex_triangles(turned))


@pytest.mark.parametrize(
    "points",
    [np.vstack([OCTAHEDRON, [0, 0, 0.1]]), OCTAHEDRON[:4], np.zeros((6, 3))],
    ids=["inside", "flat", "one-point"],
)
def test_refuses_points_that_are_not_convex(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="convex hull"):
        convex_triangles(points)
