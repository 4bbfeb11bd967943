"""The difference of two recorded arrays, slab by slab, in float64."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.traces.trace import TraceReader
from weight_conversion.errors import InputError

SLAB = 2**17
"""Elements compared at a time: 1 MB a side in float64, which a core's cache holds."""

FEW = 2**10
"""Elements that mostly tell of all: how many bits of significand they need, whether they differ."""
SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Difference:
    """How two arrays of one shape differ, at the ``size`` elements that were recorded of them.

    ``max_abs`` is the greatest |candidate - reference|, NaN where a NaN or an infinity stands on
    one side only; equal infinities and NaN at the same place differ by 0. ``scale`` is the
    reference's greatest finite magnitude and ``rms_rel`` the RMS of the difference over the RMS of
    the reference, both over the elements that are finite on both sides. ``unmatched`` counts
    elements that are NaN or infinite on one side, or infinite with the other sign.
    """

    size: int
    max_abs: float
    at: tuple[int, ...]
    reference: float
    candidate: float
    scale: float
    rms_rel: float
    unmatched: int
    not_a_number: int

    def numbers(self) -> dict[str, Any]:
        """By the names that ``parity.verdict.result.TapResult`` has for them."""
        return {
            "size": self.size,
            "max_abs": self.max_abs,
            "at": self.at,
            "reference": self.reference,
            "candidate": self.candidate,
            "scale": self.scale,
            "max_rel": relative(self.max_abs, self.scale),
            "rms_rel": self.rms_rel,
        }


class Measured:
    """The difference of two arrays, added up from their parts in order."""

    def __init__(self) -> None:
        self._greatest, self._at, self._values = -1.0, 0, (0.0, 0.0)
        self._alien_at: int | None = None
        self._unmatched = self._not_a_number = 0
        self._scale, self._size = 0.0, 0
        self._delta, self._reference = _Norm(), _Norm()

    def add(self, offset: int, r: np.ndarray, c: np.ndarray) -> None:
        """Add some elements: the flat index of the first, the reference's and the candidate's.

        Both are flat, float64, and not empty.
        """
        self._size += r.size
        delta, finite_r = _delta(r, c), r
        top = int(delta.argmax())
        # NaN counts as the greatest, so that a finite maximum proves every element finite.
        if not math.isfinite(delta[top]):
            special, alien = _special(r, c)
            if alien.any() and self._alien_at is None:
                first = int(alien.argmax())
                self._alien_at, self._values = offset + first, (r[first], c[first])
            self._unmatched += int(alien.sum())
            self._not_a_number += int((np.isnan(r) & np.isnan(c)).sum())
            delta[special], finite_r = 0.0, np.where(special, 0.0, r)
            top = int(delta.argmax())
        if self._alien_at is None and delta[top] > self._greatest:
            self._greatest, self._at = float(delta[top]), offset + top
            self._values = r[top], c[top]
        magnitude = float(max(finite_r.max(), -finite_r.min()))
        self._scale = max(self._scale, magnitude)
        self._delta.add(delta, float(delta[top]))
        self._reference.add(finite_r, magnitude)

    def join(self, later: "Measured") -> None:
        """Add what was found of elements that come after these."""
        if self._alien_at is None:
            if later._alien_at is not None:
                self._alien_at, self._values = later._alien_at, later._values
            elif later._greatest > self._greatest:
                self._greatest, self._at, self._values = later._greatest, later._at, later._values
        self._size += later._size
        self._unmatched += later._unmatched
        self._not_a_number += later._not_a_number
        self._scale = max(self._scale, later._scale)
        self._delta.join(later._delta)
        self._reference.join(later._reference)

    def difference(self, shape: tuple[int, ...]) -> Difference:
        """What all parts of arrays of this shape show."""
        size, alien = self._size, self._alien_at is not None
        at = self._alien_at if self._alien_at is not None else self._at
        return Difference(
            size=size,
            max_abs=math.nan if alien else max(self._greatest, 0.0),
            at=tuple(int(i) for i in np.unravel_index(at, shape)) if size else (),
            reference=float(self._values[0]),
            candidate=float(self._values[1]),
            scale=self._scale,
            rms_rel=self._delta.over(self._reference),
            unmatched=self._unmatched,
            not_a_number=self._not_a_number,
        )


def difference(
    reference: TraceReader,
    candidate: TraceReader,
    group: str,
    name: str,
    without: np.ndarray | None = None,
) -> Difference:
    """Measure one dataset that has the same shape in both traces.

    Args:
        reference: the trace taken as right.
        candidate: the trace held against it.
        group: ``taps``, ``losses`` or ``gradients``.
        name: the dataset in that group.
        without: (V,) bool, rows to leave out; V is the first axis or divides it, as the vertices
            divide the rows of the hypotheses.

    Raises:
        InputError: the shapes differ, or a value cannot be read.
    """
    shape = _common_shape(reference, candidate, group, name)
    found = Measured()
    for offset, r, c in slabs(reference, candidate, group, name, without):
        found.add(offset, r, c)
    return found.difference(shape)


def relative(max_abs: float, scale: float) -> float:
    """``max_abs`` over ``scale``, 0 where both are 0."""
    if scale:
        return max_abs / scale
    return 0.0 if max_abs == 0 else math.inf if max_abs > 0 else math.nan


def slabs(
    reference: TraceReader,
    candidate: TraceReader,
    group: str,
    name: str,
    without: np.ndarray | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Both sides' values in step, flat, in float64: (offset, reference, candidate).

    Values in rows ``without`` (see ``difference``) are 0 on both sides.
    """
    shape = _common_shape(reference, candidate, group, name)
    row = math.prod(shape) // len(without) if without is not None else 0
    for offset, (first, second) in reference.slabs(group, name, SLAB, candidate):
        r, c = first.astype(np.float64), second.astype(np.float64)
        if without is not None:
            left_out = without[(offset + np.arange(r.size)) // row]
            r[left_out] = c[left_out] = 0.0
        yield offset, r, c


def bits_of(values: np.ndarray, enough: int = 53) -> int:
    """Bits of significand that an array's finite values need; 0 if all are zero.

    What float32 holds below its smallest normal number counts as zero: TensorFlow makes it zero.
    Once ``enough`` are known to be needed no more values are looked at.
    """
    flat, found = np.asarray(values, dtype=np.float64).ravel(), 0
    for few in np.split(flat, [FEW]):
        if found < enough:
            found = max(found, _bits_of(few))
    return found


def _bits_of(values: np.ndarray) -> int:
    values = values[np.isfinite(values) & (np.abs(values) >= SMALLEST)]
    used = int(np.bitwise_or.reduce(values.view(np.uint64), initial=np.uint64(0)))
    # The leading 1 is not stored; the last 1 among the 52 that are is the last bit needed.
    fraction = used % 2**52 + 2**52
    trailing = (fraction & -fraction).bit_length() - 1
    return 53 - trailing if values.size else 0


class _Norm:
    """The square root of a sum of squares that neither overflows nor vanishes on the way."""

    def __init__(self) -> None:
        self._top = 0.0
        self._squares = 0.0

    def add(self, values: np.ndarray, top: float) -> None:
        """Add values of which ``top`` is the greatest magnitude."""
        self._raise_to(top)
        if self._top and math.isfinite(self._top):
            scaled = values / self._top
            # Not ``scaled @ scaled``: BLAS would start threads for a millisecond's work.
            self._squares += float(np.einsum("i,i->", scaled, scaled))

    def join(self, other: "_Norm") -> None:
        """Add what another one has added up."""
        self._raise_to(other._top)
        if other._top and math.isfinite(self._top):
            self._squares += other._squares * (other._top / self._top) ** 2

    def _raise_to(self, top: float) -> None:
        if top > self._top:
            self._squares *= (self._top / top) ** 2
            self._top = top

    def over(self, other: "_Norm") -> float:
        """This norm over the other's."""
        if not self._top or not other._top or not math.isfinite(self._top):
            return relative(self._top, other._top)
        return self._top / other._top * math.sqrt(self._squares / other._squares)


def _common_shape(
    reference: TraceReader, candidate: TraceReader, group: str, name: str
) -> tuple[int, ...]:
    first, second = reference.dataset(group, name), candidate.dataset(group, name)
    if first.shape != second.shape:
        # Anything else would be at the mercy of broadcasting.
        raise InputError(
            candidate.path, f"/{group}/{name} has shape {second.shape}", f"{first.shape}"
        )
    shape: tuple[int, ...] = first.shape
    return shape


def _delta(r: np.ndarray, c: np.ndarray) -> np.ndarray:
    """|c - r|; NaN or infinite where either is."""
    with np.errstate(invalid="ignore", over="ignore"):
        delta = c - r
        return np.abs(delta, out=delta)


def _special(r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements NaN or infinite on either side, and those of them that are not so on both alike."""
    special = ~(np.isfinite(r) & np.isfinite(c))
    alike = (r == c) | (np.isnan(r) & np.isnan(c))
    return special, special & ~alike
