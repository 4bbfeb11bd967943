"""Numbers with what rounding may have made of them, and the arithmetic that says how much.

A number stands for the exact result of the operations behind it and holds, element by element, how
far the same operations may land from it in floating point of unit roundoff u. Two states suffice:

- an **open sum**, Σ terms, each of which passes through at most ``count`` roundings in whatever
  order the sum is evaluated. Linear operations keep it open, so that one bound holds for every
  order: ``S (x W)`` and ``(S x) W`` alike.
- a **closed value** with a bound on its error. Whatever is not linear closes its operands first.

Closing an open sum costs min(n, λ√n)·u·Σ|terms|: the first always holds, to first order (Higham,
*Accuracy and Stability of Numerical Algorithms*, 3.1), the second but for a probability of
2·exp(−λ²/2) a partial result if roundings are independent with mean zero (Higham and Mary, SIAM J.
Sci. Comput. 41, 2019, theorem 2.4). One rounding alone is at most u of the result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

Bound = Any
"""An array of bounds, or the float 0.0 where there is nothing to bound."""
Count = Any
"""Roundings of a term: an integer, or integers element by element."""

SINGLE_SIZE = 2.0**-12
"""Sizes of sums are computed in float32, whose own rounding this covers, relatively."""
USUAL = 2.0**-40, 2.0**40
"""Greatest magnitudes whose products float32 holds as they are."""
SMALLEST = 2.0**-60
"""Of factors: products of two are normal numbers of float32."""
FLUSHED = 2.0**-80
"""Of sums of products: smaller ones are charged with what small products are off by."""
LEAST = 2.0**-100
"""Of sums of products: what is smaller may have lost some of its terms."""


@dataclass(frozen=True, eq=False)
class Number:
    """An array of exact values and bounds on what rounding makes of them.

    Attributes:
        value: float64.
        error: bound on |computed − value| that needs no probability; absolute.
        size: Σ|terms| of a sum whose roundings are still to be charged; None where there are none.
        count: roundings that a term of ``size`` passes through.
        exact: where ``count`` is 1 and that rounding rounds nothing; None where that is unknown.
        undecided: what decisions that rounding may take either way can add to ``error``.
        summable: whether the sum may go on: False after an operation that is exact but not linear.
    """

    value: np.ndarray
    error: Bound = 0.0
    size: np.ndarray | None = None
    count: Count = 0
    exact: np.ndarray | None = None
    undecided: Bound = 0.0
    summable: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether nothing was rounded, and no input was off."""
        return self.size is None and nothing(self.error) and nothing(self.undecided)

    @property
    def is_a_sum(self) -> bool:
        """Whether there is an open sum alone, whose terms all pass through as many roundings."""
        return (
            self.size is not None
            and self.size.shape == self.value.shape
            and np.ndim(self.count) == 0
            and self.count != 1
            and nothing(self.error)
        )

    @property
    def magnitude(self) -> np.ndarray:
        """Σ|terms|, of what a further linear operation would sum up."""
        if self.size is not None:
            return self.size
        found = np.abs(self.value)
        return found if nothing(self.error) else found + self.error

    @cached_property
    def single(self) -> "Single":
        """The same in float32; kept, for several sums are made of one activation."""
        plain = self.size is None and nothing(self.error)
        return single_of(self.value if plain else self.magnitude)


@dataclass(frozen=True, eq=False)
class Single:
    """Magnitudes in float32, in which sizes of sums are computed.

    Attributes:
        found: the magnitudes over ``2**exponent``.
        exponent: 0 where they are of the usual size.
        of: what they are the magnitudes of.
    """

    found: np.ndarray
    exponent: int
    of: np.ndarray

    @cached_property
    def spread(self) -> bool:
        """Whether some are so much smaller than the greatest that products of two may be lost."""
        return int(np.count_nonzero(self.found >= SMALLEST)) < int(np.count_nonzero(self.of))


def single_of(values: np.ndarray) -> Single:
    """Magnitudes of values in float32; scaled where they are far from 1 as a whole."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32)
        np.abs(found, out=found)
        most = float(found.max(initial=0.0))
        if USUAL[0] <= most <= USUAL[1] or math.isnan(most):
            return Single(found, 0, values)
        finite = np.abs(values[np.isfinite(values)])
        most = float(finite.max(initial=0.0))
        exponent = math.frexp(most)[1] if most else 0
        return Single(np.abs(np.ldexp(values, -exponent)).astype(np.float32), exponent, values)


def _least(values: np.ndarray) -> float:
    """The least of magnitudes, but at most 1; what is not a number is passed over."""
    return float(np.fmin.reduce(values, axis=None, initial=1.0))


def mapped(number: Number, of: Callable[[np.ndarray], np.ndarray]) -> Number:
    """The numbers that ``of`` picks, moves or reshapes; it is given arrays of the value's shape."""
    shape = number.value.shape

    def part(array: Any) -> Any:
        if array is None or nothing(array) or np.ndim(array) == 0:
            return array
        return of(np.broadcast_to(array, shape))

    return Number(
        of(number.value), part(number.error), part(number.size), part(number.count),
        part(number.exact), part(number.undecided), number.summable,
    )  # fmt: skip


def nothing(bound: Bound) -> bool:
    """Whether a bound is the float 0.0, which stands for an array of zeros."""
    return isinstance(bound, float) and bound == 0.0


def exactly(value: Any) -> Number:
    """An array that every precision in question holds exactly."""
    return Number(np.asarray(value, dtype=np.float64))


@dataclass(frozen=True)
class Arithmetic:
    """Floating point of a precision.

    Attributes:
        roundoff: u, the run's own and that of the evaluation here together.
        confidence: λ.
        holds: the type that a result must fit to be free of rounding.
        bounded: whether bounds are wanted; without, rules may give values alone.
    """

    roundoff: float
    confidence: float
    holds: type = np.float64
    bounded: bool = True

    @property
    def smallest(self) -> float:
        """The smallest normal number: what is below it TensorFlow sets to 0, and PyTorch does not.

        A function's result may be off by as much, and so may each product of a sum.
        """
        return float(np.finfo(self.holds).tiny)

    def size_of(
        self, product: Callable[..., np.ndarray], first: Single, second: Single, terms: int
    ) -> np.ndarray:
        """Σ|terms| of a product that is linear in both of its factors, not less than it is.

        In float32, where that can hold it: what is lost below its least number might be all that a
        sum has, and a sum beyond its greatest one would have no bound. Each of so many ``terms``
        may be off by ``smallest``, but for those that are 0; of what is not small this is nothing.
        """
        found, exponent = product(first.found, second.found), first.exponent + second.exponent
        least = _least(found)
        beyond = np.fmax.reduce(found, axis=None, initial=0.0) == np.inf
        if beyond or (least < LEAST and (first.spread or second.spread)):
            found, exponent = np.asarray(product(np.abs(first.of), np.abs(second.of))), 0
            least = _least(found)
        else:
            found = found * np.float32(1.0 + SINGLE_SIZE)
            if exponent:
                found = np.ldexp(found.astype(np.float64), exponent)
        if math.ldexp(least, exponent) < FLUSHED:
            found = np.where(found > 0, found + terms * self.smallest / self.roundoff, found)
        return np.asarray(found)

    def factor(self, count: Count) -> Any:
        """By how many u·Σ|terms| a sum may be off."""
        return np.minimum(count, self.confidence * np.sqrt(count))

    def limit(self, number: Number) -> np.ndarray:
        """The greatest error that is admitted, without what decisions can do; a value's shape."""
        if number.is_a_sum:
            return np.asarray((self.roundoff * self.factor(number.count)) * number.size)
        found = np.zeros(number.value.shape) + number.error
        if number.size is None:
            return found
        rounding = (self.roundoff * self.factor(number.count)) * number.size
        one = np.asarray(number.count) == 1
        if one.any():
            # A single rounding is of the result, and perhaps none.
            own = self.roundoff * (np.abs(number.value) + number.error)
            if number.exact is not None:
                free = number.exact & (np.zeros(number.value.shape) + number.error == 0)
                own = np.where(free, 0.0, own)
            rounding = np.where(one, own, rounding)
        # Sums of terms that are off grow their roundings likewise.
        return found * (1.0 + self.roundoff * np.max(number.count)) + rounding

    def unit(self, number: Number) -> np.ndarray:
        """√n·u·Σ|terms|: the scale of which λ are admitted.

        It is 0 where nothing of the limit is probable, as where one rounding alone was made.
        """
        if number.size is None:
            return np.zeros(number.value.shape)
        unit = np.asarray((self.roundoff * np.sqrt(number.count)) * number.size)
        if number.is_a_sum:
            return unit
        return np.where(np.asarray(number.count) == 1, 0.0, unit)

    def close(self, number: Number) -> Number:
        """The same value with a bound instead of an open sum."""
        if number.size is None:
            return number if number.summable else replace(number, summable=True)
        return Number(number.value, self.limit(number), undecided=number.undecided)

    def rounded(
        self,
        value: np.ndarray,
        error: Bound,
        roundings: float = 1.0,
        exact: Any = None,
        undecided: Bound = 0.0,
    ) -> Number:
        """A closed result of operands that put it off by ``error``, rounded itself.

        Args:
            value: the exact result.
            error: what the operands' errors do.
            roundings: units of u that the operation itself may be off by.
            exact: where float64 computed it without rounding, so that the precision in question
                does too if it can hold it.
            undecided: what the operands' decisions do.
        """
        if not self.bounded:
            return Number(value)
        own = (roundings * self.roundoff) * (np.abs(value) + error) + self.smallest
        if exact is not None:
            free = exact & (np.zeros(value.shape) + error == 0) & self.held(value)
            own = np.where(free, 0.0, own)
        return Number(value, error + own, undecided=undecided)

    def held(self, value: np.ndarray) -> np.ndarray:
        """Where the precision holds a float64 value exactly."""
        if self.holds is np.float64:
            return np.ones(value.shape, bool)
        with np.errstate(over="ignore"):
            return np.asarray(value.astype(self.holds) == value)

    def summand(self, number: Number) -> Number:
        """A number as a term of a sum: open or exact, with a bound of its own if it must be."""
        return number if number.summable else self.close(number)


def sum_residual(a: np.ndarray, b: np.ndarray, total: np.ndarray) -> np.ndarray:
    """What rounding took from ``total``: a + b − total, exactly (Knuth's TwoSum)."""
    back = total - a
    return np.asarray((a - (total - back)) + (b - back))


def product_residual(a: np.ndarray, b: np.ndarray, product: np.ndarray) -> np.ndarray:
    """The same of a·b − product (Dekker's product), where ``product`` is about a·b."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    near = a * b
    low = ((a_high * b_high - near) + a_high * b_low + a_low * b_high) + a_low * b_low
    return np.asarray((near - product) + low)


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Veltkamp's splitting into two numbers of 26 bits."""
    scaled = (2.0**27 + 1.0) * x
    high = scaled - (scaled - x)
    return high, x - high
