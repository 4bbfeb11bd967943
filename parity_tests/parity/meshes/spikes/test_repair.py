"""Repairs: what they move, what they leave alone, and when they decline."""

from pathlib import Path

import numpy as np
import pytest

from inputs.template import Template
from parity.meshes.spikes.judge import source_of
from parity.meshes.spikes.methods import METHODS
from parity.meshes.spikes.repair import repair
from parity.meshes.spikes.residuals import degree_displacement
from parity.meshes.spikes.spike import spikes
from parity.meshes.spikes.topology import topology_of
from parity_tests.parity.meshes.spikes.conftest import Mesh, sphere
from weight_conversion.errors import InputError

PLANTED = [7, 400, 2100]


def spiked(ball: Mesh) -> Mesh:
    vertices = ball.vertices.copy()
    vertices[PLANTED] += 0.3 * (ball.vertices[PLANTED] - [0.0, 0.0, -0.8])
    return Mesh(vertices, ball.faces)


def test_only_spikes_move_and_all_are_gone(ball: Mesh) -> None:
    mesh = spiked(ball)
    done = repair(mesh.vertices, mesh.topology, "neighbours", ball.vertices)
    assert sorted(row["vertex"] for row in done.report["moved"]) == PLANTED
    assert done.report["spikes_before"] == 3
    assert done.report["spikes_after"] == 0
    assert done.report["unmoved"] == 2463
    others = np.setdiff1d(np.arange(2466), PLANTED)
    assert np.array_equal(done.vertices[others], mesh.vertices[others])
    assert np.abs(done.vertices - ball.vertices).max() < 0.005
    assert done.report["chamfer_after"] < done.report["chamfer_before"]
    moved = np.linalg.norm(done.vertices - mesh.vertices, axis=1)
    assert done.report["greatest_distance"] == pytest.approx(moved.max())


def test_degree_mode_is_taken_out(official_template: Template) -> None:
    ball = sphere(official_template)
    topology = ball.topology
    spoilt = ball.vertices + degree_displacement(ball.vertices, topology)
    assert spikes(spoilt, ball.faces).sum() > 40
    done = repair(spoilt, topology, "degree")
    assert done.report["spikes_after"] == 0
    assert len(done.report["moved"]) == 82
    assert np.abs(done.vertices - ball.vertices).max() < 0.01


def test_another_cause_is_not_undone(ball: Mesh) -> None:
    mesh = spiked(ball)
    with pytest.raises(InputError, match=r"expected 90 %, or --method neighbours"):
        repair(mesh.vertices, mesh.topology, "degree")


@pytest.mark.parametrize("method", METHODS)
def test_both_repair_the_papers_mesh(official: Path, method: str) -> None:
    source = source_of(official / "paper_port/mvp2m_prediction.obj")
    assert source.faces is not None
    done = repair(source.vertices, topology_of(source.faces, 2466), method)
    assert done.report["spikes_after"] < 0.05 * done.report["spikes_before"]


def test_a_healthy_mesh_stays_as_it_is(ball: Mesh) -> None:
    done = repair(ball.vertices, ball.topology, "neighbours")
    assert np.array_equal(done.vertices, ball.vertices)
    assert done.report["moved"] == []
