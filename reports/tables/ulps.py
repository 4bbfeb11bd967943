"""Distances in units in the last place: how many floating-point numbers lie between two.

The distance of r and c is the number of steps of ``nextafter`` that lead from one to the other. It
is computed from the bit patterns alone, in exact integers. An IEEE number's magnitude bits, read as
an unsigned integer m, count the steps from zero: subnormal numbers, then normal ones, then infinity
as the next after the greatest. So the distance is |m_r − m_c| where the signs are equal and
m_r + m_c where they are not. From this follows:

- +0 and −0 are at the same place: their distance is 0, as they are equal in arithmetic.
- The smallest subnormal numbers of either sign are 2 apart.
- Infinity is 1 from the greatest finite number. It has a place in the order, though arithmetic has
  no difference there.
- Two NaN, whatever their bits, are taken as the same (as the verdict takes them): 0. A NaN and a
  number have no distance.
- Both sides must be of one type; a distance between types means nothing. In float64 it can exceed
  2⁶³ (numbers of opposite sign) but never 2⁶⁴, and is unsigned.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNSIGNED: dict[str, type[np.unsignedinteger[Any]]] = {
    "float16": np.uint16,
    "float32": np.uint32,
    "float64": np.uint64,
}
OCTAVES = 65
"""Classes of distances: 0 alone, then [2^(k−1), 2^k) for k = 1 to 64."""


def ulp_distance(
    r: NDArray[Any], c: NDArray[Any]
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.bool_]]:
    """Units in the last place between two arrays, element by element.

    Args:
        r: any shape, float16, float32 or float64.
        c: the same shape and type.

    Returns:
        The distances, unsigned integers as wide as the type, and where they exist: not where one
        side alone is NaN (the distance given there is 0).

    Raises:
        ValueError: types or shapes differ, or the type is none of the three.
    """
    if r.dtype != c.dtype or r.shape != c.shape:
        raise ValueError(f"{r.dtype} {r.shape} against {c.dtype} {c.shape}: one type, one shape")
    if r.dtype.name not in _UNSIGNED:
        raise ValueError(f"{r.dtype} has no units in the last place")
    kind = _UNSIGNED[r.dtype.name]
    sign = kind(1 << (8 * r.dtype.itemsize - 1))
    # Little-endian files are read as such anywhere; views need the machine's own order.
    first, second = (
        np.ascontiguousarray(side, side.dtype.newbyteorder("=")).view(kind) for side in (r, c)
    )
    m_r, m_c = first & ~sign, second & ~sign
    apart = np.maximum(m_r, m_c) - np.minimum(m_r, m_c)
    # Magnitudes are below half the type's range: their sum fits.
    across = ((first ^ second) & sign).astype(bool)
    apart[across] = (m_r + m_c)[across]
    nan_r, nan_c = np.isnan(r), np.isnan(c)
    apart[nan_r | nan_c] = 0
    return apart, nan_r == nan_c


def octaves(distance: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """The class of each distance: its number of binary digits, 0 for 0."""
    if distance.dtype != np.uint64:
        return _digits(distance)
    # Conversion to float64 is exact up to 2⁵³ only, so the halves are taken on their own.
    high, low = distance >> np.uint64(32), distance & np.uint64(0xFFFFFFFF)
    return np.where(high > 0, _digits(high) + 32, _digits(low))


def _digits(numbers: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.int64]:
    """Binary digits of numbers below 2⁵³, read from the exponent that float64 gives them."""
    exponents = (numbers.astype(np.float64).view(np.int64) >> 52) - 1022
    return np.maximum(exponents, 0)


@dataclass
class UlpCounts:
    """How many elements lie how far apart, gathered part by part.

    ``counts[k]`` is of class k (see ``OCTAVES``); ``not_finite`` counts elements that are NaN or
    infinite on one side alone, or infinities of opposite sign, which are in no class;
    ``comparable`` turns false where a part's sides are of two types.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(OCTAVES, np.int64))
    not_finite: int = 0
    comparable: bool = True

    def add(self, r: NDArray[Any], c: NDArray[Any]) -> None:
        """Take in a part of both sides, of one shape."""
        if r.dtype != c.dtype or r.dtype.name not in _UNSIGNED:
            self.comparable = False
            return
        distance, _ = ulp_distance(r, c)
        finite = np.isfinite(r) & np.isfinite(c)
        if not finite.all():
            # Equal infinities are at one place, and two NaN count as equal.
            alike = finite | (r == c) | (np.isnan(r) & np.isnan(c))
            self.not_finite += int((~alike).sum())
            distance = distance[alike]
        self.counts += np.bincount(octaves(distance.ravel()), minlength=OCTAVES)

    def to_json(self) -> dict[str, Any] | None:
        """Counts up to the last that is not 0; None where the sides are of two types."""
        if not self.comparable:
            return None
        used = np.flatnonzero(self.counts)
        return {
            "counts": self.counts[: used[-1] + 1].tolist() if used.size else [],
            "not_finite": self.not_finite,
        }


def octave_words(octave: int) -> str:
    """The distances in a class: "0", "1", "2 to 3", then powers of two."""
    if octave < 2:
        return str(octave)
    low = 1 << (octave - 1)
    return f"{low} to {2 * low - 1}" if octave < 8 else f"from 2^{octave - 1}"
