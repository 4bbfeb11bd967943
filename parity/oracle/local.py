"""A single layer alone: its exact output on given inputs, and how far a run's may be from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from network.layers import pixels
from network.program import Expression, Program, trace
from network.registry import network_of
from network.taps import TapRow
from parity.oracle.blocks import blocks_of, by_rows, numbers_at, rows_of
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.evaluate import Decided, Evaluated, evaluate
from parity.oracle.number import Arithmetic, Number, exactly, mapped, nothing

Inputs = Mapping[str, np.ndarray | Number]
"""A layer's inputs by name, exact or with bounds on how far a run's own may be from them."""


@dataclass(frozen=True, eq=False)
class Alone:
    """A layer's output.

    Attributes:
        value: exact but for float64's own rounding.
        limit: the greatest admitted |output − value| of a run.
        settled: the same if no decision were open; ``limit`` itself where none is.
        unit: one rounding, √n·u·Σ|terms|, where sums were rounded; 0 elsewhere.
        fixed: the part of ``limit`` that does not come from sums.
        units: how many units ``limit`` is, where it is as many everywhere and nothing else.
        decided: rows of a projection that were decided otherwise than nominally.
        open_rows: rows about which nothing can be said.
    """

    value: np.ndarray
    limit: np.ndarray
    settled: np.ndarray
    unit: np.ndarray
    fixed: Any = 0.0
    units: float | None = None
    decided: tuple[Decided, ...] = ()
    open_rows: int = 0


@dataclass(frozen=True, eq=False)
class Local:
    """What a layer itself added to the error of its tap, its recorded inputs taken as right.

    Attributes:
        alone: the layer's exact output on the run's own inputs, with bounds.
        error: the run's output minus it; 0 where both are the same infinity or NaN, infinite where
            only one is.
    """

    alone: Alone
    error: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The layer's exact output."""
        return self.alone.value

    @property
    def limit(self) -> np.ndarray:
        """What rounding may make of ``error``."""
        return self.alone.limit

    @property
    def decided(self) -> tuple[Decided, ...]:
        """Rows that were decided otherwise than nominally."""
        return self.alone.decided

    @property
    def open_rows(self) -> int:
        """Rows about which nothing can be said."""
        return self.alone.open_rows

    def share(self) -> np.ndarray:
        """|error| over ``limit``: more than 1 is no rounding, nor is any error where it is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.abs(self.error) / self.limit
        return np.where(self.error == 0, 0.0, np.where(np.isnan(share), np.inf, share))

    @cached_property
    def worst(self) -> float:
        """The greatest |error| over its limit: more than 1 is no rounding."""
        if self.alone.units is not None:
            return share_of(self.error, self.alone.unit) / self.alone.units
        return share_of(self.error, self.limit)

    def roundings(self, confidence: float) -> float:
        """The greatest error in roundings; more than ``confidence`` (λ) are none.

        Where sums were rounded one rounding is ``Alone.unit``. Where the limit always holds the
        error counts as its share of that.
        """
        worst = self.worst
        if not 0 < worst <= 1:
            return worst * confidence
        if self.alone.units is not None:
            return worst * self.alone.units
        # Within the limit an element counts by its unit, or by its share of what always holds.
        unit = self.alone.unit
        excess = np.abs(self.error)
        if not nothing(self.alone.fixed):
            excess -= self.alone.fixed
        scale = np.where(unit > 0, unit, self.limit) if not unit.all() else unit
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.fmax.reduce(excess / scale, axis=None, initial=0.0))


def share_of(error: np.ndarray, limit: np.ndarray) -> float:
    """The greatest |error| over its limit: 0 where it is 0 whatever the limit, infinite for NaN."""
    error = np.abs(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = error / limit
        most = float(ratio.max(initial=0.0))
        if math.isfinite(most):
            return most
        if (error <= limit).all() and not np.isinf(error).any():
            # What is not a number here is 0 over 0; an infinite error is within no limit.
            return float(np.fmax.reduce(ratio, axis=None, initial=0.0))
    ratio = np.where(error == 0, 0.0, ratio)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max())


def difference_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The float64 difference a − b: 0 for the same infinity or NaN on both sides, else infinite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        away = a - b
    if all_finite(away):
        return away
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(alike, 0.0, np.where(np.isfinite(away), away, np.inf))


def sides_apart(errors: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> np.ndarray:
    """The difference of two sides' local errors.

    What is not a number on both sides, or the same infinity, is the same error, whatever the
    official function makes of the inputs.

    Args:
        errors: what each side's values are away from their own layer's, the reference's first.
        seen: the values.
    """
    with np.errstate(invalid="ignore"):
        local = np.asarray(errors[1] - errors[0])
    if all_finite(local):
        return local
    special = ~np.isfinite(local)
    r, c = (np.asarray(values, np.float64).reshape(local.shape) for values in seen)
    return np.where(special, difference_of(c, r), local)


def all_finite(values: np.ndarray) -> bool:
    """Whether all elements are numbers; at worst False where their sum overflows."""
    with np.errstate(invalid="ignore", over="ignore"):
        return math.isfinite(values.sum())


def any_nan(values: np.ndarray) -> bool:
    """Whether an array holds a NaN: it is then the least; most hold none."""
    return values.size > 0 and bool(np.isnan(np.min(values)))


def unheard(own: Sequence[np.ndarray], exact: Sequence[np.ndarray]) -> int:
    """How many elements are NaN on both sides in float64, and not on both in their own precision.

    Nobody has compared them where another function shows best. What is NaN in both precisions is
    a matter of the function, and the two sides agree on it.

    Args:
        own: both sides' values in the runs' own precision.
        exact: the same in float64.
    """
    if not all(any_nan(values) for values in exact):
        return 0
    mine, theirs = (np.isnan(a) & np.isnan(np.reshape(b, np.shape(a))) for a, b in (own, exact))
    return int(np.count_nonzero(theirs & ~np.reshape(mine, theirs.shape)))


def layer_inputs(
    row: TapRow, program: Program, parents: Inputs, context: Context
) -> dict[str, Number]:
    """All that a layer's program reads, by its own names."""
    found = context.numbers(row)
    for name, parent in zip(program.activations, row.parents, strict=True):
        given = parents[parent]
        number = given if isinstance(given, Number) else exactly(given)
        found[name] = _shaped(row, parent, number)
    return found


def _shaped(row: TapRow, parent: str, number: Number) -> Number:
    """An activation with as many rows as the output has of each vertex.

    Where the table has a vertex's hypotheses in one axis with the vertices on one side of a layer,
    and in an axis of their own on the other, the graph reads them as it comes.
    """
    theirs = network_of(row.stage).rows_per_vertex(parent)
    if row.rows_per_vertex is None or theirs is None or theirs == row.rows_per_vertex:
        return number
    last = number.value.shape[-1]
    if theirs > row.rows_per_vertex:
        return _reshaped(number, (-1, theirs // row.rows_per_vertex, last))
    return _reshaped(number, (-1, last))


def _reshaped(number: Number, shape: tuple[int, ...]) -> Number:
    if number.value.ndim == len(shape):
        return number
    return mapped(number, lambda array: array.reshape(shape))


def alone(
    row: TapRow, parents: Inputs, context: Context, observed: np.ndarray | None, dtype: str
) -> Alone:
    """The layer's exact output on ``parents``, float64, and how far a run's may be from it.

    Args:
        row: the tap.
        parents: the run's own values of ``row.parents``.
        context: weights and fixed arrays.
        observed: the run's tap, which settles close decisions; None where it is not known, and the
            bound of such a row then takes in all that is admissible.
        dtype: the precision that the run was asked for.
    """
    return layer(row, parents, context, observed, dtype).alone()


def local_error(
    row: TapRow, parents: Inputs, context: Context, observed: np.ndarray, dtype: str
) -> Local:
    """What ``observed``, the tap of a run in ``dtype``, has of its own; see ``alone``."""
    return layer(row, parents, context, observed, dtype).local()


def layer(
    row: TapRow, parents: Inputs, context: Context, observed: np.ndarray | None, dtype: str
) -> "Layer":
    """The layer evaluated, its bounds still to be made; arguments as of ``alone``."""
    arithmetic = arithmetic_of(context.stage, dtype)
    program = row.program
    found = evaluate(program, layer_inputs(row, program, parents, context), arithmetic, observed)
    return Layer(found, arithmetic, observed)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer's output on a run's inputs, and what the run made of it.

    Attributes:
        found: the value, and what its bounds follow from.
        arithmetic: of the run.
        observed: the run's tap, if it is known.
    """

    found: Evaluated
    arithmetic: Arithmetic
    observed: np.ndarray | None

    def blocks(self) -> list[slice]:
        """Rows to go through, see ``parity.oracle.blocks``."""
        return blocks_of(self.found.number.value.shape)

    def alone(self, rows: slice | None = None) -> Alone:
        """The output with its bounds, all of it or some of its rows."""
        found = self.found
        if rows is None:
            return _bounded(found.number, self.arithmetic, found.decided, found.open_rows)
        decided = tuple(each for each in found.decided if rows.start <= each.row < rows.stop)
        open_rows = None if found.open_rows is None else found.open_rows[rows]
        return _bounded(self._number(rows), self.arithmetic, decided, open_rows)

    def local(self, rows: slice | None = None, bounds: Alone | None = None) -> Local:
        """What the run added to the error of its tap, of all of it or some of its rows.

        Args:
            rows: some of ``blocks``.
            bounds: of the same rows, to be taken for its own; see ``parity.oracle.beside``.
        """
        assert self.observed is not None
        seen = np.asarray(self.observed, np.float64).reshape(self.found.number.value.shape)
        if rows is not None:
            seen = rows_of(by_rows(seen), rows)
        alone = (
            self.alone(rows) if bounds is None else replace(bounds, value=self._number(rows).value)
        )
        return Local(alone, difference_of(seen, alone.value))

    def _number(self, rows: slice | None) -> Number:
        return self.found.number if rows is None else numbers_at(self.found.number, rows)


def _bounded(
    number: Number,
    arithmetic: Arithmetic,
    decided: tuple[Decided, ...],
    open_rows: np.ndarray | None,
) -> Alone:
    with np.errstate(invalid="ignore", over="ignore"):
        settled = limit = arithmetic.limit(number)
        units = None
        if any_nan(settled):
            # What has no bound is infinite times a weight of 0.
            settled = limit = np.where(np.isnan(settled), np.inf, settled)
        elif number.is_a_sum and nothing(number.undecided):
            units = float(arithmetic.factor(number.count) / np.sqrt(number.count))
        if not nothing(number.undecided):
            limit = settled + np.where(np.isnan(number.undecided), np.inf, number.undecided)
    return Alone(
        number.value,
        limit,
        settled,
        arithmetic.unit(number),
        number.error + number.undecided,
        units,
        decided,
        0 if open_rows is None else int(np.count_nonzero(open_rows)),
    )


@cache
def _pixels() -> Program:
    return trace(_all_pixels)


def _all_pixels(points: Expression, *, cameras: Expression) -> Expression:
    return pixels(points, cameras)


def pixels_of(row: TapRow, points: np.ndarray, context: Context, dtype: str = "float64") -> Number:
    """Where a projection's points (N, 3) fall: pixels (N, views, 2), h and w, not clamped."""
    inputs = {"points": exactly(points.reshape(-1, 3)), "cameras": context.numbers(row)["cameras"]}
    arithmetic = arithmetic_of(context.stage, dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return arithmetic.close(evaluate(_pixels(), inputs, arithmetic).number)
