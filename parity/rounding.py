"""Running error bounds: values together with how far floating point may have put them.

Each operation propagates the operands' bounds and adds the rounding of its own result, as in
Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.3. The value is computed in
float64 and stands for the exact one; the bound is that of a computation in a lower precision.
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
        return self._rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other: "Bounded") -> "Bounded":
        return self._rounded(self.value - other.value, self.error + other.error)

    def __mul__(self, other: "Bounded") -> "Bounded":
        error = (
            np.abs(self.value) * other.error
            + np.abs(other.value) * self.error
            + self.error * other.error
        )
        return self._rounded(self.value * other.value, error)

    def __truediv__(self, other: "Bounded") -> "Bounded":
        smallest = np.abs(other.value) - other.error
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.value / other.value
            error = (self.error + np.abs(value) * other.error) / smallest
        # A divisor whose error reaches zero bounds nothing.
        return self._rounded(value, np.where(smallest > 0, error, np.inf))

    def sqrt(self) -> "Bounded":
        """The square root; positive values only."""
        value = np.sqrt(self.value)
        below = np.sqrt(np.maximum(self.value - self.error, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._rounded(value, self.error / (value + below), ROOT_ROUNDINGS)

    def sin(self) -> "Bounded":
        return self._rounded(np.sin(self.value), self.error, FUNCTION_ROUNDINGS)

    def cos(self) -> "Bounded":
        return self._rounded(np.cos(self.value), self.error, FUNCTION_ROUNDINGS)

    def _rounded(self, value: np.ndarray, error: np.ndarray, roundings: float = 1.0) -> "Bounded":
        # What is rounded is the inexact result, which may be greater than ``value`` by ``error``.
        return Bounded(value, error + roundings * self.u * (np.abs(value) + error), self.u)


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
    beyond the products' own errors (Higham, section 4.2).
    """
    products = [x * y for x, y in zip(a, b, strict=True)]
    value = sum((p.value for p in products), np.zeros(()))
    error = sum((p.error for p in products), np.zeros(()))
    magnitude = sum((np.abs(p.value) for p in products), error)
    n_u = (len(products) - 1) * products[0].u
    return Bounded(value, error + n_u / (1 - n_u) * magnitude, products[0].u)
