"""Functions that are rounded: they close their operand and are charged what libraries promise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import erf

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, rule

FUNCTION_ROUNDINGS = 4.0
"""Charged for a sine, cosine or exponential: 2 units in the last place, which CUDA promises; the
CPU libraries of NumPy, PyTorch and TensorFlow stay below 1.2 of them."""
LOGARITHM_ROUNDINGS, TANH_ROUNDINGS = 6.0, 8.0
"""Charged for these: in float32 TensorFlow's were off by 3.8 and 5.8 roundings at most among two
million arguments each, PyTorch's by 1.4 and 1.0."""
ROOT_ROUNDINGS = 2.0
"""Charged for a square root: one unit in the last place, as vector libraries promise. IEEE 754 asks
for half of one, but PyTorch's vectorised float32 root misses that: 0.74 units were seen, a tenth of
all values not being the correctly rounded ones."""
ERF_ROUNDINGS = 16.0
"""Charged for the error function, in units of its greatest value, 1, and not of its own. In float32
TensorFlow's was off by 6.0 of them at most, that inside PyTorch's GELU by 12.2 near 1, and by 9.4
near 0 where an activation lies channels first: it is 1 minus a polynomial there (Abramowitz and
Stegun, 7.1.26)."""
ERF_SLOPE = float(2.0 / np.sqrt(np.pi))


class Function(Primitive):
    """A function that closes its operand and is charged roundings of its own."""

    roundings = FUNCTION_ROUNDINGS
    of: Callable[[np.ndarray], np.ndarray]
    other: str = ""
    """A function that is mistaken for this one."""

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake(f"no {self.name}", lambda x: x[0])
        if self.other:
            yield Mistake(f"{self.other} for {self.name}", lambda x: call(self.other, x[0]))

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        """What an error of the operand does; at most itself for sines and cosines."""
        return bound

    def free(self, x: Number) -> np.ndarray:
        """Where nothing is rounded."""
        return np.asarray(x.value == 0)

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        """The gradient at the operand."""
        raise NotImplementedError

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [self.back(gradient, operands[0], output)]

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
    other = "cos"

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return gradient * call("cos", x)


@rule
class Cos(Function):
    """cos(x), radians."""

    name = "cos"
    of = np.cos
    other = "sin"

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return -(gradient * call("sin", x))


@rule
class Exp(Function):
    """exp(x): an error e of x changes it by the factor exp(e)."""

    name = "exp"
    of = np.exp

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        return value * np.expm1(bound)

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return gradient * output


@rule
class Log(Function):
    """ln x, of positive values."""

    name = "log"
    roundings = LOGARITHM_ROUNDINGS
    of = np.log

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        left = x.value - bound
        return np.where(left > 0, bound / left, np.inf)

    def free(self, x: Number) -> np.ndarray:
        return np.asarray(x.value == 1)

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return gradient / x


@rule
class Tanh(Function):
    """tanh x: an error of x counts at most once."""

    name = "tanh"
    roundings = TANH_ROUNDINGS
    of = np.tanh

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return gradient * (1.0 - output * output)


@rule
class Erf(Function):
    """The error function; its slope is 2/√π at most."""

    name = "erf"
    of = erf

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        found, arithmetic = super().number(state, settings, *operands), state.arithmetic
        if not arithmetic.bounded:
            return found
        return replace(found, error=found.error + ERF_ROUNDINGS * arithmetic.roundoff)

    def spread(self, x: Number, value: np.ndarray, bound: Any) -> Any:
        return ERF_SLOPE * bound

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return gradient * ERF_SLOPE * call("exp", -(x * x))


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

    def back(self, gradient: Expression, x: Expression, output: Expression) -> Expression:
        return 0.5 * gradient / output


@rule
class Inverse(Primitive):
    """The inverse of a small matrix near a rotation.

    Its condition number is 1 but for rounding, so an LU factorisation of a 3×3 matrix errs by at
    most 3·3·3·u (Higham, theorem 14.1 with growth factor below 3), beyond what the matrix's own
    error does, which |inv|·|E|·|inv| bounds to first order.
    """

    name = "inverse"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("the matrix and not its inverse", lambda x: x[0])

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
