"""Sums, means and maxima along an axis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Count, Number, nothing
from parity.oracle.primitives.rule import (
    Mistake,
    Movement,
    Primitive,
    Settings,
    Shape,
    State,
    WrongVjp,
    rule,
)

FEW = 8
"""Terms up to which it is found out how many of them are not 0: only those are rounded."""


def summed(state: State, x: Number, axis: int, keep: bool) -> Number:
    """Σ along an axis, an open sum."""
    x = state.arithmetic.summand(x)
    shape, terms = x.value.shape, x.value.shape[axis]
    found = totals(state, x, axis, keep)
    if not state.arithmetic.bounded:
        return found
    count: Count = int(np.max(x.count)) + terms - 1
    exact = None
    if terms <= FEW:
        there = (x.value != 0) | (np.zeros(shape) + x.error != 0)
        if x.size is not None:  # a sum that has come to 0 was rounded all the same
            there |= (x.size != 0) & (np.asarray(x.count) > 0)
        some = there.sum(axis=axis, keepdims=keep)
        inexact = np.broadcast_to(np.asarray(x.count) > 0, shape)
        if x.exact is not None:
            inexact = inexact & ~x.exact
        own = np.where((inexact & there).any(axis=axis, keepdims=keep), np.max(x.count), 0)
        count = own + np.maximum(some - 1, 0)
        # One rounding, of the only term or of the only addition: the result is what is rounded.
        # Nothing rounded at all is said by a rounding that is exact.
        exact = count == 0
        count = np.maximum(count, 1)
    return replace(found, count=count, exact=exact)


def totals(state: State, x: Number, axis: int, keep: bool) -> Number:
    """The same but for the roundings of a term, which are not counted."""
    x = state.arithmetic.summand(x)

    def total(part: Any) -> Any:
        if part is None or nothing(part):
            return part
        return np.broadcast_to(part, x.value.shape).sum(axis=axis, keepdims=keep)

    if not state.arithmetic.bounded:
        return Number(total(x.value))
    return Number(total(x.value), total(x.error), total(x.magnitude), undecided=total(x.undecided))


def _others(
    settings: Settings, shapes: Sequence[Shape], names: Mapping[str, str]
) -> Iterator[Mistake]:
    """Other reductions along the same axis, and the same along the first."""
    axis, keep = settings["axis"], settings.get("keep", True)
    for change, name in names.items():
        yield Mistake(change, lambda x, name=name: call(name, x[0], axis=axis, keep=keep))  # type: ignore[misc]
    (shape,) = shapes
    first = tuple(0 if each == axis % len(shape) else slice(None) for each in range(len(shape)))
    kept = tuple(slice(0, 1) if each == 0 else each for each in first) if keep else first
    yield Mistake("the first alone", lambda x: x[0][kept])


@rule
class ReduceSum(Primitive):
    """Σ along an axis."""

    name = "reduce_sum"
    term = "reduction"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield from _others(
            settings,
            shapes,
            {"a mean for a sum": "reduce_mean", "a maximum for a sum": "reduce_max"},
        )
        if settings.get("keep", True) and settings["axis"] not in (0, -len(shapes[0])):
            yield Mistake(
                "a sum over the first axis",
                lambda x: call("reduce_sum", x[0], axis=0),
                whole=True,
            )

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return summed(state, operands[0], settings["axis"], settings.get("keep", True))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        axis, keep = settings["axis"], settings.get("keep", True)
        return [call("repeat", gradient, operands[0], axis=axis, keep=keep)]


@rule
class ReduceMean(Primitive):
    """The mean along an axis; a division, or a product with a reciprocal, rounds twice at most.

    A mean is closed: what is subtracted from it passes through none of its roundings.
    """

    name = "reduce_mean"
    term = "reduction"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield from _others(
            settings,
            shapes,
            {
                "a sum for a mean": "reduce_sum",
                "a maximum for a mean": "reduce_max",
                "a median for a mean": "reduce_median",
            },
        )
        terms = shapes[0][settings["axis"]]
        if terms > 1:
            yield Mistake(
                "a sum divided by n − 1",
                lambda x: call("reduce_mean", x[0], **settings) * (terms / (terms - 1.0)),
            )

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = operands
        axis, terms = settings["axis"], x.value.shape[settings["axis"]]
        found = totals(state, x, axis, settings.get("keep", True))
        # What is exact in one order of summation need not be in another: only zeros are free here.
        count = int(np.max(state.arithmetic.summand(x).count)) + terms + 1

        def over(part: Any) -> Any:
            return part if part is None or nothing(part) else part / terms

        return state.arithmetic.close(
            Number(
                found.value / terms,
                over(found.error),
                over(found.size),
                count,
                undecided=over(found.undecided),
            )
        )

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        axis, keep = settings["axis"], settings.get("keep", True)
        back = call("repeat", gradient, operands[0], axis=axis, keep=keep)
        return [back / call("length", operands[0], axis=axis)]


@rule
class Length(Primitive):
    """How long an axis is."""

    name = "length"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return Number(np.asarray(float(operands[0].value.shape[settings["axis"]])))


@rule
class Repeat(Movement):
    """A reduction's VJP: the gradient at every element along the axis."""

    name = "repeat"

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        if not settings["keep"]:
            array = np.expand_dims(array, settings["axis"])
        return np.broadcast_to(array, others[0].value.shape)


@rule
class ReduceMax(Primitive):
    """The maximum along an axis: nothing is rounded, and it is off by no more than an operand."""

    name = "reduce_max"
    term = "reduction"

    def wrong_vjps(self, settings: Settings) -> Iterator[WrongVjp]:
        axis, keep = settings["axis"], settings.get("keep", True)
        for words, among in {
            "the maximum hands its gradient to every element": "all",
            "of equal elements the first gets the maximum's whole gradient": "first",
            "of equal elements the last gets the maximum's whole gradient": "last",
            "of equal elements each gets the maximum's whole gradient": "each",
        }.items():

            def back(
                operands: Sequence[Expression],
                _: Expression,
                gradient: Expression,
                among: str = among,
            ) -> Sequence[Expression | None]:
                wide = call("repeat", gradient, operands[0], axis=axis, keep=keep)
                return [wide * call("share_of_max", operands[0], axis=axis, among=among)]

            yield "pooling statistic", words, back

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("a minimum for a maximum",
                      lambda x: -call("reduce_max", -x[0], **settings))  # fmt: skip
        yield from _others(
            settings,
            shapes,
            {"a mean for a maximum": "reduce_mean", "a sum for a maximum": "reduce_sum"},
        )

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        axis, keep = settings["axis"], settings.get("keep", True)

        def most(part: Any) -> Any:
            if nothing(part):
                return part
            return np.broadcast_to(part, x.value.shape).max(axis=axis, keepdims=keep)

        return Number(most(x.value), most(x.error), undecided=most(x.undecided))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        axis, keep = settings["axis"], settings.get("keep", True)
        back = call("repeat", gradient, operands[0], axis=axis, keep=keep)
        return [back * call("share_of_max", operands[0], axis=axis)]


def _shares(greatest: np.ndarray, axis: int, among: str) -> np.ndarray:
    """What each element gets, the greatest ones known."""
    if among == "all":
        return np.ones(greatest.shape)
    if among == "each":
        return greatest.astype(np.float64)
    if among in ("first", "last"):
        counted = greatest if among == "first" else np.flip(greatest, axis)
        only = counted & (np.cumsum(counted, axis=axis) == 1)
        return (only if among == "first" else np.flip(only, axis)).astype(np.float64)
    return np.asarray(greatest / greatest.sum(axis=axis, keepdims=True))


@rule
class ShareOfMax(Primitive):
    """What part of a maximum's gradient each element gets: the greatest ones share it evenly.

    Elements that are as great but for rounding may get all of it, or nothing. ``among`` is for what
    ports do otherwise: the whole gradient to "all" elements, or to "each", the "first" or the
    "last" of the greatest.
    """

    name = "share_of_max"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        axis = settings["axis"]
        top = x.value.max(axis=axis, keepdims=True)
        greatest = x.value == top
        share = _shares(greatest, axis, settings.get("among", "even"))
        error = np.broadcast_to(x.error + x.undecided, x.value.shape)
        reach = np.where(greatest, error, 0.0).max(axis=axis, keepdims=True)
        with np.errstate(invalid="ignore"):
            close = (top - x.value <= error + reach) & (error + reach > 0)
        several = close.sum(axis=axis, keepdims=True) > 1
        return Number(share, undecided=np.where(close & several, 1.0, 0.0))


@rule
class ReduceMedian(Primitive):
    """The median along an axis: off by no more than an operand."""

    name = "reduce_median"
    term = "reduction"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        axis, keep = settings["axis"], settings.get("keep", True)

        def of(part: Any) -> Any:
            wide = np.broadcast_to(part, x.value.shape)
            return part if nothing(part) else wide.max(axis=axis, keepdims=keep)

        value = np.median(x.value, axis=axis, keepdims=keep)
        # Of an odd number it is one of them, of an even one the mean of two.
        even = x.value.shape[axis] % 2 == 0
        own = state.arithmetic.roundoff * np.abs(value) if even else 0.0
        return Number(value, of(x.error) + own, undecided=of(x.undecided))
