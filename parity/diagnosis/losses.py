"""What a loss term that differs points to, tried out on the meshes that it was taken of.

Each variant is the official term with one operand changed, in float64; the one that gives the
candidate's value within the limit that the term was held against is what the candidate computes. A
value is one number only, so a factor is believed only where it is a fraction of small numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.spatial import KDTree

from inputs.cameras import camera_from_row, camera_to_world
from network.losses import LOSSES, SQUARE_FLOOR, LossFactors
from parity.oracle.losses import Measured

SMALL = 1000
"""The greatest denominator of a factor that is believed: one of a million numbers lies within
1e-12 of such a fraction by chance."""
FACTOR_ERROR = 1e-12
EVALUATION = 1e-12
"""Relative error of a term here: sums of some ten thousand numbers in float64."""
SINGLE = 2.0**-23
"""The same of a variant, whose constants a port may hold in float32 or not."""
MOVED = 2.0**-20
"""The same of one taken of points brought into another frame: they are held in float32."""

Named = tuple[str, str, float]
"""Operand, what is otherwise, the term's value with that."""


@dataclass(frozen=True, eq=False)
class Block:
    """What the terms of one block are taken of.

    ``before`` and ``after``: (V, 3), the block's input, unpooled, and its output; ``to``: see
    ``parity.oracle.losses``; ``camera``: the row (5,) of the first view.
    """

    stage: str
    before: np.ndarray
    after: np.ndarray
    to: Measured
    camera: np.ndarray

    @property
    def factors(self) -> LossFactors:
        """Of the network's terms."""
        return LOSSES[self.stage]


def explain(
    name: str, expected: float, seen: float, limit: float, block: Block | None,
    others: Mapping[str, float],
) -> tuple[str, str] | None:  # fmt: skip
    """The operand of a term and what is otherwise; None where nothing gives what was seen.

    Args:
        name: a term as in a trace, or ``total`` or ``decay``.
        expected: the reference's value, float64.
        seen: the candidate's.
        limit: how far two right values may differ.
        block: the term's, None for ``total`` and ``decay``.
        others: the reference's other terms.
    """
    term = name.rpartition("_")[0] or name
    if abs(seen - expected) <= limit:
        return "precision", "the same value in float64"
    if term == "decay":
        return "decay term", "the decay of the weights is another"
    if seen == 0.0:
        return "missing term", "the term is 0"
    if term == "total":
        for other, value in others.items():
            if value and abs(expected - value - seen) <= limit:
                return "missing term", f"the total is without {other}"
        return None
    if block is None:
        return None
    official, variants = _TERMS[term](block)
    limit = max(limit, EVALUATION * abs(expected))
    if not abs(official - expected) <= limit:
        return None  # the reference itself is not the official one
    fits = {}
    for operand, what, value in variants:
        reach = abs(seen) * (MOVED if operand == "frame" else SINGLE)
        # What is no different here is not told apart from the official term.
        if abs(value - seen) <= reach < abs(value - expected):
            fits[operand] = what
    if len(fits) == 1:
        return next(iter(fits.items()))
    return None if fits else _factor(expected, seen)


def _factor(expected: float, seen: float) -> tuple[str, str] | None:
    if not expected:
        return None
    ratio = seen / expected
    near = Fraction(ratio).limit_denominator(SMALL)
    if near and abs(ratio - float(near)) <= FACTOR_ERROR * abs(ratio):
        return "constant", f"{float(near):.6g} times the official value"
    return None


def _chamfer(block: Block) -> tuple[float, Iterator[Named]]:
    to, mesh = block.to, block.after
    whole, backward = block.factors.chamfer, block.factors.backward
    samples = _sampled(mesh, to, np.sqrt(to.r1))

    def term(points: np.ndarray, truth: np.ndarray, power: int = 2) -> tuple[float, float]:
        there = KDTree(points).query(truth)[0] ** power
        back = KDTree(truth).query(points)[0] ** power
        return float(there.mean()), float(back.mean())

    points = np.concatenate([mesh, samples])
    there, back = term(points, to.points)

    def variants() -> Iterator[Named]:
        yield "constant", "0.55 on the other direction", whole * (backward * there + back)
        yield "constant", "both directions count alike", whole * (there + back)
        total = len(to.points) * there + backward * len(points) * back
        yield "reduction", "sums instead of means", whole * total
        yield "missing term", "only from the ground truth", whole * there
        yield "missing term", "only from the mesh", whole * backward * back
        changes: list[tuple[str, str, np.ndarray, np.ndarray, int]] = [
            ("reduction", "distances instead of their squares", points, to.points, 1),
            ("samples", "only vertices are compared", mesh, to.points, 2),
            ("samples", "samples alone are compared", samples, to.points, 2),
            ("samples", "samples without the root of r1",
             np.concatenate([mesh, _sampled(mesh, to, to.r1)]), to.points, 2),
        ]  # fmt: skip
        for what, other in _frames(to.points, block.camera, place=True):
            changes.append(("frame", f"ground truth {what}", points, other, 2))
        for operand, what, one, other, power in changes:
            a, b = term(one, other, power)
            yield operand, what, whole * (a + backward * b)

    return whole * (there + backward * back), variants()


def _sampled(mesh: np.ndarray, to: Measured, root: np.ndarray) -> np.ndarray:
    a, b, c = (mesh[corner] for corner in to.triangles.T)
    root, r2 = root[:, None], to.r2[:, None]
    return np.asarray((1 - root) * a + root * (1 - r2) * b + root * r2 * c)


def _frames(vectors: np.ndarray, row: np.ndarray, place: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Points, or directions, as they were before they came into the first camera's frame."""
    camera = camera_from_row(row)
    origin = camera_to_world(np.zeros((1, 3)), camera)
    world = camera_to_world(vectors, camera)
    yield "left in the world's frame", world if place else world - origin


def _edge(block: Block) -> tuple[float, Iterator[Named]]:
    first, second = block.to.pairs.T
    squares = np.square(block.after[first] - block.after[second]).sum(axis=1)
    factor, proper = block.factors.edge, first != second

    def variants() -> Iterator[Named]:
        yield "reduction", "edges of length 0 not counted", factor * squares[proper].mean()
        yield "reduction", "lengths instead of their squares", factor * np.sqrt(squares).mean()
        yield ("reduction", "lengths instead of their squares, those of 0 not counted",
               factor * np.sqrt(squares[proper]).mean())  # fmt: skip
        yield "reduction", "a sum instead of a mean", factor * squares.sum()
        yield "reduction", "a mean over coordinates", factor * squares.mean() / 3

    return float(factor * squares.mean()), variants()


def _normal(block: Block) -> tuple[float, Iterator[Named]]:
    to, mesh = block.to, block.after
    first, second = to.pairs.T
    given = to.normals
    assert given is not None  # there is no such term without them
    nearest = KDTree(to.points).query(mesh)[1]

    def term(
        normals: np.ndarray, floor: float = SQUARE_FLOOR, reduced: Callable = np.abs, end: int = 0
    ) -> float:
        unit = _unit(normals, floor)[(first, second)[end]]
        edges = _unit(mesh[first] - mesh[second], floor)
        return float(block.factors.normal * reduced((unit * edges).sum(axis=1)).mean())

    normals = given[nearest]

    def variants() -> Iterator[Named]:
        yield "reduction", "cosines with their sign", term(normals, reduced=lambda x: x)
        yield "reduction", "squared cosines", term(normals, reduced=np.square)
        for step in (1, -1):
            what = "normals of the vertices one further on"
            yield "index order", what, term(np.roll(normals, step, axis=0))
        if len(given) >= len(mesh):
            yield "index order", "normals in their file's order", term(given[: len(mesh)])
        for power in range(-16, -1):
            if power != -12:
                what = f"squared lengths at least 1e{power}"
                yield "epsilon", what, term(normals, float(np.float32(10.0**power)))
        for what, other in _frames(normals, block.camera, place=False):
            yield "frame", f"normals {what}", term(other)
        proper = first != second
        full = term(normals)
        yield "reduction", "edges of length 0 not counted", full * len(first) / proper.sum()
        yield "reduction", "a sum instead of a mean", full * len(first)

    return term(normals), variants()


def _unit(vectors: np.ndarray, floor: float) -> np.ndarray:
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    return np.asarray(vectors / np.sqrt(np.maximum(squares, floor)))


def _laplace(block: Block) -> tuple[float, Iterator[Named]]:
    to = block.to

    def term(padding: np.ndarray | None = None, degrees: np.ndarray = to.degrees) -> float:
        moved = []
        for mesh in (block.before, block.after):
            last = np.zeros((1, 3)) if padding is None else mesh[padding]
            around = np.concatenate([mesh, last])[to.neighbours].sum(axis=1)
            moved.append(mesh - around / degrees[:, None])
        return float(block.factors.laplace * np.square(moved[0] - moved[1]).sum(axis=1).mean())

    official = term()

    def variants() -> Iterator[Named]:
        yield "index order", "padding read as the last vertex", term(np.array([-1]))
        yield "index order", "padding read as the first vertex", term(np.array([0]))
        eight = np.full(len(to.degrees), float(to.neighbours.shape[1]))
        yield "constant", "neighbours' sum divided by eight", term(degrees=eight)
        yield "reduction", "a mean over coordinates instead of vertices", official / 3
        yield "reduction", "a sum instead of a mean", official * len(block.after)

    return official, variants()


def _move(block: Block) -> tuple[float, Iterator[Named]]:
    squares = np.square(block.after - block.before).sum(axis=1)
    factor = block.factors.move

    def variants() -> Iterator[Named]:
        yield (
            "reduction",
            "a mean over coordinates instead of vertices",
            factor * squares.mean() / 3,
        )
        yield "reduction", "a sum instead of a mean", factor * squares.sum()
        yield "reduction", "ways instead of their squares", factor * np.sqrt(squares).mean()

    return float(factor * squares.mean()), variants()


_TERMS: dict[str, Callable[[Block], tuple[float, Iterator[Named]]]] = {
    "chamfer": _chamfer,
    "edge": _edge,
    "normal": _normal,
    "laplace": _laplace,
    "move": _move,
}
