"""Sums with the rounding that they may make."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from network.taps import TAPS
from network.weights import WEIGHTS
from parity.oracle.layers.rounding import UNIT_ROUNDOFF, roundings_for

DOUBLE = 2.0 * UNIT_ROUNDOFF["float64"]
"""The run rounds in float64, and so does the evaluation here."""

TINY = 1e-37
"""A share of the greatest term, below float32's smallest number: what is lost in float32."""


LONGEST_SUM = 3 * 224 * 224 + 2
"""Roundings of the longest sum: a kernel's first convolution, over the pixels of all views."""


@cache
def spread(stage: str) -> float:
    """λ of gradients: how many standard roundings any element's error stays within.

    As ``parity.oracle.layers.rounding.spread`` has it for taps, with the gradients at all taps and
    of all variables, on either side, in float64.
    """
    elements = sum(math.prod(row.shape) for row in TAPS[stage])
    elements += sum(math.prod(row.shape) for row in WEIGHTS[stage])
    return roundings_for(2 * elements * LONGEST_SUM)


@dataclass(frozen=True, eq=False)
class Sum:
    """A sum, and what rounding may make of it.

    Attributes:
        value: exact but for float64's own rounding.
        magnitude: of the same shape, or a number for all: the sum of the terms' magnitudes.
        roundings: how many roundings a term passes through, at most.
        fixed: what may be added in any case, for unit roundoff 1 (see ``layers.rounding``).
        undecided: what a decision that rounding may take either way makes of it, absolute.
    """

    value: np.ndarray
    magnitude: np.ndarray | float = 0.0
    roundings: int = 0
    fixed: np.ndarray | float = 0.0
    undecided: np.ndarray | float = 0.0

    def __add__(self, other: "Sum") -> "Sum":
        """The sum of both: their terms' roundings, and one more."""
        return Sum(
            self.value + other.value,
            self.magnitude + other.magnitude + np.abs(other.value),
            self.roundings + other.roundings + 1,
            self.fixed + other.fixed,
            self.undecided + other.undecided,
        )

    def rows(self, part: slice) -> "Sum":
        """Some rows."""
        magnitude, fixed, undecided = (
            each[part] if isinstance(each, np.ndarray) else each
            for each in (self.magnitude, self.fixed, self.undecided)
        )
        return Sum(self.value[part], magnitude, self.roundings, fixed, undecided)

    def shaped(self, shape: tuple[int, ...]) -> "Sum":
        """The same numbers in another shape."""
        magnitude, fixed, undecided = (
            each.reshape(shape) if isinstance(each, np.ndarray) else each
            for each in (self.magnitude, self.fixed, self.undecided)
        )
        return Sum(self.value.reshape(shape), magnitude, self.roundings, fixed, undecided)

    def limit(self, stage: str) -> np.ndarray:
        """The greatest admitted |gradient − value| of a float64 run, its decisions as here."""
        scale = spread(stage) * math.sqrt(self.roundings) * DOUBLE
        limit = scale * np.asarray(self.magnitude, np.float64) + DOUBLE * np.asarray(self.fixed)
        return np.broadcast_to(limit, self.value.shape)


@dataclass(frozen=True, eq=False)
class HandedBack:
    """What one layer hands back.

    Attributes:
        parents: the gradient at each of ``TapRow.parents``, in their order; None at the images.
        variables: by the last part of the state-dict key, in the checkpoint's layout.
    """

    parents: tuple[Sum | None, ...]
    variables: Mapping[str, Sum] = field(default_factory=dict)


def zeros(shape: tuple[int, ...]) -> Sum:
    """Nothing, which does not round."""
    return Sum(np.zeros(shape))


def narrow(array: np.ndarray) -> tuple[np.ndarray, float]:
    """Magnitudes in float32 as shares of the greatest, and that.

    Bounds need few digits, so that they are computed in float32, at half the cost; gradients may be
    smaller than float32 can hold.
    """
    scale = float(np.abs(array).max(initial=0.0))
    if not (scale > 0.0 and math.isfinite(scale)):
        return np.abs(array).astype(np.float32), 1.0
    return (np.abs(array) / scale).astype(np.float32), scale
