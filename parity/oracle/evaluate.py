"""Evaluating programs: values with bounds, and decisions that rounding may take either way.

A coordinate within its error of a border may fall on either side of it, and what follows differs
grossly. A row with such a coordinate has several right values. All are computed, and the one
nearest to what was observed counts: a row that is near none of them is wrong whatever was decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

import numpy as np

from network.program import Program
from parity.oracle.number import Arithmetic, Number, exactly
from parity.oracle.primitives import RULES, Border, State

MOST_ALTERNATIVES = 729
"""Values tried for one row: three sides for each of six coordinates."""

Choice = tuple[tuple[int, ...], float]
"""The place of a coordinate in its row, and what it is taken to be."""


@dataclass(frozen=True)
class Decided:
    """A row whose decisions were taken otherwise than nominally.

    ``row``: of the output; ``choices``: places of coordinates in their row, and their values.
    """

    row: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A program's result.

    Attributes:
        number: value and bounds, of the output's shape.
        decided: rows that were decided otherwise than nominally.
        open_rows: rows about which nothing can be said: their coordinates have no bound.
        forced: what coordinates were taken to be, for programs that go on from this one.
    """

    number: Number
    decided: tuple[Decided, ...] = ()
    open_rows: np.ndarray | None = None
    forced: Mapping[int, tuple[np.ndarray, np.ndarray]] | None = None


def run(
    program: Program,
    inputs: Mapping[str, Number],
    state: State,
    known: Mapping[int, Number] | None = None,
) -> dict[str, Number]:
    """All outputs of a program, by name.

    Args:
        program: what to compute.
        inputs: by the names of the program's inputs.
        state: arithmetic, settled decisions.
        known: results of nodes that need not, or must not, be computed.
    """
    last = _last_uses(program)
    state.decides = program.uses("decide")
    numbers: dict[int, Number] = {}
    for index, node in enumerate(program.nodes):
        if index not in last:
            continue
        state.node = index
        if known is not None and index in known:
            numbers[index] = known[index]
        elif node.primitive == "input":
            numbers[index] = inputs[node.settings["name"]]
        elif node.primitive == "literal":
            numbers[index] = exactly(node.settings["value"])
        else:
            operands = [numbers[each] for each in node.operands]
            numbers[index] = RULES[node.primitive].number(state, node.settings, *operands)
        for each in node.operands:
            if last[each] == index:
                numbers.pop(each, None)
    return {name: numbers[index] for name, index in program.outputs.items()}


def _last_uses(program: Program) -> dict[int, int]:
    """For each node that an output needs, the last node that reads it (or its own, if output)."""
    wanted: dict[int, int] = {index: len(program.nodes) for index in program.outputs.values()}
    for index in range(len(program.nodes) - 1, -1, -1):
        if index in wanted:
            for each in program.nodes[index].operands:
                wanted.setdefault(each, index)
    return wanted


def evaluate(
    program: Program,
    inputs: Mapping[str, Number],
    arithmetic: Arithmetic,
    observed: np.ndarray | None = None,
    known: Mapping[int, Number] | None = None,
) -> Evaluated:
    """A layer's output on its inputs.

    Args:
        program: the layer; where it takes decisions its first activation has a row for each row of
            the output.
        inputs: activations, variables and constants by name.
        arithmetic: of the run.
        observed: the run's own output, which settles close decisions. Without it the bound of such
            a row takes in, as undecided, all that is admissible.
        known: results of nodes, none of which depends on a decision that is close.
    """
    state = State(arithmetic)
    with np.errstate(invalid="ignore", over="ignore"):
        number = run(program, inputs, state, known)["value"]
        if not state.borders:
            return Evaluated(number)
        return _decide(program, inputs, arithmetic, observed, number, state)


def _decide(
    program: Program,
    inputs: Mapping[str, Number],
    arithmetic: Arithmetic,
    observed: np.ndarray | None,
    number: Number,
    state: State,
) -> Evaluated:
    borders = state.borders
    number = arithmetic.close(number)
    value, error = number.value.copy(), np.zeros(number.value.shape) + number.error
    undecided = np.zeros(value.shape) + number.undecided
    rows = len(value)
    near, unbounded = np.zeros(rows, bool), np.zeros(rows, bool)
    for border in borders.values():
        near |= border.near.reshape(rows, -1).any(axis=1)
        not_a_number = np.isnan(border.value).reshape(rows, -1).any(axis=1)
        unbounded |= border.unbounded.reshape(rows, -1).any(axis=1) & ~not_a_number
    candidates = np.flatnonzero(near & ~unbounded)
    decided = []
    forced = {index: (border.value.copy(), _on_border(border)) for index, border in borders.items()}
    if observed is not None:
        observed = np.asarray(observed, np.float64).reshape(value.shape)
        some = observed[candidates]
        fits = (np.abs(some - value[candidates]) <= error[candidates]) | (
            np.isnan(some) & np.isnan(value[candidates])
        )
        candidates = candidates[~fits.all(axis=tuple(range(1, value.ndim)))]
    for row in candidates:
        alternatives = _alternatives(borders, int(row))
        found = _at_row(program, inputs, arithmetic, int(row), alternatives, borders)
        if observed is None:
            away = np.abs(found.value - value[row]) + found.error
            undecided[row] = np.maximum(undecided[row], away.max(axis=0) - error[row])
            continue
        excess = [
            _excess(observed[row], v, e) for v, e in zip(found.value, found.error, strict=True)
        ]
        best = int(np.argmin(excess))
        if excess[best] < _excess(observed[row], value[row], error[row]):
            value[row], error[row] = found.value[best], found.error[best]
            undecided[row] = np.broadcast_to(found.undecided, found.value.shape)[best]
            choices = []
            for node, place, at, exact in alternatives[best]:
                forced[node][0][int(row)][place] = at
                forced[node][1][int(row)][place] = exact
                choices.append((place, at))
            decided.append(Decided(int(row), tuple(choices)))
    error[unbounded] = np.inf
    settled = Number(value, error, undecided=undecided if undecided.any() else 0.0)
    return Evaluated(settled, tuple(decided), unbounded, forced)


Side = tuple[int, tuple[int, ...], float, bool]
"""A ``decide`` node, a coordinate's place in its row, its value, whether it is exactly that."""


def _on_border(border: Border) -> np.ndarray:
    if not border.at_border:
        return np.zeros(border.value.shape, bool)
    whole = border.value == np.round(border.value / border.every) * border.every
    return np.asarray(border.near & whole)


def _alternatives(borders: Mapping[int, Border], row: int) -> list[tuple[Side, ...]]:
    """What a row's coordinates may be taken to be, all combinations."""
    options: list[list[Side]] = []
    for node, border in borders.items():
        for place in zip(*np.nonzero(border.near[row]), strict=True):
            at = (row, *place)
            sides = _sides(border, float(border.value[at]), float(border.low[at]),
                           float(border.high[at]))  # fmt: skip
            where = tuple(int(each) for each in place)
            options.append([(node, where, value, exact) for value, exact in sides])
    return list(islice(product(*options), MOST_ALTERNATIVES))


def _sides(border: Border, value: float, low: float, high: float) -> list[tuple[float, bool]]:
    """Below, on, and above each border that a coordinate may have; the nearest such value."""
    every = border.every
    found: dict[tuple[float, bool], None] = {}
    for number in range(int(np.ceil(low / every)), int(np.floor(high / every)) + 1):
        edge = number * every
        if low < edge:
            found[float(np.clip(value, edge - every, np.nextafter(edge, -np.inf))), False] = None
        if border.at_border:
            found[edge, True] = None
        if high > edge or not border.at_border:
            after = np.nextafter(edge, np.inf) if border.at_border else edge
            found[float(np.clip(value, after, edge + every)), False] = None
    return list(found)


def _at_row(
    program: Program,
    inputs: Mapping[str, Number],
    arithmetic: Arithmetic,
    row: int,
    alternatives: list[tuple[Side, ...]],
    borders: Mapping[int, Border],
) -> Number:
    """One row's values under each alternative: (alternatives, …)."""
    count = len(alternatives)
    first = program.activations[0]

    def repeated(part: Any) -> Any:
        if part is None or np.ndim(part) == 0:
            return part
        return np.repeat(np.asarray(part)[row : row + 1], count, axis=0)

    whole = inputs[first]
    single = replace(
        whole,
        value=repeated(whole.value),
        error=repeated(whole.error),
        undecided=repeated(whole.undecided),
    )
    forced = {}
    for node, border in borders.items():
        values = np.repeat(border.value[row : row + 1], count, axis=0)
        exact = np.repeat(_on_border(border)[row : row + 1], count, axis=0)
        for number, sides in enumerate(alternatives):
            for at_node, place, value, is_exact in sides:
                if at_node == node:
                    values[(number, *place)], exact[(number, *place)] = value, is_exact
        forced[node] = values, exact
    # The errors of forced coordinates are those of the row.
    state = State(arithmetic, forced)
    found = arithmetic.close(run(program, {**inputs, first: single}, state)["value"])
    return replace(found, error=np.zeros(found.value.shape) + found.error)


def _excess(observed: np.ndarray, value: np.ndarray, error: np.ndarray) -> float:
    """The greatest difference, in multiples of its bound."""
    away = np.abs(observed - value)
    alike = (observed == value) | (np.isnan(observed) & np.isnan(value))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(alike, 0.0, away / error)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max())
