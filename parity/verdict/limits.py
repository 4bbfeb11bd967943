"""What difference is too much: the one place that holds a limit, behind one small interface.

``Limits`` is the first, provisional judge. Its numbers are not fitted to results:

- float32 coarse 1e-5, refine 2e-5, of the tap's greatest magnitude. The longest sum of the coarse
  stage has 2·3075 terms, of the refine stage 2·339, with unit roundoff 2^-24 = 6e-8. A sum of n
  terms in random order of rounding errs by about sqrt(n)·u = 5e-6 of its terms' magnitude
  (Higham and Mary 2019), and the errors of some twenty layers in a row add up, damped by the
  averaging of the residuals; the refine stage adds the softmax. The exported graph itself stays
  within 2.5e-6 of its own float64 run in the coarse stage, so the limits leave a factor of four
  to eight for a second implementation with its own order of summation.
- float64 1e-11. Unit roundoff is 1.1e-16, 5e8 times smaller than float32's, which would put the
  same argument at 4e-14; what is left is room for ill-conditioned steps, such as dividing by depth.
"""

from typing import Protocol

from parity.verdict.result import Status

PRECISION = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of the significand, by which one precision is lower than another."""

LIMITS = {
    ("coarse", "float32"): 1e-5,
    ("refine", "float32"): 2e-5,
    ("coarse", "float64"): 1e-11,
    ("refine", "float64"): 1e-11,
}


class Judge(Protocol):
    """Decides on one tap from its measured difference."""

    def limit(self, stage: str, dtype: str) -> float:
        """The greatest admitted difference, relative to the tap's greatest magnitude."""

    def status(self, max_abs: float, scale: float, limit: float) -> Status:
        """The status of a tap whose shape, dtype and finiteness already agree."""


class Limits:
    """A fixed relative limit a stage and precision."""

    def limit(self, stage: str, dtype: str) -> float:
        return LIMITS[stage, dtype]

    def status(self, max_abs: float, scale: float, limit: float) -> Status:
        # ``<=`` and nothing else: it is false for NaN.
        return Status.AGREE if max_abs <= limit * scale else Status.DIFFER


def lower(first: str, second: str) -> str:
    """The lower of two precisions."""
    return min(first, second, key=lambda dtype: PRECISION[dtype])


def precision_named(bits: int) -> str:
    """The floating-point type with a significand of so many bits, in words where none has."""
    named = {number: dtype for dtype, number in PRECISION.items()}
    return named.get(bits, f"{bits}-bit floating point" if bits else "integer")


def narrower(own: int, other: int, asked: str) -> str:
    """The type that values need no more than, where that is lower than asked for; else "".

    ``own`` and ``other`` are the bits of significand that the values need, and those of the other
    side: numbers such as ones are short on both.
    """
    fits = [
        dtype for dtype, held in PRECISION.items() if 0 < own <= held < min(other, PRECISION[asked])
    ]
    return min(fits, key=lambda dtype: PRECISION[dtype]) if fits else ""
