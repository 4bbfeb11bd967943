"""Measures of a mesh, on meshes whose faults are known."""

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.item import load_item
from parity.meshes.spikes.health import health_of
from parity.meshes.spikes.intersections import intersecting_pairs
from parity.meshes.spikes.residuals import residuals_of
from parity_tests.parity.meshes.spikes.conftest import Mesh


def health(mesh: Mesh) -> dict:  # type: ignore[type-arg]
    item = load_item(demo_item_path("plane"))
    topology = mesh.topology
    return health_of(residuals_of(mesh.vertices, topology), topology, item.cameras.astype(float))


def test_a_sphere_is_healthy(ball: Mesh) -> None:
    found = health(ball)
    assert found["self_intersections"] == found["flipped"] == found["degenerate"] == 0
    assert found["inconsistently_wound"] == 0
    assert found["normal_consistency"] > 0.99
    assert found["dihedral"]["greatest"] < 20
    assert found["edge_ratio"]["longest_to_shortest"] < 3


def test_a_vertex_pulled_through_the_other_side(ball: Mesh) -> None:
    vertices = ball.vertices.copy()
    vertices[1000] += 2.2 * ([0.0, 0.0, -0.8] - vertices[1000])
    found = health(Mesh(vertices, ball.faces))
    pairs = intersecting_pairs(vertices, ball.faces)
    mine = (ball.faces == 1000).any(axis=1)
    assert found["self_intersections"] == len(pairs) > 0
    assert mine[pairs].any(axis=1).all()
    assert found["dihedral"]["above_90_degrees"] > 0
    assert found["edge_ratio"]["longest_to_median"] > 10


def test_two_crossing_triangles_and_two_that_do_not() -> None:
    flat = [[0, 0, 0], [2, 0, 0], [0, 2, 0]]
    through = [[0.5, 0.5, -1], [0.5, 0.5, 1], [3, 3, 0]]
    beside = [[5, 5, -1], [5, 5, 1], [6, 6, 0]]
    faces = np.arange(9).reshape(3, 3)
    points = np.array([*flat, *through, *beside], dtype=np.float64)
    assert intersecting_pairs(points, faces).tolist() == [[0, 1]]


def test_triangles_with_a_common_corner_cross() -> None:
    points = np.array(
        [[0, 0, 0], [2, 0, 0], [0, 2, 0], [1.0, 0.2, -1], [0.2, 1.0, 1]], dtype=np.float64
    )
    assert len(intersecting_pairs(points, np.array([[0, 1, 2], [0, 3, 4]]))) == 1
    points[3:, 2] = 1.0
    assert len(intersecting_pairs(points, np.array([[0, 1, 2], [0, 3, 4]]))) == 0


def test_all_pairs_are_found_by_the_sweep() -> None:
    random = np.random.default_rng(0)
    corners = random.random((60, 1, 3)) + 0.3 * random.standard_normal((60, 3, 3))
    points, faces = corners.reshape(-1, 3), np.arange(180).reshape(60, 3)
    together = {tuple(pair) for pair in intersecting_pairs(points, faces).tolist()}
    single = {
        (a, b)
        for a in range(60)
        for b in range(a + 1, 60)
        if len(intersecting_pairs(points, faces[[a, b]]))
    }
    assert together == single
    assert len(together) > 50


def test_degenerate_and_folded_triangles(ball: Mesh) -> None:
    vertices = ball.vertices.copy()
    a, b, c = ball.faces[4000]
    vertices[a] = 0.5 * (vertices[b] + vertices[c])
    assert health(Mesh(vertices, ball.faces))["degenerate"] >= 1
    vertices[a] = vertices[b] + vertices[c] - ball.vertices[a]
    assert health(Mesh(vertices, ball.faces))["flipped"] >= 1


@pytest.mark.parametrize("view", [0, 1, 2])
def test_displacement_along_a_cameras_depth(ball: Mesh, view: int) -> None:
    from inputs.cameras import camera_from_row

    cameras = load_item(demo_item_path("plane")).cameras.astype(float)
    first, seen = camera_from_row(cameras[0]), camera_from_row(cameras[view])
    axis = first.rotation @ seen.rotation[2]
    vertices = ball.vertices.copy()
    vertices[:100] += 0.15 * axis
    topology = ball.topology
    found = health_of(residuals_of(vertices, topology), topology, cameras)
    shares = [row["spiky"] for row in found["along_depth"]]
    assert int(np.argmax(shares)) == view
    assert shares[view] > 0.95
