"""The root mean square of a tap's errors in roundings, and how great it may be.

Under the model that gives λ (roundings independent, with mean zero, each at most u) the error of a
sum, in units of √n·u·Σ|terms|, is sub-Gaussian with variance proxy 1 (Hoeffding's lemma): the
squares of N such errors add up to N at most in the mean. Let a rounding reach at most m outputs, so
that an output shares roundings with at most χ = m² of its channel. The Gram matrix of the errors
then has a norm of at most χ, and (Hsu, Kakade and Zhang, "A tail inequality for quadratic forms of
subgaussian random vectors", Electron. Commun. Probab. 17, 2012)

    mean of squares ≤ 1 + 2·√(χ·s/N) + 2·χ·s/N

but with probability exp(−s). Of two runs the variance proxies add up, so that one rounding of
their difference is the root of the sum of squares of both sides' roundings. s follows from the same
admitted probability of a false alarm, shared out among all taps and channels of both precisions.
So a tap of thousands of elements whose errors are several roundings each is told from rounding,
though none of them passes λ.
"""

import math
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import scipy.sparse as sp

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.confidence import FALSE_ALARM
from parity.oracle.context import Context
from parity.oracle.local import Alone, all_finite
from parity.oracle.number import nothing

PRECISIONS = 2
SQUARES = 1e-290, 1e290
"""Between these squares lose no digits; beyond them roots are taken first."""


def tests_of(network: str) -> int:
    """How many mean squares of a network's taps are judged: of each tap and each channel."""
    return PRECISIONS * sum(1 + row.shape[-1] for row in network_of(network).taps)


def sharing_of(row: TapRow, context: Context) -> int:
    """χ: with how many outputs of its channel one shares roundings, at most.

    A product with a support reads each row of features for every vertex linked to it, and what was
    rounded in that row is rounded for all of them. In a formula of a network's own all outputs may
    share all roundings, as where something pooled is added to every row.
    """
    if row.formula is not None:
        return math.prod(row.shape)
    found = 1
    for name in row.program.read_by("sparse_matmul"):
        if name in row.constants:
            filled = context.arrays[row.constants[name]] != 0
            most = int(np.max(filled.sum(axis=0)))
            outputs = filled.shape[0] if not sp.issparse(filled) else most * most
            found = max(found, min(most * most, outputs))
    return found


def mean_square_limit(count: int, sharing: int, tests: int) -> float:
    """The greatest mean of so many squared errors in roundings that is admitted."""
    s = math.log(tests / FALSE_ALARM)
    share = sharing * s / count
    return 1.0 + 2.0 * math.sqrt(share) + 2.0 * share


@dataclass(eq=False)
class MeanSquare:
    """Squared errors in roundings, of a tap and of each of its channels.

    Attributes:
        tests: how many mean squares share the admitted probability.
        sharing: χ.
        squares, counts: by channel.
    """

    tests: int
    sharing: int
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, local: np.ndarray, *sides: Alone) -> None:
        """Add local errors of one run, or their differences between two, where sums were rounded.

        What always holds is taken off. Elements that every evaluation has at exactly 0 passed no
        ReLU and say nothing.

        Args:
            local: the errors, or their differences.
            sides: the evaluation of each run whose errors are in ``local``.
        """
        channels = local.shape[-1] if local.ndim else 1
        if not len(self.squares):
            self.squares, self.counts = np.zeros(channels), np.zeros(channels)
        if not any(each.unit.any() for each in sides):
            return
        told = reduce(np.logical_or, (each.value != 0 for each in sides))
        if not all_finite(local):
            told &= np.isfinite(local)
        z = local
        if not all(nothing(each.fixed) for each in sides):
            z = np.abs(local)
            for each in sides:
                z -= each.fixed
            np.maximum(z, 0.0, out=z)
        # The roundings of two runs are independent of each other: their variances add up.
        variance = reduce(np.add, (each.unit * each.unit for each in sides))
        if SQUARES[0] < variance.min() and variance.max() < SQUARES[1]:
            squares = np.square(z)
            squares /= variance
        else:
            unit = reduce(np.hypot, (each.unit for each in sides))
            told &= (unit > 0) & np.isfinite(unit)
            squares = np.square(np.divide(z, unit, out=np.zeros(z.shape), where=told))
        if not told.all():
            squares[~told] = 0.0
        self.squares += squares.reshape(-1, channels).sum(axis=0)
        # A product with ones counts: NumPy adds up booleans along columns ten times as slowly.
        flat = told.reshape(-1, channels).astype(np.float64)
        self.counts += np.ones(len(flat)) @ flat

    def join(self, other: "MeanSquare") -> None:
        """Add another part of the same tap."""
        if not len(self.squares):
            self.squares, self.counts = other.squares, other.counts
        elif len(other.squares):
            self.squares, self.counts = self.squares + other.squares, self.counts + other.counts

    @property
    def root(self) -> float | None:
        """The root mean square over the tap; None where no sums were rounded."""
        count = self.counts.sum()
        return math.sqrt(self.squares.sum() / count) if count else None

    @property
    def limit(self) -> float | None:
        """The greatest root that is admitted of the tap."""
        count = int(self.counts.sum())
        return math.sqrt(mean_square_limit(count, self.sharing, self.tests)) if count else None

    @property
    def channel(self) -> int | None:
        """A channel that is beyond its own limit; None where none is."""
        for index in np.argsort(-self.squares, kind="stable"):
            count = int(self.counts[index])
            if count and self.squares[index] / count > mean_square_limit(
                count, self.sharing, self.tests
            ):
                return int(index)
        return None

    @property
    def within(self) -> bool:
        """Whether the tap and all its channels keep to their limits."""
        root, limit = self.root, self.limit
        if root is None or limit is None:
            return True
        return root <= limit and self.channel is None

    def said(self) -> str:
        """What is beyond, in words."""
        root, limit = self.root, self.limit
        if root is None or limit is None:
            return ""
        if root > limit:
            return (
                f"errors of {root:.2g} roundings in the root mean square, of {limit:.2g} admitted"
            )
        index = self.channel
        assert index is not None
        count = int(self.counts[index])
        own = math.sqrt(self.squares[index] / count)
        most = math.sqrt(mean_square_limit(count, self.sharing, self.tests))
        return (
            f"errors of {own:.2g} roundings in the root mean square of channel {index}, of "
            f"{most:.2g} admitted"
        )
