"""The two projections: coordinates, then statistics over the views of what lies under a point.

A pixel coordinate within rounding of a cell's border may fall on either side, and the features then
differ grossly. Such a row has several right values. All are computed, and the one nearest to what
was observed counts: a row that is near none of them is wrong whatever was decided.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.layers.readers import READERS, Choice, Reader
from parity.oracle.layers.rounding import UNIT_ROUNDOFF, Evaluated
from parity.oracle.pixels import bounded_pixels
from parity.oracle.rounding import Bounded

ROWS = 4096
"""Rows whose statistics are computed together: 3 views of 112 channels, 11 MB in float64."""
MOST_ALTERNATIVES = 729
"""Values tried for one row: three choices for each of six coordinates."""
_BORDER = ((0, 0), (0, 1), (0, 1), (0, 0))


@dataclass(frozen=True)
class Decided:
    """A row whose nominal decision is not the one that the run took.

    ``row``: of the tap; ``choices``: (view, axis 0 for h or 1 for w, the choice taken).
    """

    row: int
    choices: tuple[tuple[int, int, Choice], ...]


@dataclass(frozen=True)
class Read(Evaluated):
    """A projection's output, with the rows that were decided otherwise than nominally.

    ``open_rows``: how many rows have no bounded decision, because a point lies in a camera's plane;
    nothing is claimed about them unless both are NaN.
    """

    decided: tuple[Decided, ...] = ()
    open_rows: int = 0
    settled: np.ndarray | None = None
    """``fixed`` as it would be with all decisions nominal, where some were left open because no
    output was given."""


def projection(
    row: TapRow,
    parents: list[np.ndarray],
    context: Context,
    observed: np.ndarray | None,
    dtype: str,
    *,
    reader: Reader | None = None,
    at: Bounded | None = None,
    bordered: bool = False,
    errors: Sequence[np.ndarray | None] = (),
) -> Read:
    """A projection of either stage, as far as ``observed``, a run's output, leaves it open.

    ``reader`` and ``at``, pixels (views, N, 2) before they are clamped, are the official ones by
    default. ``bordered`` says that the refine stage's maps have their row and column of zeros.
    ``errors`` bound, element by element, how far the run's own ``parents`` may be from those given;
    none by default. Where the run's output is not known either, the bound of a row near a border
    takes in all that is admissible there.
    """
    points, maps = parents[0].reshape(-1, 3), parents[1:]
    reader = READERS[row.stage] if reader is None else reader
    loose: list[np.ndarray | None] = [*errors] or [None] * len(parents)
    shift = np.zeros_like(points) if loose[0] is None else loose[0].reshape(-1, 3)
    blurred = _maps_of_errors(maps, loose[1:])
    if row.stage == "refine" and not bordered:
        # A row and a column of zeros stand for all beyond the border.
        maps, blurred = ([np.pad(each, _BORDER) for each in some] for some in (maps, blurred))
    at = bounded_pixels(points, context.cameras, dtype, shift) if at is None else at
    u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
    inside = np.clip(at.value, *reader.clamp)
    # A coordinate that is beyond the image for certain is clamped to its border, exactly.
    certain = (at.value - at.error >= reader.clamp[1]) | (at.value + at.error <= reader.clamp[0])
    error = np.where(certain, 0.0, at.error)
    nominal = reader.nominal(inside)
    value = np.empty((len(points), row.shape[-1]))
    fixed = np.empty_like(value)
    value[:, :3], fixed[:, :3] = points, shift / u
    for start in range(0, len(points), ROWS):
        part = slice(start, start + ROWS)
        bounded = reader.statistics(
            _features(reader, maps, blurred, inside[:, part], error[:, part], nominal[:, part], u)
        )
        value[part, 3:], fixed[part, 3:] = bounded.value, bounded.error / u
    ambiguous, open_rows = _ambiguous(reader, at, inside, certain)
    decided = []
    settled = None
    if observed is None:
        settled = fixed.copy() if len(ambiguous) else None
        for index in ambiguous:
            near = _near(reader, maps, blurred, inside[:, index], error[:, index], at, index, u)
            away = np.abs(near[1].value - value[index, 3:]) + near[1].error
            fixed[index, 3:] = np.maximum(fixed[index, 3:], away.max(axis=0) / u)
    else:
        observed = observed.reshape(value.shape)
        with np.errstate(invalid="ignore"):
            fits = (np.abs(observed - value) <= fixed * u) | (np.isnan(observed) & np.isnan(value))
        for index in ambiguous[~fits[ambiguous].all(axis=1)]:
            near = _near(reader, maps, blurred, inside[:, index], error[:, index], at, index, u)
            best, worst, choices = _best(observed[index, 3:], *near)
            if worst < _excess(observed[index, 3:], value[index, 3:], fixed[index, 3:] * u):
                value[index, 3:], fixed[index, 3:] = best.value, best.error / u
                decided.append(Decided(int(index), choices))
    fixed[open_rows] = np.inf
    unit = np.zeros(value.shape, np.float32)
    shape = row.shape[1:] if row.stage == "coarse" else (row.shape[-1],)
    return Read(
        value.reshape(-1, *shape), unit, fixed, tuple(decided), int(np.count_nonzero(open_rows)),
        settled,
    )  # fmt: skip


def _ambiguous(
    reader: Reader, at: Bounded, inside: np.ndarray, certain: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a coordinate near a border, and a mask of those without a bound at all."""
    with np.errstate(invalid="ignore"):
        low, high = (np.clip(at.value + way * at.error, *reader.clamp) for way in (-1.0, 1.0))
        cell = reader.cell
        # An integer (a cell's border) lies between the two; both at the same place is certain.
        near = (np.floor(high / cell) > np.floor(low / cell)) | (
            (np.floor(low / cell) * cell == low) & (high > low)
        )
        wide = ~(at.error < 0.5) & ~certain & ~np.isnan(at.value)
    unbounded = wide.any(axis=(0, 2)) & ~np.isnan(at.value).any(axis=(0, 2))
    near &= ~np.isnan(inside)
    return np.flatnonzero(near.any(axis=(0, 2)) & ~unbounded), unbounded


def _maps_of_errors(
    maps: list[np.ndarray], errors: Sequence[np.ndarray | None]
) -> list[np.ndarray]:
    """Maps of how far each map may be off; no maps at all where all are exact."""
    if all(each is None for each in errors):
        return []
    return [
        np.zeros_like(one) if off is None else off for one, off in zip(maps, errors, strict=True)
    ]


def _features(
    reader: Reader,
    maps: list[np.ndarray],
    blurred: list[np.ndarray],
    inside: np.ndarray,
    error: np.ndarray,
    decisions: np.ndarray,
    u: float,
) -> Bounded:
    """Features (views, N, C) whose maps may be off by ``blurred``.

    Reading is linear in the maps with weights that are not negative, so what the maps' errors come
    to is read from these likewise.
    """
    found = reader.read(maps, inside, error, decisions, u)
    if not blurred:
        return found
    off = reader.read(blurred, inside, error, decisions, u)
    return Bounded(found.value, found.error + np.abs(off.value) + off.error, u)


Alternatives = list[tuple[tuple[int, int, Choice], ...]]


def _near(
    reader: Reader,
    maps: list[np.ndarray],
    blurred: list[np.ndarray],
    inside: np.ndarray,
    error: np.ndarray,
    at: Bounded,
    index: int,
    u: float,
) -> tuple[Alternatives, Bounded]:
    """The decisions that a row leaves open, and its values under each: (alternatives, C)."""
    options: list[list[tuple[int, int, Choice]]] = []
    for view, axis in product(range(inside.shape[0]), range(2)):
        value, radius = float(at.value[view, index, axis]), float(at.error[view, index, axis])
        low, high = (
            float(np.clip(edge, *reader.clamp)) for edge in (value - radius, value + radius)
        )
        found = reader.choices(low, high, reader.clamp) if np.isfinite(value) else ()
        if len(found) > 1:
            options.append([(view, axis, choice) for choice in found])
    alternatives = list(_limited(product(*options)))
    count = len(alternatives)
    pixels = np.repeat(inside[:, None], count, axis=1)
    nominal = np.repeat(reader.nominal(inside[:, None]), count, axis=1)
    for number, alternative in enumerate(alternatives):
        for view, axis, choice in alternative:
            nominal[view, number, axis] = choice
            pixels[view, number, axis] = np.clip(inside[view, axis], choice[0], choice[1])
    radii = np.repeat(error[:, None], count, axis=1)
    if reader.cell > 1:
        pixels = np.repeat(inside[:, None], count, axis=1)
    read = _features(reader, maps, blurred, pixels, radii, nominal, u)
    return alternatives, reader.statistics(read)


def _best(
    observed: np.ndarray, alternatives: Alternatives, bounded: Bounded
) -> tuple[Bounded, float, tuple[tuple[int, int, Choice], ...]]:
    """The value of a row under the decisions that fit what was observed best."""
    excess = [
        _excess(observed, value, error)
        for value, error in zip(bounded.value, bounded.error, strict=True)
    ]
    best = int(np.argmin(excess))
    chosen = Bounded(bounded.value[best], bounded.error[best], bounded.u)
    return chosen, excess[best], alternatives[best]


def _limited(
    found: Iterator[tuple[tuple[int, int, Choice], ...]],
) -> Iterator[tuple[tuple[int, int, Choice], ...]]:
    for number, each in enumerate(found):
        if number == MOST_ALTERNATIVES:
            return
        yield each


def _excess(observed: np.ndarray, value: np.ndarray, error: np.ndarray) -> float:
    """The greatest difference, in multiples of its bound."""
    away = np.abs(observed - value)
    alike = (observed == value) | (np.isnan(observed) & np.isnan(value))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(alike, 0.0, away / error)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max())
