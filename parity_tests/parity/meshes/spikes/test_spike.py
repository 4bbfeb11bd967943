"""What is a spike and what is not."""

from pathlib import Path

import numpy as np
import pytest

from inputs.graphs import convex_triangles
from inputs.template import Template
from parity.meshes.spikes.judge import source_of
from parity.meshes.spikes.spike import angle_sums, spikes
from parity_tests.parity.meshes.spikes.conftest import Mesh, ellipsoid, sphere


def cone(half_angle: float, sides: int = 6) -> Mesh:
    """A double cone: tips above and below a ring of radius 1; the upper has this half-angle."""
    turn = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)
    tips = [[0, 0, 1 / np.tan(half_angle)], [0, 0, -0.1]]
    ahead = np.roll(np.arange(sides), -1)
    up = np.stack([np.arange(sides), ahead, np.full(sides, sides)], axis=1)
    down = np.stack([ahead, np.arange(sides), np.full(sides, sides + 1)], axis=1)
    return Mesh(np.concatenate([ring, tips]), np.concatenate([up, down]))


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("shape", [ellipsoid, sphere])
def test_template_has_no_spike(template: Template, shape: type, level: int) -> None:
    mesh = shape(template, level)
    assert not spikes(mesh.vertices, mesh.faces).any()


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("shape", [ellipsoid, sphere])
def test_official_template_has_no_spike(
    official_template: Template, shape: type, level: int
) -> None:
    mesh = shape(official_template, level)
    assert not spikes(mesh.vertices, mesh.faces).any()


def test_angle_sum_of_a_cone() -> None:
    mesh = cone(0.4, sides=400)
    assert angle_sums(mesh.vertices, mesh.faces)[400] == pytest.approx(
        2 * np.pi * np.sin(0.4), rel=1e-3
    )


@pytest.mark.parametrize(("degrees", "spiky"), [(27.0, True), (35.0, False), (80.0, False)])
def test_a_tip_is_a_spike_below_30_degrees(degrees: float, spiky: bool) -> None:
    mesh = cone(np.radians(degrees), sides=60)
    assert spikes(mesh.vertices, mesh.faces)[60] == spiky


def test_regular_tetrahedron_is_on_the_bound() -> None:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float64)
    faces = convex_triangles(corners)
    assert np.allclose(angle_sums(corners, faces), np.pi)
    assert not spikes(corners, faces).any()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_scale_turn_and_place_do_not_matter(ball: Mesh, scale: float) -> None:
    random = np.random.default_rng(0)
    vertices = ball.vertices.copy()
    planted = [3, 700, 2000]
    vertices[planted] *= [1.0, 1.0, 1.3]
    turn = np.linalg.qr(random.standard_normal((3, 3)))[0]
    moved = scale * vertices @ turn + random.standard_normal(3) * scale
    assert np.flatnonzero(spikes(moved, ball.faces)).tolist() == planted


def test_winding_does_not_matter(ball: Mesh) -> None:
    vertices = ball.vertices.copy()
    vertices[5] *= 1.3
    faces = ball.faces.copy()
    faces[::2] = faces[::2, ::-1]
    assert np.flatnonzero(spikes(vertices, faces)).tolist() == [5]


def test_collapsed_mesh_has_no_angles(ball: Mesh) -> None:
    nowhere = np.zeros_like(ball.vertices)
    assert np.isnan(angle_sums(nowhere, ball.faces)).all()
    assert not spikes(nowhere, ball.faces).any()


def test_paper_against_official_demo(official: Path) -> None:
    paper = source_of(official / "paper_port/mvp2m_prediction.obj")
    demo = source_of(official / "demo/predict.obj")
    assert paper.faces is not None
    assert demo.faces is not None
    spiky, few = spikes(paper.vertices, paper.faces), spikes(demo.vertices, demo.faces)
    assert spiky[:156].sum() > 0.9 * spiky.sum()
    assert spiky.sum() > 10 * few.sum()
