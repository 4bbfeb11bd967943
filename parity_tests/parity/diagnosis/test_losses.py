"""Loss terms with one operand wrong, and what is said of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from inputs.template import build_template
from network.losses import LOSSES
from network.registry import network_of
from network.taps import MESH
from parity.diagnosis import losses
from parity.diagnosis.losses import diagnose, diagnose_decay, diagnose_total
from parity.diagnosis.question import Part, Question
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.losses import Term, decay_value, loss_terms
from parity.oracle.number import Arithmetic

STAGE = "coarse"
KINDS = ("chamfer", "edge", "normal", "laplace", "move")


@dataclass(frozen=True)
class Block:
    """The terms of a first block, its meshes, and what else a diagnosis reads."""

    terms: Mapping[str, Term]
    meshes: Mapping[str, np.ndarray]
    context: Context
    arithmetic: Arithmetic

    def told(self, kind: str, seen: float) -> losses.Diagnosis | None:
        return diagnose(self.terms[kind], self.meshes, seen, self.context, self.arithmetic)

    def official(self, kind: str) -> float:
        return float(self.terms[kind].value(self.meshes, self.arithmetic).value)


def question_of(block: Block, kind: str, seen: float) -> Question:
    term = block.terms[kind]
    number = term.value(block.meshes, block.arithmetic)
    return losses._question(term, block.meshes, seen, number, block.context, block.arithmetic)


@pytest.fixture(scope="module")
def block() -> Block:
    random = np.random.default_rng(3)
    template = build_template()
    before = template.coordinates.astype(np.float64)
    measured = {
        "points": (before[:100] + random.normal(0, 0.02, (100, 3))).astype(np.float32),
        "normals": random.normal(size=(100, 3)).astype(np.float32),
    }
    for number in (1, 2, 3):
        faces = template.faces[number - 1]
        measured |= {
            f"face_{number}": random.integers(0, len(faces), 50),
            f"r1_{number}": random.random(50).astype(np.float32),
            f"r2_{number}": random.random(50).astype(np.float32),
            f"faces_{number}": faces,
            f"laplace_{number}": template.laplace[number - 1],
            f"pairs_{number}": template.supports[number - 1][1].indices,
        }
    cameras = np.array([[20.0, 30.0, 0.0, 0.8, 25.0], [70.0, 10.0, 0.0, 0.8, 25.0]])
    weights = {
        row.key: random.normal(size=row.shape).astype(np.float32)
        for row in network_of(STAGE).variables[:6]
    }
    pairs = {f"unpooling/{k}": each for k, each in enumerate(template.unpooling, start=1)}
    names = {row.constants["pairs"] for row in network_of(STAGE).taps if "pairs" in row.constants}
    arrays = dict(zip(sorted(names), pairs.values(), strict=True))
    context = Context.of(STAGE, {"cameras": cameras, **arrays}, weights)
    after = before + random.normal(0, 0.02, before.shape)
    first, *_ = network_of(STAGE).meshes
    terms = {
        term.label.removesuffix("_1"): term
        for term in loss_terms(context, measured)
        if term.label.endswith("_1")
    }
    return Block(terms, {MESH: before, first: after}, context, arithmetic_of(STAGE, "float64"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_belongs_to_one_operand(kind: str, block: Block) -> None:
    """Changes of different operands give different values, but for those that are one change."""
    official = block.official(kind)
    told: dict[str, float] = {}
    for variant in losses._variants(question_of(block, kind, official), kind):
        value = question_of(block, kind, official).value(variant, Part())
        if value is None or not np.isfinite(value) or variant.rank:
            continue
        if float(value) != pytest.approx(official, rel=1e-6) and value != 0.0:
            told.setdefault(f"{variant.operand}: {variant.change}", float(value))
    assert len(told) >= 5
    assert len({words.partition(":")[0] for words in told}) >= 2
    alike = {
        (first, second)
        for first in told
        for second in told
        if first.partition(":")[0] < second.partition(":")[0]
        and told[first] == pytest.approx(told[second], rel=losses.SINGLE)
    }
    # Turning a sign in one place of a product or of a difference turns it in the other; what is
    # left out of a difference is left out with the product that makes it.
    same = ("sign", "the other way", "left out")
    assert all(any(words in one + other for words in same) for one, other in alike)


@pytest.mark.parametrize(
    ("kind", "change", "operand"),
    [
        ("chamfer", "the factor of one direction on the other", "constant"),
        ("chamfer", "distances for their squares", "reduction"),
        ("chamfer", "part 2 of 2 left out", "samples"),
        ("chamfer", "left in the world's frame", "frame"),
        ("edge", "edges of length 0 not counted", "reduction"),
        ("normal", "no absolute value", "reduction"),
        ("normal", "the limit 1e-3 instead of 1e-12", "epsilon"),
        ("normal", "the point one before", "index order"),
        ("laplace", "padding read as the last vertex", "index order"),
        ("laplace", "divided by the columns of their table", "constant"),
        ("move", "a mean for a sum", "reduction"),
    ],
)
def test_what_ports_do(kind: str, change: str, operand: str, block: Block) -> None:
    question = question_of(block, kind, 0.0)
    (variant, *_) = [v for v in losses._variants(question, kind) if change in v.change]
    seen = question.value(variant, Part())
    assert seen is not None
    found = block.told(kind, float(seen))
    assert found is not None
    assert (found.tap, found.operand, found.confirmed) == (f"losses/{kind}_1", operand, True)
    assert change in f"{found.explanation} {found.evidence}"


def test_the_official_terms_are_those_of_the_formulas(block: Block) -> None:
    """Written once more, plainly."""
    term = block.terms["chamfer"]
    given = {name: np.asarray(n.value) for name, n in term.given(block.meshes).items()
             if name != "neighbours"}  # fmt: skip
    mesh = given["after"]
    a, b, c = (mesh[given[f"corner_{corner}"].astype(int)] for corner in "abc")
    root, r2 = np.sqrt(given["r1"]), given["r2"]
    points = np.concatenate([mesh, (1 - root) * a + root * (1 - r2) * b + root * r2 * c])
    squares = np.sum((points[:, None] - given["points"][None]) ** 2, axis=2)
    expected = LOSSES[STAGE].chamfer * (
        squares.min(axis=0).mean() + float(np.float32(0.55)) * squares.min(axis=1).mean()
    )
    assert block.official("chamfer") == pytest.approx(expected, rel=1e-12)
    edges = mesh[given["first"].astype(int)] - mesh[given["second"].astype(int)]
    assert block.official("edge") == pytest.approx(
        LOSSES[STAGE].edge * np.mean(np.sum(edges**2, axis=1)), rel=1e-12
    )


@pytest.mark.parametrize(
    ("factor", "operand"),
    [
        (0.2, "constant"),
        (359 / 500, "constant"),
        (0.0, "missing term"),
        (1.0, None),
        (float(np.sqrt(0.3)), None),
        (float("nan"), None),
    ],
)
def test_factors(factor: float, operand: str | None, block: Block) -> None:
    """A factor is believed where it is a simple fraction, and any other number is not."""
    found = block.told("edge", factor * block.official("edge"))
    assert (found and found.operand) == operand


@pytest.mark.parametrize(("factor", "operand"), [(0.2, "constant"), (359 / 500, None)])
def test_factors_in_float32(factor: float, operand: str | None, block: Block) -> None:
    """Where a value is known to seven digits alone, only factors of small numbers are believed."""
    arithmetic = arithmetic_of(STAGE, "float32")
    seen = float(np.float32(factor * block.official("edge")))
    found = diagnose(block.terms["edge"], block.meshes, seen, block.context, arithmetic)
    assert (found and found.operand) == operand


@pytest.mark.parametrize(("lost", "operand"), [(3.0, "missing term"), (1.0, None)])
def test_a_total_without_a_term(lost: float, operand: str | None) -> None:
    others = {"chamfer_1": 3.0, "move_1": 0.5, "laplace_1": 0.0}
    found = diagnose_total(others, 9.0 - lost, 9.0, 1e-12)
    assert (found and found.operand) == operand
    assert found is None or found.explanation == "the total is without chamfer_1"


def test_decay(block: Block) -> None:
    """Biases that decay too, no half, and a number that nothing gives."""
    every = network_of(STAGE)
    random = np.random.default_rng(5)
    weights = {row.key: random.normal(size=row.shape) for row in every.variables}
    context = block.context.with_weights(weights)
    official = float(decay_value(context, block.arithmetic).value)
    rate = max(every.decay(row.key) for row in every.encoder)
    biases = [row.key for row in every.encoder if not every.decay(row.key)]
    added = sum(0.5 * rate * float(np.square(context.weights[key]).sum()) for key in biases)
    for seen, words in {
        official + added: "with the bias of the image network",
        2.0 * official: "without the factor ½",
        0.0: "of nothing",
    }.items():
        found = diagnose_decay(context, seen, 1e-12 * official)
        assert found is not None
        assert (found.operand, found.explanation) == ("decay term", f"it is the decay {words}")
    assert diagnose_decay(context, 1.3 * official, 1e-12 * official) is None


def test_nothing_of_a_loss_is_left_out() -> None:
    """Each kind of term has its other terms."""
    assert set(losses._OTHERS) == set(KINDS)
