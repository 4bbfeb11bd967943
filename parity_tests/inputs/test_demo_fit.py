"""Meshes fitted to points: near them, outward, and for a shape whose answer is known."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from inputs.cameras import camera_from_row
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.fit import fitted_mesh, vertex_normals
from inputs.graphs import enclosed_volume
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.item import load_item
from inputs.template import build_template


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_reaches_the_items_points(name: str) -> None:
    folder = demo_item_path(name)
    row = load_item(folder).cameras[0]
    truth = load_ground_truth(folder / "model_normal.xyz", row)
    template = build_template()
    mesh = fitted_mesh(template, truth, camera_from_row(row).rotation)
    points = np.asarray(truth.points)
    size = np.linalg.norm(points.max(axis=0) - points.min(axis=0))
    to_truth, _ = cKDTree(points).query(mesh)
    from_truth, _ = cKDTree(mesh).query(points)
    assert np.sqrt((to_truth**2).mean()) < 0.015 * size
    assert np.sqrt((from_truth**2).mean()) < 0.025 * size
    assert enclosed_volume(mesh.astype(np.float64), template.faces[2]) > 0


def test_a_ball_of_points_gives_a_ball() -> None:
    directions = np.random.default_rng(3).normal(size=(5000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centre = np.array([0.1, -0.2, -0.8])
    truth = GroundTruth(
        (centre + 0.2 * directions).astype(np.float32), directions.astype(np.float32)
    )
    template = build_template()
    mesh = fitted_mesh(template, truth, np.eye(3)).astype(np.float64)
    radii = np.linalg.norm(mesh - centre, axis=1)
    np.testing.assert_allclose(radii, 0.2, atol=0.01)
    normals = vertex_normals(mesh, template.faces[2])
    assert ((mesh - centre) * normals).sum(axis=1).min() > 0.19
