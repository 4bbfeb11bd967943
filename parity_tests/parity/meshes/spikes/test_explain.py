"""What the residuals are laid to: planted causes must come first."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.files import Float64
from inputs.item import load_item
from inputs.template import Template
from parity.meshes.spikes.explain import (
    Property,
    explain,
    from_positions,
    groups_of,
    known_beforehand,
    share_between,
)
from parity.meshes.spikes.residuals import (
    degree_displacement,
    degree_mode_of,
    free_degree_mode_of,
    residuals_of,
)
from parity.meshes.spikes.topology import REGULAR, Topology
from parity_tests.parity.meshes.spikes.conftest import Mesh, sphere

Chosen = Callable[[Topology, Float64], np.ndarray]

CAUSES: dict[str, Chosen] = {
    "unpooling level": lambda topology, _: topology.levels == 0,
    "number of neighbours": lambda topology, _: topology.degrees != REGULAR,
    "template x": lambda _, start: start[:, 0] > np.quantile(start[:, 0], 0.9),
    "template z": lambda _, start: start[:, 2] < np.quantile(start[:, 2], 0.1),
}


def spoilt(ball: Mesh, chosen: np.ndarray) -> Float64:
    """The ball with every chosen vertex moved its own way."""
    noise = np.random.default_rng(1).standard_normal(ball.vertices.shape)
    return ball.vertices + 0.03 * chosen[:, None] * noise


@pytest.mark.parametrize("cause", CAUSES)
def test_planted_cause_is_the_strongest(template: Template, ball: Mesh, cause: str) -> None:
    topology = ball.topology
    start = topology.unpooled(template.coordinates.astype(np.float64))
    mesh = spoilt(ball, CAUSES[cause](topology, start))
    found = explain(residuals_of(mesh, topology), known_beforehand(topology, template.coordinates))
    assert found[0].property == cause
    assert all(before.r2 >= after.r2 for before, after in pairwise(found))


def test_share_between_groups() -> None:
    groups = np.repeat([0, 1], 50)
    assert share_between(groups.astype(float), groups) == pytest.approx(1.0)
    assert share_between(np.tile([0.0, 1.0], 50), groups) == pytest.approx(0.0)
    noise = np.random.default_rng(0).standard_normal(100)
    expected = noise.reshape(2, 50).mean(axis=1).var() / noise.var()
    assert share_between(noise, groups) == pytest.approx(expected)


def test_continuous_properties_make_ten_equal_groups() -> None:
    values = np.random.default_rng(0).random(1000)
    groups = groups_of(values, continuous=True)
    assert np.bincount(groups).tolist() == [100] * 10
    assert (np.diff(groups[np.argsort(values)]) >= 0).all()


def test_what_a_spike_moves_is_kept_apart(template: Template, ball: Mesh) -> None:
    item = load_item(demo_item_path("plane"))
    topology = ball.topology
    before = {each.name for each in known_beforehand(topology, template.coordinates, item)}
    found = residuals_of(ball.vertices, topology)
    after = {each.name for each in from_positions(found, topology, item, ball.vertices + 0.01)}
    assert before.isdisjoint(after)
    assert "template's distance to the silhouette in view 2" in before
    assert {"pixel row in view 1", "distance to the ground truth"} <= after
    moved = ball.vertices * 1.1
    again = known_beforehand(topology, template.coordinates, item)
    first = known_beforehand(topology, template.coordinates, item)
    assert all(np.array_equal(a.values, b.values) for a, b in zip(first, again, strict=True))
    changed = from_positions(residuals_of(moved, topology), topology, item)
    assert not np.array_equal(changed[0].values, ball.vertices[:, 0])


def test_a_property_told_by_another_adds_nothing(ball: Mesh) -> None:
    topology = ball.topology
    mesh = spoilt(ball, topology.levels == 0)
    level = Property("level", topology.levels, False)
    twin = Property("twin", topology.levels * 7, False)
    found = explain(residuals_of(mesh, topology), [level, twin])
    assert found[0].r2 == found[1].r2 > 0.3
    assert max(row.given_others for row in found) < 1e-9


@pytest.mark.parametrize("strength", [1.0, -0.4])
def test_degree_mode_is_fitted(official_template: Template, strength: float) -> None:
    ball = sphere(official_template)
    topology = ball.topology
    off = degree_displacement(topology.neighbour_mean(ball.vertices), topology)
    found = degree_mode_of(residuals_of(ball.vertices + strength * off, topology), topology)
    assert found.strength == pytest.approx(strength, abs=0.02)
    assert found.r2 > 0.95
    assert found.vertices == 82


def test_no_degree_mode_in_a_smooth_mesh(ball: Mesh) -> None:
    found = degree_mode_of(residuals_of(ball.vertices, ball.topology), ball.topology)
    assert abs(found.strength) < 0.02


@pytest.mark.parametrize("point", [(0.0, 0.0, 0.0), (-0.4, 0.2, -0.5)])
def test_fixed_point_of_the_degree_mode(
    official_template: Template, point: tuple[float, ...]
) -> None:
    ball = sphere(official_template)
    topology = ball.topology
    off = degree_displacement(topology.neighbour_mean(ball.vertices) - point, topology)
    mode, displacement = free_degree_mode_of(residuals_of(ball.vertices + off, topology), topology)
    assert mode.r2 > 0.95
    # A sphere as small as this tells strength and place apart less well than their product.
    irregular = topology.degrees != REGULAR
    assert np.abs(displacement - off)[irregular].max() < 0.01
    assert (displacement[~irregular] == 0).all()
    assert mode.fixed_point is not None
    assert np.abs(np.array(mode.fixed_point) - point).max() < 0.15
