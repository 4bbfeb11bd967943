"""Operations that take a decision: on which side of a border a coordinate lies."""

from collections.abc import Iterator, Sequence

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import (
    Border,
    Mistake,
    Primitive,
    Settings,
    Shape,
    State,
    rule,
)


@rule
class Decide(Primitive):
    """A coordinate on whose side of a multiple of ``every`` what follows depends.

    The value stays. Where it lies within its error of a border, rounding may put it on either side,
    or with ``at_border`` on the border itself; an evaluation then tries what is admissible (see
    ``parity.oracle.evaluate``). What floor, ceil and exact scalings make of a decided coordinate
    takes its side as settled.
    """

    name = "decide"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (found,) = (state.arithmetic.close(each) for each in operands)
        if not state.arithmetic.bounded:
            return Number(found.value)
        every, low, high = settings["every"], settings["low"], settings["high"]
        value, error = found.value, np.zeros(found.value.shape) + found.error
        if state.node in state.forced:
            value, exactly = state.forced[state.node]
            return Number(value, np.where(exactly, 0.0, error), undecided=found.undecided)
        with np.errstate(invalid="ignore"):
            first, last = (np.clip(value + way * error, low, high) for way in (-1.0, 1.0))
            cell = np.floor(first / every)
            crossed = (np.floor(last / every) > cell) | ((cell * every == first) & (last > first))
            unbounded = ~(error < 0.5 * every) & ~np.isnan(value) & (last > first)
            unbounded |= np.isnan(error) & ~np.isnan(value)
        near = crossed & ~unbounded & ~np.isnan(value)
        at_border = settings["at_border"]
        state.borders[state.node] = Border(
            value, error, first, last, near, unbounded, every, at_border
        )
        if at_border:
            # A coordinate that is taken to lie on a border lies there, whatever it was off by.
            error = np.where(near & (value == np.round(value / every) * every), 0.0, error)
        return Number(value, error, undecided=found.undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient]


class Rounding(Primitive):
    """To an integer: nothing is rounded once the side is decided, and no gradient passes.

    In a program without ``decide`` a value within its error of a border may have gone either way.
    """

    term = "rounding"
    others: tuple[str, ...] = ()
    """What is mistaken for it."""

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        for other in self.others:
            yield Mistake(
                f"{other} for {self.name}",
                lambda x, other=other: call(other, x[0]),  # type: ignore[misc]
            )
        yield Mistake(f"no {self.name}", lambda x: x[0])

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        if state.decides or not state.arithmetic.bounded:
            return Number(self.of(operands[0].value))
        x = state.arithmetic.close(operands[0])
        value = self.of(x.value)
        if nothing(x.error) and nothing(x.undecided):
            return Number(value)
        off = x.error + x.undecided
        with np.errstate(invalid="ignore"):
            other = np.maximum(self.of(x.value + off) - value, value - self.of(x.value - off))
        return Number(value, undecided=other if other.any() else 0.0)

    def of(self, value: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None]


@rule
class Floor(Rounding):
    """The greatest integer that is not greater."""

    name = "floor"
    others = ("round", "ceil")

    def of(self, value: np.ndarray) -> np.ndarray:
        return np.floor(value)


@rule
class Ceil(Rounding):
    """The least integer that is not less."""

    name = "ceil"
    others = ("round", "floor")

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake(
            "floor + 1 for ceil, which differs at integers",
            lambda x: call("floor", x[0]) + 1.0,
            operand="integer pixels",
        )
        yield from super().mistakes(settings, shapes)

    def of(self, value: np.ndarray) -> np.ndarray:
        return np.ceil(value)


@rule
class Round(Rounding):
    """The nearest integer, halves to even."""

    name = "round"
    others = ("floor", "ceil")

    def of(self, value: np.ndarray) -> np.ndarray:
        return np.round(value)
