"""The four operations, element by element, with NumPy's broadcasting."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import (
    Count,
    Number,
    nothing,
    product_residual,
    sum_residual,
)
from parity.oracle.primitives.rule import (
    RULES,
    Mistake,
    Primitive,
    Settings,
    Shape,
    State,
    rule,
)

EXACTNESS_COUNTS = 2**16
"""Elements up to which it is found out whether a result is free of rounding. That matters for the
few numbers of cameras and for pixels, which may be whole; features have millions."""


def products_error(a: Number, b: Number) -> Any:
    """What errors of two factors do to their product."""
    found: Any = 0.0
    for one, other in ((a, b), (b, a)):
        if not nothing(one.error):
            found = found + np.abs(other.value) * one.error
    if not (nothing(a.error) or nothing(b.error)):
        found = found + a.error * b.error
    return found


def products_undecided(a: Number, b: Number) -> Any:
    """The same of what decisions may do."""
    found: Any = 0.0
    for one, other in ((a, b), (b, a)):
        if not nothing(one.undecided):
            found = found + (np.abs(other.value) + other.error + other.undecided) * one.undecided
    return found


def is_power_of_two(value: np.ndarray) -> bool:
    """Whether a factor is a signed power of two, or 0: then nothing is rounded."""
    mantissa = np.frexp(value)[0]
    return bool(np.isin(np.abs(mantissa), (0.0, 0.5)).all())


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape of an operation on operands of these shapes."""
    return tuple(np.broadcast_shapes(*shapes))


class Addition(Primitive):
    """The sum of two terms, the second with a sign."""

    sign = 1.0
    term = "missing term"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        for number in (0, 1):
            if broadcast(shapes) == shapes[1 - number]:
                yield Mistake(
                    "{} left out",
                    lambda x, number=number: x[1 - number] if number or self.sign > 0 else -x[1],  # type: ignore[misc]
                    of=number,
                )  # fmt: skip
        yield Mistake(
            "the sign of {} turned",
            lambda x: x[0] - x[1] if self.sign > 0 else x[0] + x[1],
            of=1,
        )
        if self.sign < 0:
            yield Mistake("a difference the other way round", lambda x: x[1] - x[0])
        elif shapes[0] == shapes[1]:
            for number in (0, 1):
                yield Mistake(
                    "the other term twice, without {},",
                    lambda x, number=number: x[number] + x[number],  # type: ignore[misc]
                    of=1 - number,
                )  # fmt: skip

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        a, b = (state.arithmetic.summand(each) for each in operands)
        with np.errstate(invalid="ignore", over="ignore"):
            value = a.value + b.value if self.sign > 0 else a.value - b.value
            if not state.arithmetic.bounded:
                return Number(value)
            exact = None
            fresh = a.size is None and b.size is None
            if fresh and value.size <= EXACTNESS_COUNTS:
                exact = sum_residual(a.value, self.sign * b.value, value) == 0
                exact &= state.arithmetic.held(value)
            elif fresh:
                # Adding nothing rounds nothing.
                exact = (a.value == 0) | (b.value == 0)
            size = a.magnitude + b.magnitude
        count: Count = np.maximum(a.count, b.count) + 1
        return Number(value, a.error + b.error, size, count, exact, a.undecided + b.undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        second = gradient if self.sign > 0 else -gradient
        return [
            call("unbroadcast", gradient, operands[0]),
            call("unbroadcast", second, operands[1]),
        ]


@rule
class Add(Addition):
    """a + b."""

    name = "add"


@rule
class Subtract(Addition):
    """a − b."""

    name = "subtract"
    sign = -1.0


@rule
class Multiply(Primitive):
    """a·b."""

    name = "multiply"
    term = "constant"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        for number in (0, 1):
            if broadcast(shapes) == shapes[1 - number]:
                yield Mistake(
                    "the factor {} left out",
                    lambda x, number=number: x[1 - number],  # type: ignore[misc]
                    of=number,
                )  # fmt: skip
        yield Mistake("the other sign", lambda x: -(x[0] * x[1]))

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        arithmetic = state.arithmetic
        a, b = (arithmetic.summand(each) for each in operands)
        if not a.is_exact and not b.is_exact:
            a, b = arithmetic.close(a), arithmetic.close(b)
        with np.errstate(invalid="ignore", over="ignore"):
            value = a.value * b.value
            if not arithmetic.bounded:
                return Number(value)
            error, undecided = products_error(a, b), products_undecided(a, b)
            for factor, whole in ((a, b), (b, a)):
                one = factor.value.size == 1 and factor.is_exact
                if not (one and is_power_of_two(factor.value)):
                    continue
                size = None if whole.size is None else np.abs(factor.value) * whole.size
                return Number(
                    value, error, size, whole.count, whole.exact, undecided, whole.summable
                )
            exact = None
            if a.size is None and b.size is None and value.size <= EXACTNESS_COUNTS:
                exact = product_residual(a.value, b.value, value) == 0
                exact &= arithmetic.held(value)
            size = a.magnitude * b.magnitude
        count: Count = np.asarray(a.count) + b.count + 1
        return Number(value, error, size, count, exact, undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        a, b = operands
        return [call("unbroadcast", gradient * b, a), call("unbroadcast", gradient * a, b)]


@rule
class Square(Primitive):
    """a², one rounding; its error is that of both factors at once."""

    name = "square"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("no square", lambda x: x[0])
        yield Mistake("a magnitude for a square", lambda x: call("abs", x[0]))

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        a = state.arithmetic.close(operands[0])
        if nothing(a.error) or not nothing(a.undecided) or a.value.size <= EXACTNESS_COUNTS:
            return RULES["multiply"].number(state, settings, a, a)
        with np.errstate(invalid="ignore", over="ignore"):
            magnitude = np.abs(a.value)
            error = (magnitude + magnitude + a.error) * a.error
            magnitude += a.error
            return Number(np.square(a.value), error, np.square(magnitude), 1)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [2.0 * (gradient * operands[0])]


@rule
class Divide(Primitive):
    """a / b. A divisor whose error reaches zero bounds nothing."""

    name = "divide"
    term = "constant"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        if broadcast(shapes) == shapes[0]:
            yield Mistake("no division by {}", lambda x: x[0], of=1)
        yield Mistake("the other sign", lambda x: -(x[0] / x[1]))

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        a, b = (state.arithmetic.close(each) for each in operands)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = a.value / b.value
            smallest = np.abs(b.value) - b.error
            error: Any = 0.0
            if not (nothing(a.error) and nothing(b.error)):
                error = (a.error + np.abs(value) * b.error) / smallest
                error = np.where(smallest > 0, error, np.inf)
            undecided: Any = 0.0
            if not (nothing(a.undecided) and nothing(b.undecided)):
                left = smallest - b.undecided
                undecided = (a.undecided + np.abs(value) * b.undecided) / left
                undecided = np.where(left > 0, undecided, np.inf)
            exact = None
            if value.size <= EXACTNESS_COUNTS:
                exact = product_residual(value, np.broadcast_to(b.value, value.shape),
                                         np.broadcast_to(a.value, value.shape)) == 0  # fmt: skip
            return state.arithmetic.rounded(value, error, exact=exact, undecided=undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        a, b = operands
        by_a = gradient / b
        return [call("unbroadcast", by_a, a), call("unbroadcast", -(by_a * output), b)]


@rule
class Unbroadcast(Primitive):
    """A gradient summed over the axes along which an operand was repeated."""

    name = "unbroadcast"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        gradient, like = operands
        shape = like.value.shape
        if gradient.value.shape == shape:
            return gradient
        gradient = state.arithmetic.summand(gradient)
        lead = gradient.value.ndim - len(shape)
        axes = tuple(range(lead)) + tuple(
            lead + axis
            for axis, size in enumerate(shape)
            if size == 1 and gradient.value.shape[lead + axis] != 1
        )
        terms = int(np.prod([gradient.value.shape[axis] for axis in axes]))

        def summed(part: Any) -> Any:
            if part is None or nothing(part):
                return part
            return np.broadcast_to(part, gradient.value.shape).sum(axis=axes).reshape(shape)

        return Number(
            summed(gradient.value),
            summed(gradient.error),
            summed(gradient.magnitude),
            int(np.max(gradient.count)) + terms - 1,
            undecided=summed(gradient.undecided),
        )
