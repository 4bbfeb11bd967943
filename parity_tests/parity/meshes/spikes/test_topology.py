"""Levels and neighbours from triangles alone."""

import numpy as np
import pytest

from inputs.template import Template
from network.levels import VERTICES
from parity.meshes.spikes.orientation import oriented
from parity.meshes.spikes.topology import topology_of
from parity_tests.parity.meshes.spikes.conftest import sphere
from weight_conversion.errors import InputError


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_of_the_template(template: Template, level: int) -> None:
    found = topology_of(template.faces[level], VERTICES[level])
    counts = np.diff([0, *VERTICES])[: level + 1]
    assert np.array_equal(found.levels, np.repeat(np.arange(level + 1), counts))
    for mine, theirs in zip(found.unpooling, template.unpooling, strict=False):
        assert np.array_equal(mine, np.sort(theirs, axis=1))
    assert bool(found.note) == (level == 0)


def test_official_levels_although_wound_inconsistently(official_template: Template) -> None:
    found = topology_of(official_template.faces[2], 2466)
    assert np.bincount(found.levels).tolist() == [156, 462, 1848]
    assert np.array_equal(found.unpooling[1], np.sort(official_template.unpooling[1], axis=1))


def test_row_defect_is_the_supports(official_template: Template) -> None:
    found = topology_of(official_template.faces[2], 2466)
    support = official_template.supports[2][1]
    sums = np.bincount(support.indices[:, 0], support.values, minlength=2466)
    assert np.allclose(found.row_defect, sums + 1.0, atol=1e-6)


def test_vertices_in_another_order_have_no_level(template: Template) -> None:
    order = np.random.default_rng(0).permutation(2466)
    found = topology_of(order[template.faces[2]], 2466)
    assert (found.levels == 0).all()
    assert "old vertices first" in found.note


@pytest.mark.parametrize(
    ("faces", "vertices", "words"),
    [
        ([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], 5, "1 vertices are in no triangle"),
        ([[0, 1, 2], [0, 2, 3], [0, 3, 1]], 4, "another number of triangles than two"),
        ([[0, 1, 1], [0, 2, 3], [0, 3, 1], [1, 3, 2]], 4, "triangle 1"),
    ],
)
def test_no_closed_surface(faces: list[list[int]], vertices: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        topology_of(np.array(faces), vertices)


def test_triangles_are_wound_alike_and_outward(template: Template) -> None:
    mesh = sphere(template)
    some = np.random.default_rng(0).random(len(mesh.faces)) < 0.4
    mixed = np.where(some[:, None], mesh.faces[:, ::-1], mesh.faces)
    faces, wrong = oriented(mesh.vertices, mixed)
    assert wrong == some.sum()
    a, b, c = (mesh.vertices[faces[:, corner]] for corner in range(3))
    outward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a - [0.0, 0.0, -0.8])
    assert (outward > 0).all()
