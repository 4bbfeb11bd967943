"""How much rounding a layer may make: the limit's derivation is in ``docs/verdict.md``."""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from network.taps import TAPS, TapRow

FALSE_ALARM = 1e-6
"""Probability that a comparison of two right implementations reports a difference, at most."""

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}

LONGEST_SUM = {"coarse": 2 * 3075 + 16, "refine": 2 * 339 + 64}
"""Roundings that the longest sum of a stage makes, rounded up: channels in of both supports, the
support's row, bias. (The 5×5 convolutions of 256 channels have 6,400 terms.)"""


@cache
def spread(stage: str) -> float:
    """λ: how many standard roundings the error of any element of the stage stays within.

    Higham and Mary, "A new approach to probabilistic rounding error analysis" (SIAM J. Sci.
    Comput. 41, 2019), theorem 2.4: a sum of n rounded terms errs by at most λ·√n·u of the terms'
    magnitudes, to first order, but for a probability of 2·exp(−λ²/2) for each of its n partial
    results. λ is chosen so that this happens anywhere in a stage's run, on either side and in
    either precision, with probability ``FALSE_ALARM``.
    """
    elements = sum(math.prod(row.shape) for row in TAPS[stage])
    longest = max(LONGEST_SUM[stage], 25 * 256 + 2)
    return roundings_for(4 * elements * longest)


def roundings_for(events: int) -> float:
    """λ for so many partial results: all of them keep to it but with ``FALSE_ALARM``."""
    return math.sqrt(2.0 * math.log(2.0 * events / FALSE_ALARM))


@dataclass(frozen=True)
class Evaluated:
    """A layer's output, and one rounding of it.

    ``value``: exact but for float64's own rounding. ``unit``, of the same shape: √n·Σ|terms|, what
    a standard rounding of each of the n operations behind an element amounts to, for unit roundoff
    1. ``fixed`` is what may be added whatever λ is, for unit roundoff 1 as well: bounds that are
    not of sums, such as those of a division or a sine. None where it is 0.
    """

    value: np.ndarray
    unit: np.ndarray
    fixed: np.ndarray | None = None

    def limit(self, stage: str, dtype: str) -> np.ndarray:
        """The greatest admitted |output − value| of a run in ``dtype``.

        The run rounds with its own unit roundoff, the evaluation here with float64's.
        """
        u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
        limit = (spread(stage) * u) * self.unit
        return limit if self.fixed is None else limit + u * self.fixed


def rows_of(row: TapRow, array: np.ndarray) -> np.ndarray:
    """``array`` as (rows, channels), whatever lies before the channels."""
    return array.reshape(-1, row.shape[-1])
