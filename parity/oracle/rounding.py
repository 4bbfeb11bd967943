"""Running error bounds: values together with how far floating point may have put them.

Each operation propagates the operands' bounds and adds the rounding of its own result, as in
Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.3. The value is computed in
float64 and stands for the exact one; the bound is that of a computation in a lower precision.

An operation that happens to be exact, such as one with zeros, adds nothing: a coordinate that is an
integer without any rounding is one in every right implementation. Sums and products are known to be
exact by the error-free transformations of Knuth and Dekker.
"""

from dataclasses import dataclass

import numpy as np

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}
FUNCTION_ROUNDINGS = 4.0
"""Roundings charged for a sine or cosine: 2 units in the last place, which CUDA promises; the CPU
libraries of NumPy, PyTorch and TensorFlow stay below 1.2 of them."""
ROOT_ROUNDINGS = 2.0
"""Roundings charged for a square root: one unit in the last place, as vector libraries promise.
IEEE 754 asks for half of one, but PyTorch's vectorised float32 root misses that: 0.74 units were
seen, a tenth of all values not being the correctly rounded ones."""


@dataclass(frozen=True)
class Bounded:
    """Values and, element by element, a bound on the error of computing them with roundoff u."""

    value: np.ndarray
    error: np.ndarray
    u: float

    @classmethod
    def exact(cls, value: np.ndarray, u: float) -> "Bounded":
        """An input that both precisions hold exactly."""
        value = np.asarray(value, dtype=np.float64)
        return cls(value, np.zeros_like(value), u)

    def __add__(self, other: "Bounded") -> "Bounded":
        value = self.value + other.value
        exact = _sum_residual(self.value, other.value, value) == 0
        return self._rounded(value, self.error + other.error, exact=exact)

    def __sub__(self, other: "Bounded") -> "Bounded":
        value = self.value - other.value
        exact = _sum_residual(self.value, -other.value, value) == 0
        return self._rounded(value, self.error + other.error, exact=exact)

    def __mul__(self, other: "Bounded") -> "Bounded":
        error = (
            np.abs(self.value) * other.error
            + np.abs(other.value) * self.error
            + self.error * other.error
        )
        value = self.value * other.value
        exact = _product_residual(self.value, other.value, value) == 0
        return self._rounded(value, error, exact=exact)

    def __truediv__(self, other: "Bounded") -> "Bounded":
        smallest = np.abs(other.value) - other.error
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.value / other.value
            error = (self.error + np.abs(value) * other.error) / smallest
            exact = _product_residual(value, other.value, self.value) == 0
        # A divisor whose error reaches zero bounds nothing.
        return self._rounded(value, np.where(smallest > 0, error, np.inf), exact=exact)

    def sqrt(self) -> "Bounded":
        """The square root; positive values only."""
        value = np.sqrt(self.value)
        below = np.sqrt(np.maximum(self.value - self.error, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = _product_residual(value, value, self.value) == 0
            error = np.where(exact & (self.error == 0), 0.0, self.error / (value + below))
        return self._rounded(value, error, ROOT_ROUNDINGS, exact)

    def sin(self) -> "Bounded":
        return self._rounded(np.sin(self.value), self.error, FUNCTION_ROUNDINGS, self.value == 0)

    def cos(self) -> "Bounded":
        return self._rounded(np.cos(self.value), self.error, FUNCTION_ROUNDINGS, self.value == 0)

    def _rounded(
        self,
        value: np.ndarray,
        error: np.ndarray,
        roundings: float = 1.0,
        exact: np.ndarray | bool = False,
    ) -> "Bounded":
        """The result ``value`` of operands that put it off by ``error``.

        ``exact``: where float64 computed it without rounding, so that the precision in question
        does too if it can hold it.
        """
        held = value if self.u < UNIT_ROUNDOFF["float32"] else value.astype(np.float32)
        free = exact & (error == 0) & (held == value)
        # What is rounded is the inexact result, which may be greater than ``value`` by ``error``.
        own = np.where(free, 0.0, roundings * self.u * (np.abs(value) + error))
        return Bounded(value, error + own, self.u)


def _sum_residual(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> np.ndarray:
    """What rounding took from ``total``: a + b − total, exactly (Knuth's TwoSum)."""
    with np.errstate(invalid="ignore"):
        back = total - a
        return (a - (total - back)) + (b - back)


def _product_residual(a: np.ndarray, b: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The same of a·b − product (Dekker's product), where ``product`` is about a·b."""
    with np.errstate(invalid="ignore", over="ignore"):
        (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
        near = a * b
        low = ((a_high * b_high - near) + a_high * b_low + a_low * b_high) + a_low * b_low
        return (near - product) + low


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Veltkamp's splitting into two numbers of 26 bits."""
    scaled = (2.0**27 + 1.0) * x
    high = scaled - (scaled - x)
    return high, x - high


def stack(parts: list[Bounded]) -> Bounded:
    """Join along a new last axis."""
    return Bounded(
        np.stack([part.value for part in parts], axis=-1),
        np.stack([part.error for part in parts], axis=-1),
        parts[0].u,
    )


def dot(a: list[Bounded], b: list[Bounded]) -> Bounded:
    """Σ a_i·b_i, bounded for every order of summation.

    Any order of adding n products errs by at most γ·Σ|a_i·b_i|, γ = (n - 1)·u / (1 - (n - 1)·u),
    beyond the products' own errors (Higham, section 4.2). Nothing is rounded where all products but
    one are zero.
    """
    products = [x * y for x, y in zip(a, b, strict=True)]
    value = sum((p.value for p in products), np.zeros(()))
    error = sum((p.error for p in products), np.zeros(()))
    magnitude = sum((np.abs(p.value) for p in products), error)
    some = sum((((p.value != 0) | (p.error != 0)).astype(int) for p in products), np.zeros((), int))
    n_u = (len(products) - 1) * products[0].u
    rounding = np.where(some > 1, n_u / (1 - n_u) * magnitude, 0.0)
    return Bounded(value, error + rounding, products[0].u)


def average(parts: list[Bounded]) -> Bounded:
    """Their mean, bounded for every order of summation and for a division by multiplying.

    What is exact in one order need not be in another, so only zeros are free here.
    """
    count, u = len(parts), parts[0].u
    value = sum((part.value for part in parts), np.zeros(())) / count
    error = sum((part.error for part in parts), np.zeros(())) / count
    magnitude = sum((np.abs(part.value) for part in parts), np.zeros(())) / count + error
    # One rounding for each addition, two for a reciprocal and a product.
    return Bounded(value, error + (count + 1) * u * magnitude, u)
