"""Functions of single elements.

Those that are exact and make no difference greater (a ReLU, a clip, a magnitude) keep the bounds of
their operand. The others close it and are charged what their libraries promise.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import Primitive, Settings, State, rule

FUNCTION_ROUNDINGS = 4.0
"""Charged for a sine, cosine or exponential: 2 units in the last place, which CUDA promises; the
CPU libraries of NumPy, PyTorch and TensorFlow stay below 1.2 of them."""
ROOT_ROUNDINGS = 2.0
"""Charged for a square root: one unit in the last place, as vector libraries promise. IEEE 754 asks
for half of one, but PyTorch's vectorised float32 root misses that: 0.74 units were seen, a tenth of
all values not being the correctly rounded ones."""


@rule
class Relu(Primitive):
    """max(x, 0): |max(a, 0) − max(b, 0)| ≤ |a − b|."""

    name = "relu"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = operands
        return replace(x, value=np.maximum(x.value, 0.0), exact=None, summable=False)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("positive", output)]


@rule
class Positive(Primitive):
    """1 where x > 0, else 0."""

    name = "positive"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        return Number((x.value > 0).astype(np.float64), undecided=_within(x, 0.0))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None]


def _within(x: Number, *borders: float) -> Any:
    """1 where a value may lie on either side of a border, which is 0.0 where none can."""
    if nothing(x.error) and nothing(x.undecided):
        return 0.0
    error = np.broadcast_to(x.error + x.undecided, x.value.shape)
    near = np.zeros(x.value.shape, bool)
    for border in borders:
        near |= (np.abs(x.value - border) <= error) & (error > 0)
    return near.astype(np.float64)


@rule
class Absolute(Primitive):
    """|x|."""

    name = "abs"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = operands
        return replace(x, value=np.abs(x.value), summable=False)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("sign", operands[0])]


@rule
class Sign(Primitive):
    """−1, 0 or 1."""

    name = "sign"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        within = _within(x, 0.0)
        return Number(np.sign(x.value), undecided=within if nothing(within) else 2.0 * within)


@rule
class Clip(Primitive):
    """Limited to [low, high]; what is beyond for certain is exactly the limit."""

    name = "clip"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        low, high = settings.get("low", -np.inf), settings.get("high", np.inf)
        value = np.clip(x.value, low, high)

        def off(bound: Any) -> Any:
            if nothing(bound):
                return bound
            below, above = (np.clip(x.value + way * bound, low, high) for way in (-1.0, 1.0))
            moved = np.maximum(np.abs(below - value), np.abs(above - value))
            # Inside, the bound itself: nothing is taken from it by cancellation.
            return np.where(
                (moved > 0) & (bound < np.inf),
                np.minimum(
                    bound, np.maximum(moved, np.where((below > low) & (above < high), bound, moved))
                ),
                moved,
            )

        return Number(value, off(x.error), undecided=off(x.undecided))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("inside", operands[0], **settings)]


@rule
class Inside(Primitive):
    """1 where low ≤ x ≤ high, else 0."""

    name = "inside"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        low, high = settings.get("low", -np.inf), settings.get("high", np.inf)
        passes = ((x.value >= low) & (x.value <= high)).astype(np.float64)
        return Number(passes, undecided=_within(x, *(b for b in (low, high) if np.isfinite(b))))


class Function(Primitive):
    """A function that closes its operand and is charged roundings of its own."""

    roundings = FUNCTION_ROUNDINGS
    of: Callable[[np.ndarray], np.ndarray]

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        """What an error of the operand does; at most itself for sines and cosines."""
        return bound

    def free(self, x: Number) -> np.ndarray:
        """Where nothing is rounded."""
        return np.asarray(x.value == 0)

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = type(self).of(x.value)
            error, undecided = (
                bound if nothing(bound) else self.spread(x, value, bound)
                for bound in (x.error, x.undecided)
            )
            return state.arithmetic.rounded(
                value, error, self.roundings, self.free(x), undecided=undecided
            )


@rule
class Sin(Function):
    """sin(x), radians."""

    name = "sin"
    of = np.sin

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("cos", operands[0])]


@rule
class Cos(Function):
    """cos(x), radians."""

    name = "cos"
    of = np.cos

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [-(gradient * call("sin", operands[0]))]


@rule
class Exp(Function):
    """exp(x): an error e of x changes it by the factor exp(e)."""

    name = "exp"
    of = np.exp

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        return value * np.expm1(bound)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * output]


@rule
class Sqrt(Function):
    """√x, of values that are not negative."""

    name = "sqrt"
    of = np.sqrt
    roundings = ROOT_ROUNDINGS

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        below = np.sqrt(np.maximum(x.value - bound, 0))
        found = bound / (value + below)
        return np.where(np.broadcast_to(bound, value.shape) == 0, 0.0, found)

    def free(self, x: Number) -> np.ndarray:
        root = np.sqrt(x.value)
        return np.asarray(root * root == x.value) & (np.round(root * 2.0**20) == root * 2.0**20)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [0.5 * gradient / output]


@rule
class Detach(Primitive):
    """The value, through which no gradient passes."""

    name = "detach"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return operands[0]

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None]


@rule
class Materialise(Primitive):
    """The value, as an intermediate result that is written down before anything goes on from it.

    Its sum is closed here, so that what follows is not charged with its roundings once more. A
    program says so where every implementation computes the intermediate result.
    """

    name = "materialise"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return state.arithmetic.close(operands[0])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient]


@rule
class Inverse(Primitive):
    """The inverse of a small matrix near a rotation.

    Its condition number is 1 but for rounding, so an LU factorisation of a 3×3 matrix errs by at
    most 3·3·3·u (Higham, theorem 14.1 with growth factor below 3), beyond what the matrix's own
    error does, which |inv|·|E|·|inv| bounds to first order.
    """

    name = "inverse"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        error = np.zeros(x.value.shape) + x.error
        if not (np.isfinite(x.value).all() and np.isfinite(error).all()):
            # A camera at the origin looks nowhere; so says whatever is computed from it.
            nowhere = np.full(x.value.shape, np.nan)
            return Number(nowhere, nowhere)
        inverse = np.linalg.inv(x.value)
        bound = np.abs(inverse) @ error @ np.abs(inverse) + 27 * state.arithmetic.roundoff
        if not error.any() and np.isin(x.value, (-1.0, 0.0, 1.0)).all():
            # A rotation of zeros and ones moves the axes; elimination rounds nothing.
            bound = np.zeros_like(bound)
        return Number(inverse, bound)
