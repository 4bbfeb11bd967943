"""Nearest neighbours: a decision, which the squared distance hardly feels and its gradient does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from network.program import Expression, call
from parity.oracle.number import Number
from parity.oracle.primitives.indexing import added_up
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, rule

CANDIDATES = 8
"""Targets nearest to a point among which rounding may choose."""
DISTANCE_ROUNDINGS = 6.0
"""Roundings of Σ d²: a subtraction counts twice, the square, two additions, and one to spare."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest target of each of N points.

    Attributes:
        index: (N,); of equally near ones the first.
        square: (N,), the squared distance.
        error: (N,), how far rounding may put it.
        close: (N, k), targets that rounding may take for the nearest; ``index`` where none.
    """

    index: np.ndarray
    square: np.ndarray
    error: np.ndarray
    close: np.ndarray


def nearest(state: State, points: Number, targets: Number) -> Nearest:
    """Find the nearest targets; points (N, 3) and targets (M, 3) are closed."""
    u = state.arithmetic.roundoff
    p, t = points.value, targets.value
    count = len(p)
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        lost = np.full(count, np.nan)
        nobody = np.zeros(count, np.int64)
        return Nearest(nobody, lost, lost, nobody[:, None])
    # Of targets at one place the first: others would leave no room for those of other places.
    places = np.sort(np.unique(t, axis=0, return_index=True)[1])
    query = KDTree(t[places]).query(p, k=min(CANDIDATES, len(places)))
    found = places[query[1].reshape(count, -1)]
    differences = p[:, None] - t[found]
    squares = np.square(differences).sum(axis=2)
    least = squares.min(axis=1)
    index = np.where(squares == least[:, None], found, len(t)).min(axis=1)
    off = np.broadcast_to(points.error, p.shape).max(axis=1)
    off = off + np.broadcast_to(targets.error, t.shape)[found].max(axis=(1, 2))
    # |d|² moves by 2·|d|·|e| + |e|² where d moves by e, whichever target is meant.
    way = np.sqrt(3.0) * off
    error = 2.0 * way * np.sqrt(least) + way**2 + DISTANCE_ROUNDINGS * u * least
    close = (squares - least[:, None] <= 2.0 * error[:, None]) & (error[:, None] > 0)
    return Nearest(index, least, error, np.where(close, found, index[:, None]))


@rule
class NearestSquare(Primitive):
    """Squared distance of points (N, 3) from their nearest target (M, 3): (N,)."""

    name = "nearest_square"
    term = "reduction"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake(
            "distances for their squares", lambda x: call("sqrt", call("nearest_square", *x))
        )

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        points, targets = (state.arithmetic.close(each) for each in operands)
        found = nearest(state, points, targets)
        return Number(found.square, found.error)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        points, targets = operands
        back = 2.0 * (gradient[:, None] * call("nearest_offset", points, targets))
        return [back, call("nearest_scatter", -back, points, targets)]


@rule
class NearestOffset(Primitive):
    """From their nearest target to the points: (N, 3)."""

    name = "nearest_offset"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        points, targets = (state.arithmetic.close(each) for each in operands)
        found = nearest(state, points, targets)
        value = points.value - targets.value[found.index]
        error = np.broadcast_to(points.error, value.shape)
        error = error + np.broadcast_to(targets.error, targets.value.shape)[found.index]
        error = error + state.arithmetic.roundoff * np.abs(value)
        others = targets.value[found.close] - targets.value[found.index][:, None]
        return Number(value, error, undecided=np.abs(others).max(axis=1))


@rule
class NearestScatter(Primitive):
    """Rows (N, 3) of points added up at their nearest targets: (M, 3)."""

    name = "nearest_scatter"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        rows = operands[0]
        points, targets = (state.arithmetic.close(each) for each in operands[1:])
        found = nearest(state, points, targets)
        count = len(targets.value)
        inside = np.ones(len(found.index), bool)
        total = added_up(state, rows, found.index, inside, count)
        loose = np.zeros((count, 3)) + total.undecided
        several = (found.close != found.index[:, None]).any(axis=1)
        for point in np.flatnonzero(several):
            # Either target may get the row, or not; what another would get is about as great.
            size = (
                np.abs(rows.value[point]) + np.broadcast_to(rows.undecided, rows.value.shape)[point]
            )
            for target in {int(found.index[point]), *found.close[point].tolist()}:
                loose[target] += size
        return Number(total.value, total.error, total.size, total.count, undecided=loose)


@rule
class NearestGather(Primitive):
    """Rows (M, C) of what belongs to the targets, of each point's nearest: (N, C)."""

    name = "nearest_gather"
    term = "index order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        count, rows = shapes[0][0], shapes[2][0]
        for words, first in {
            "one further on": slice(None, 1),
            "one before": slice(-1, None),
        }.items():

            def rolled(x: Sequence[Expression], first: slice = first) -> Expression:
                found = call("nearest_gather", *x)
                parts = (found[1:], found[first]) if first.stop else (found[first], found[:-1])
                return call("concatenate", *parts, axis=0)

            yield Mistake(f"what belongs to the point {words}", rolled, whole=True)
        if rows >= count:
            yield Mistake("rows as they are stored, not of the nearest", lambda x: x[2][:count])

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        points, targets, rows = (state.arithmetic.close(each) for each in operands)
        found = nearest(state, points, targets)
        value = rows.value[found.index]
        error = np.broadcast_to(rows.error, rows.value.shape)[found.index]
        others = np.abs(rows.value[found.close] - value[:, None]).max(axis=1)
        return Number(value, error, undecided=others)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None, None, call("nearest_scatter", gradient, operands[0], operands[1])]
