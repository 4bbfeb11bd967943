"""The difference of two recorded arrays, slab by slab, in float64."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parity.trace import TraceReader

SLAB = 2**21
"""Elements read at a time: 16 MB a side in float64."""


@dataclass(frozen=True)
class Difference:
    """How two arrays of one shape differ.

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


def difference(reference: TraceReader, candidate: TraceReader, group: str, name: str) -> Difference:
    """Measure one dataset that has the same shape in both traces."""
    shape = reference.dataset(group, name).shape
    worst = -1.0
    at, values = 0, (0.0, 0.0)
    scale = squares_difference = squares_reference = 0.0
    unmatched = first_unmatched = not_a_number = 0
    unmatched_values = (0.0, 0.0)
    for offset, r, c in slabs(reference, candidate, group, name):
        delta, alien = _delta(r, c)
        finite = np.isfinite(r) & np.isfinite(c)
        index = int(np.argmax(delta))
        if delta[index] > worst:
            worst, at, values = float(delta[index]), offset + index, (r[index], c[index])
        if alien.any():
            if not unmatched:
                index = int(np.argmax(alien))
                first_unmatched, unmatched_values = offset + index, (r[index], c[index])
            unmatched += int(alien.sum())
        not_a_number += int((np.isnan(r) & np.isnan(c)).sum())
        magnitudes = np.abs(r[finite])
        scale = max(scale, float(magnitudes.max(initial=0.0)))
        squares_difference += float(np.square(delta[finite]).sum())
        squares_reference += float(np.square(magnitudes).sum())
    if unmatched:
        worst, at, values = math.nan, first_unmatched, unmatched_values
    return Difference(
        size=math.prod(shape),
        max_abs=max(worst, 0.0) if not unmatched else worst,
        at=tuple(int(i) for i in np.unravel_index(at, shape)) if shape and 0 not in shape else (),
        reference=float(values[0]),
        candidate=float(values[1]),
        scale=scale,
        rms_rel=_ratio(math.sqrt(squares_difference), math.sqrt(squares_reference)),
        unmatched=unmatched,
        not_a_number=not_a_number,
    )


def count_beyond(
    reference: TraceReader, candidate: TraceReader, group: str, name: str, tolerance: float
) -> int:
    """Elements whose difference is not within ``tolerance``."""
    beyond = 0
    for _, r, c in slabs(reference, candidate, group, name):
        delta, alien = _delta(r, c)
        beyond += int((~(delta <= tolerance) | alien).sum())
    return beyond


def relative(max_abs: float, scale: float) -> float:
    """``max_abs`` over ``scale``, 0 where both are 0."""
    return _ratio(max_abs, scale)


def slabs(
    reference: TraceReader, candidate: TraceReader, group: str, name: str
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Both sides' values in step, flat, in float64: (offset, reference, candidate)."""
    shape = reference.dataset(group, name).shape
    row = math.prod(shape[1:])
    rows = max(1, SLAB // max(1, row))
    pairs = zip(reference.slabs(group, name, rows), candidate.slabs(group, name, rows), strict=True)
    offset = 0
    for first, second in pairs:
        r = np.asarray(first, dtype=np.float64).ravel()
        if r.size == 0:
            continue
        yield offset, r, np.asarray(second, dtype=np.float64).ravel()
        offset += r.size


def _delta(r: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|c - r| with 0 where both are the same infinity or NaN, and where only one side is such."""
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.abs(c - r)
    special = ~(np.isfinite(r) & np.isfinite(c))
    alike = (r == c) | (np.isnan(r) & np.isnan(c))
    delta[special] = 0.0
    return delta, special & ~alike


def _ratio(numerator: float, denominator: float) -> float:
    if denominator:
        return numerator / denominator
    return 0.0 if numerator == 0 else math.inf if numerator > 0 else math.nan
