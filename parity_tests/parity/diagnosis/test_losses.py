"""Loss terms with one operand wrong, and what is said of them."""

import numpy as np
import pytest

from inputs.template import build_template
from network.losses import LOSSES
from parity.diagnosis.losses import _TERMS, Block, explain
from parity.oracle.losses import Measured

OTHERS = {"chamfer_1": 3.0, "move_1": 0.5, "laplace_1": 0.0}


@pytest.fixture(scope="module")
def block() -> Block:
    random = np.random.default_rng(3)
    template = build_template()
    before = template.coordinates.astype(np.float64)
    table = template.laplace[0].astype(np.int64)
    near = table[:, :8]
    faces = template.faces[0].astype(np.int64)
    to = Measured(
        points=before[:100] + random.normal(0, 0.02, (100, 3)),
        normals=random.normal(size=(100, 3)),
        triangles=faces[random.integers(0, len(faces), 50)],
        r1=random.random(50),
        r2=random.random(50),
        pairs=template.supports[0][1].indices.astype(np.int64),
        neighbours=np.where(near < 0, len(before), near),
        degrees=table[:, -1].astype(np.float64),
    )
    camera = np.array([20.0, 30.0, 0.0, 0.8, 25.0])
    return Block("coarse", before, before + random.normal(0, 0.02, before.shape), to, camera)


@pytest.mark.parametrize("term", _TERMS)
def test_every_variant_is_told_from_the_others_or_nothing_is_said(term: str, block: Block) -> None:
    official, variants = _TERMS[term](block)
    told = {}
    for operand, what, value in variants:
        if value == pytest.approx(official, rel=1e-9):
            continue  # no different on this mesh
        found = explain(f"{term}_1", official, value, 0.0, block, OTHERS)
        if found is not None:
            assert found[0] == operand, what
            told[what] = found[1]
    assert len(told) >= 3


def test_the_official_terms_are_those_of_the_formulas(block: Block) -> None:
    """Written once more, plainly."""
    mesh, to = block.after, block.to
    edges = mesh[to.pairs[:, 0]] - mesh[to.pairs[:, 1]]
    assert _TERMS["edge"](block)[0] == pytest.approx(
        LOSSES["coarse"].edge * np.mean(np.sum(edges**2, axis=1)), rel=1e-12
    )
    a, b, c = (mesh[to.triangles[:, k]] for k in range(3))
    root = np.sqrt(to.r1)[:, None]
    r2 = to.r2[:, None]
    points = np.concatenate([mesh, (1 - root) * a + root * (1 - r2) * b + root * r2 * c])
    squares = np.sum((points[:, None] - to.points[None]) ** 2, axis=2)
    expected = LOSSES["coarse"].chamfer * (
        squares.min(axis=0).mean() + float(np.float32(0.55)) * squares.min(axis=1).mean()
    )
    assert _TERMS["chamfer"](block)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "seen", "operand"),
    [
        ("edge_1", 0.2, "constant"),
        ("edge_1", 359 / 500, "constant"),
        ("edge_1", 0.0, "missing term"),
        ("decay", 0.9, "decay term"),
        ("edge_1", 1.0, "precision"),
        ("edge_1", float(np.sqrt(0.3)), None),
    ],
)
def test_factors(name: str, seen: float, operand: str | None, block: Block) -> None:
    """A factor is believed where it is a simple fraction, and any other number is not."""
    expected = 7.0 if name == "decay" else _TERMS["edge"](block)[0]
    found = explain(name, expected, seen * expected, 1e-14 * expected, block, OTHERS)
    assert (found and found[0]) == operand


@pytest.mark.parametrize(("lost", "operand"), [(3.0, "missing term"), (1.0, None)])
def test_a_total_without_a_term(lost: float, operand: str | None) -> None:
    found = explain("total", 9.0, 9.0 - lost, 1e-12, None, OTHERS)
    assert (found and found[0]) == operand
    assert found is None or found[1] == "the total is without chamfer_1"


def test_nothing_is_said_where_the_reference_is_not_official(block: Block) -> None:
    official, variants = _TERMS["edge"](block)
    _, _, value = next(variants)
    assert explain("edge_1", 1.01 * official, value, 1e-14, block, OTHERS) is None
