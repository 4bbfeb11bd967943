"""The template's judge, by planted faults: each is found, and named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inputs.template import SparseMatrix, Template, build_template
from parity_tests.inputs.template_check import check_template

OWN = build_template()


def at_level(field: str, level: int, value: Any) -> Template:
    levels = list(getattr(OWN, field))
    levels[level] = value
    changes: dict[str, Any] = {field: tuple(levels)}
    return replace(OWN, **changes)


def with_values(level: int, values: np.ndarray) -> Template:
    identity, scaled = OWN.supports[level]
    changed = SparseMatrix(scaled.indices, values.astype(np.float32), scaled.shape)
    return at_level("supports", level, (identity, changed))


def changed(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


def crossed_edges() -> np.ndarray:
    """Unpooling pairs with one edge twice and another never."""
    return changed(OWN.unpooling[0], (1,), OWN.unpooling[0][0])


def swapped_children() -> np.ndarray:
    """Level 2's faces with two new vertices exchanged."""
    faces = OWN.faces[1].copy()
    first, second = faces == 156, faces == 400
    faces[first], faces[second] = 400, 156
    return faces


PLANTED: dict[str, tuple[Template, str]] = {
    "nan": (replace(OWN, coordinates=OWN.coordinates * np.nan), "coordinates are NaN"),
    "range": (at_level("faces", 0, changed(OWN.faces[0], (0, 0), 156)), "level 1: faces are not"),
    "hole": (
        at_level("faces", 0, changed(OWN.faces[0], (0,), OWN.faces[0][1])),
        "level 1: 4 edges are not in exactly two faces",
    ),
    "inwards": (
        at_level("faces", 0, OWN.faces[0][:, ::-1]),
        "level 1: faces are wound inwards",
    ),
    "one-face-turned": (
        at_level("faces", 2, changed(OWN.faces[2], (7,), OWN.faces[2][7][::-1])),
        "level 3: faces are wound inconsistently",
    ),
    "identity": (
        at_level("supports", 1, (OWN.supports[1][1], OWN.supports[1][1])),
        "level 2: the first support is not the identity",
    ),
    "unscaled": (
        with_values(0, OWN.supports[0][1].values + (OWN.supports[0][1].values > 0)),
        "level 1: the second support is not 2L/λmax − I",
    ),
    "spectrum": (
        with_values(2, 1.001 * OWN.supports[2][1].values),
        "level 3: the second support's eigenvalues reach from -1.001",
    ),
    "one-value": (
        with_values(0, changed(OWN.supports[0][1].values, (2,), 0.0)),
        "level 1: the second support is not",
    ),
    "laplace": (
        at_level("laplace", 0, changed(OWN.laplace[0], (3, 0), 155)),
        "level 1: the Laplace table is wrong for 1 vertices, the first 3",
    ),
    "laplace-degree": (
        at_level("laplace", 1, changed(OWN.laplace[1], (9, 9), 3)),
        "level 2: the Laplace table is wrong for 1 vertices, the first 9",
    ),
    "unpooling": (at_level("unpooling", 0, crossed_edges()), "level 1: unpooling does not halve"),
    "children": (
        at_level("faces", 1, swapped_children()),
        "level 1: the next level's faces are not these, each split in four",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_finds(name: str) -> None:
    template, message = PLANTED[name]
    findings = check_template(template)
    assert any(finding.startswith(message) for finding in findings), findings


def test_finds_two_parts() -> None:
    # Two tetrahedra have 8 vertices; here the check of one level alone is enough.
    from parity_tests.inputs.template_check import _surface

    tetrahedron = np.array([(0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)])
    points = np.random.default_rng(0).normal(size=(8, 3))
    findings = list(_surface(points, np.concatenate([tetrahedron, tetrahedron + 4]), 12))
    assert "V − E + F is 4 with 12 edges, not 2" in findings
    assert "falls into 2 parts: the Laplacian has as many zero eigenvalues" in findings
