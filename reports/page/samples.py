"""What the page shows of a tap beyond its numbers: pictures, worst elements, histogram.

Both traces are read slab by slab, each tap once from end to end, so that nothing that differs can
be missed by sampling; what is kept of it is a few kilobytes a tap.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import taps_of
from parity.traces.trace import TraceReader
from parity.verdict.result import TapResult, jsonable
from reports.page.encoding import magnitudes, packed, shades
from reports.tables.ulps import UlpCounts
from reports.text.patterns import Sums, describe

SLAB = 2**17
WORST = 10
"""Elements listed a tap."""
ACROSS = 56
"""A picture has at most so many cells a side; the finer ones share a cell."""
BANDS = 64
ROWS_SHOWN = 32
_SEEN = {"float32": 1e-5, "float64": 1e-11}
"""Of a tap's greatest magnitude: what counts as a difference where the verdict has no limit."""
_OCTAVES = 1100  # float64's exponents reach from -1073 to 1024

Float64 = NDArray[np.float64]


@dataclass
class _Rows:
    """The rows of greatest |Δ| met so far, greatest first, the earlier of equal ones first.

    ``places`` (n,) are their numbers, ``greatest`` (n,) their greatest |Δ|, ``values`` the
    reference's and the candidate's, (n, channels) each, in the traces' own types.
    """

    places: NDArray[np.intp]
    greatest: NDArray[Any]
    values: tuple[NDArray[Any], NDArray[Any]]

    @classmethod
    def none(cls, channels: int, dtypes: tuple[Any, Any]) -> "_Rows":
        empty = tuple(np.zeros((0, channels), dtype) for dtype in dtypes)
        return cls(np.zeros(0, np.intp), np.zeros(0), (empty[0], empty[1]))

    def add(self, start: int, greatest: NDArray[Any], sides: tuple[NDArray[Any], ...]) -> None:
        """Take what is greater of rows ``start`` and following."""
        if len(self.places) == ROWS_SHOWN and not greatest.max() > self.greatest[-1]:
            return
        new = np.argsort(-greatest, kind="stable")[:ROWS_SHOWN]
        places = np.concatenate([self.places, start + new])
        both = np.concatenate([self.greatest, greatest[new]])
        kept = np.argsort(-both, kind="stable")[:ROWS_SHOWN]
        r, c = (
            np.concatenate([old, side[new]])[kept]
            for old, side in zip(self.values, sides, strict=True)
        )
        self.places, self.greatest, self.values = places[kept], both[kept], (r, c)


@dataclass
class _Scan:
    """One pass over both sides of a tap, seen as (rows, channels).

    ``greatest`` is each row's greatest |Δ|, NaN where it was not recorded, ``overview`` that of a
    band of rows by channel, ``octaves`` how many |Δ| lie in [2^(k-1), 2^k) for k = index −
    ``_OCTAVES``. Infinite stands for what is finite on one side only.
    """

    greatest: NDArray[Any]
    overview: NDArray[Any]
    octaves: NDArray[np.int64]
    identical: int
    alien: int
    band: int
    sums: Sums
    worst: _Rows
    ulps: UlpCounts = field(default_factory=UlpCounts)


def tap_sample(
    reference: TraceReader, candidate: TraceReader, entry: TapResult, vertices: int = 0
) -> dict[str, Any] | None:
    """What to show of one tap, in JSON's types; None where the sides cannot be laid side by side.

    ``vertices`` is how many the output mesh has, 0 where that is not known.

    Raises:
        InputError: a value cannot be read.
    """
    name = entry.tap
    if not (reference.has("taps", name) and candidate.has("taps", name)):
        return None
    shape = reference.dataset("taps", name).shape
    channels = shape[-1] if shape else 1
    if candidate.dataset("taps", name).shape != shape or not 0 < channels <= SLAB:
        return None
    if not math.prod(shape):
        return None
    scan = _scan(reference, candidate, name, math.prod(shape) // channels, channels)
    scale = entry.scale or 0.0
    limit = _SEEN[reference.header.dtype] if entry.limit is None else entry.limit
    row = next((row for row in taps_of(reference.header.stage) if row.name == name), None)
    sample = {
        "patterns": describe(scan.sums, scan.greatest, scan.overview, shape, limit * scale, scale),
        "worst": [
            {**found, "what": row.meaning(found["at"][-1]) if shape and row is not None else ""}
            for found in _worst(scan.worst, shape)
        ],
        "histogram": _histogram(scan, entry.scale),
        "ulps": scan.ulps.to_json(),
        "overview": _overview(scan, shape),
        "slices": _slices(reference, candidate, name, shape, scan.worst),
    }
    value: dict[str, Any] = jsonable(sample)
    value["greatest"] = _by_vertex(scan.greatest, shape, vertices)
    return value


def _by_vertex(greatest: NDArray[Any], shape: tuple[int, ...], vertices: int) -> str | None:
    """Each vertex's greatest |Δ| as packed float32 (V,); None where rows are no vertices."""
    count = shape[0] if shape else 0
    if len(shape) not in (2, 3) or not vertices or (count > vertices and count % vertices):
        return None
    rows = greatest.reshape(min(count, vertices), -1).max(axis=1)
    return packed(np.where(np.isfinite(rows), rows, np.nan), "<f4")


def _scan(
    reference: TraceReader, candidate: TraceReader, name: str, rows: int, channels: int
) -> _Scan:
    band = math.ceil(rows / BANDS)
    found = _Scan(
        # What was not recorded is not known to be alike.
        greatest=np.full(rows, np.nan),
        overview=np.zeros((math.ceil(rows / band), channels)),
        octaves=np.zeros(2 * _OCTAVES + 1, np.int64),
        identical=0,
        alien=0,
        band=band,
        sums=Sums(np.zeros(rows), np.zeros(channels)),
        worst=_Rows.none(
            channels, tuple(trace.dataset("taps", name).dtype for trace in (reference, candidate))
        ),
    )
    for start, sides in _sides(reference, candidate, name, channels):
        found.ulps.add(*sides)
        r, c = (_wide(side) for side in sides)
        found.sums.add(start, r, c)
        delta = _distance(r, c)
        stop = start + len(delta)
        found.greatest[start:stop] = delta.max(axis=1)
        found.worst.add(start, found.greatest[start:stop], sides)
        bands = np.arange(start, stop) // band
        first = np.flatnonzero(np.diff(bands, prepend=-1))
        part = found.overview[bands[first]]
        found.overview[bands[first]] = np.maximum(part, np.maximum.reduceat(delta, first, axis=0))
        _count(found, delta)
    return found


def _count(found: _Scan, delta: NDArray[Any]) -> None:
    flat = delta.ravel()
    alien = 0
    if not math.isfinite(flat.max()):
        finite = np.isfinite(flat)
        alien = flat.size - int(finite.sum())
        flat = flat[finite]
    identical = flat.size - int(np.count_nonzero(flat))
    exponents = np.frexp(flat)[1].astype(np.int64)
    counts = np.bincount(exponents + _OCTAVES, minlength=len(found.octaves))
    counts[_OCTAVES] -= identical  # frexp(0) has exponent 0
    found.octaves += counts
    found.identical += identical
    found.alien += alien


def _sides(
    reference: TraceReader, candidate: TraceReader, name: str, channels: int
) -> Iterator[tuple[int, tuple[NDArray[Any], NDArray[Any]]]]:
    """The first row and both sides as (rows, channels), a slab at a time, in their own types."""
    most = SLAB - SLAB % channels
    for place, (first, second) in reference.slabs("taps", name, most, candidate):
        sides = first.reshape(-1, channels), second.reshape(-1, channels)
        yield place // channels, sides


def _wide(values: NDArray[Any]) -> NDArray[Any]:
    """In float64, but float32 as it is: for pictures its difference is exact enough."""
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _read(trace: TraceReader, name: str, selection: Any) -> Float64:
    return trace.read("taps", name, trace.dataset("taps", name), selection).astype(np.float64)


def _pair(
    reference: TraceReader, candidate: TraceReader, name: str, selection: Any
) -> tuple[Float64, Float64]:
    return _read(reference, name, selection), _read(candidate, name, selection)


def _distance(r: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    """|c − r|; infinite where one side alone is finite or a number, 0 where neither is and both
    are the same.
    """  # noqa: D205 - one sentence
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.abs(c - r)
    if not math.isfinite(delta.max(initial=0.0)):
        delta[(r == c) | (np.isnan(r) & np.isnan(c))] = 0
        delta[~np.isfinite(delta)] = math.inf
    return np.asarray(delta)


def _row(shape: tuple[int, ...], row: int) -> tuple[int, ...]:
    """The index of a row of channels."""
    return tuple(int(part) for part in np.unravel_index(row, shape[:-1])) if shape[:-1] else ()


def _worst(rows: _Rows, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """The elements of greatest |Δ|, greatest first. They all lie in the worst ``WORST`` rows."""
    found = []
    for row, *sides in list(zip(rows.places.tolist(), *rows.values, strict=True))[:WORST]:
        r, c = (side.astype(np.float64) for side in sides)
        delta = _distance(r, c)
        for channel in map(int, np.argsort(-delta, kind="stable")[:WORST]):
            at = (*_row(shape, row), channel) if shape else ()
            found.append((-delta[channel], row, at, r[channel], c[channel]))
    found.sort(key=lambda element: element[:2])
    return [
        {"at": at, "difference": -delta, "reference": r, "candidate": c}
        for delta, _, at, r, c in found[:WORST]
        if delta < 0
    ]


def _histogram(scan: _Scan, scale: float | None) -> dict[str, Any]:
    """How many |Δ| lie in each octave below the tap's greatest magnitude.

    ``first`` is the octave of the first count: [2^(first−1), 2^first) of ``unit``, a power of two.
    """
    used = np.flatnonzero(scan.octaves)
    exponent = math.frexp(scale)[1] if scale and math.isfinite(scale) else 0
    return {
        "identical": scan.identical,
        "not_finite": scan.alien,
        "unit_exponent": exponent,
        "first": int(used[0]) - _OCTAVES - exponent if used.size else 0,
        "counts": scan.octaves[used[0] : used[-1] + 1].tolist() if used.size else [],
    }


def _overview(scan: _Scan, shape: tuple[int, ...]) -> dict[str, Any]:
    """The whole tap in one picture: the greatest |Δ| by band of rows and group of channels."""
    group = math.ceil(scan.overview.shape[1] / BANDS)
    starts = np.arange(0, scan.overview.shape[1], group)
    cells = np.maximum.reduceat(scan.overview, starts, axis=1)
    return {
        "shape": cells.shape,
        "rows": scan.band,
        "channels": group,
        "axes": [_row_axis(shape), "channel"],
        **magnitudes(cells),
    }


def _row_axis(shape: tuple[int, ...]) -> str:
    return {4: "view, row and column", 3: "vertex and hypothesis"}.get(len(shape), "row")


def _slices(
    reference: TraceReader,
    candidate: TraceReader,
    name: str,
    shape: tuple[int, ...],
    worst: _Rows,
) -> list[dict[str, Any]]:
    """Slices through the element of greatest difference."""
    row = _row(shape, int(worst.places[0]))
    if len(shape) == 4:
        r, c = _pair(reference, candidate, name, row)
        channel = int(_distance(r, c).argmax())
        return [
            _slice(
                *_pair(reference, candidate, name, (view, slice(None), slice(None), channel)),
                f"view {view}, channel {channel}",
                ("row", "column"),
            )
            for view in range(min(shape[0], 3))
        ]
    if len(shape) == 3:
        both = _pair(reference, candidate, name, row[0])
        return [_slice(*both, f"vertex {row[0]}", ("hypothesis", "channel"))]
    if len(shape) == 2:
        order = np.argsort(worst.places)
        rows = worst.places[order]
        r, c = (side[order].astype(np.float64) for side in worst.values)
        title = f"the {len(rows)} rows that differ most" if len(rows) < shape[0] else "all rows"
        return [_slice(r, c, title, ("row", "channel"), rows.tolist())]
    return []


def _slice(
    r: Float64, c: Float64, title: str, axes: tuple[str, str], rows: list[int] | None = None
) -> dict[str, Any]:
    """Reference, candidate and difference of a slice (h, w), each as a picture.

    Where several elements share a cell, it shows the one of the greatest difference on all three.
    """
    tall, wide = (math.ceil(size / ACROSS) for size in r.shape)
    if rows is not None:
        tall = 1
    delta = _distance(r, c)
    pick = _picked(delta, tall, wide)
    r, c = r.ravel()[pick], c.ravel()[pick]
    with np.errstate(invalid="ignore"):
        signed = np.where(np.isinf(delta.ravel()[pick]), np.nan, c - r)
    signed[(r == c) | (np.isnan(r) & np.isnan(c))] = 0.0
    finite = np.concatenate([side[np.isfinite(side)] for side in (r, c)])
    low, high = float(finite.min(initial=math.inf)), float(finite.max(initial=-math.inf))
    if not finite.size:
        low = high = 0.0
    most = float(np.abs(signed[np.isfinite(signed)]).max(initial=0.0))
    return {
        "title": title,
        "axes": axes,
        "shape": pick.shape,
        "cell": [tall, wide],
        "rows": rows,
        "reference": shades(r, low, high),
        "candidate": shades(c, low, high),
        "difference": shades(signed, -most, most),
    }


def _picked(delta: Float64, tall: int, wide: int) -> NDArray[np.intp]:
    """For each cell of ``tall`` by ``wide`` elements the flat index of its greatest ``delta``."""
    height, width = delta.shape
    down, across = math.ceil(height / tall), math.ceil(width / wide)
    padded = np.full((down * tall, across * wide), -1.0)
    padded[:height, :width] = delta
    cells = padded.reshape(down, tall, across, wide).transpose(0, 2, 1, 3)
    inner = cells.reshape(down, across, tall * wide).argmax(axis=2)
    y = np.arange(down)[:, None] * tall + inner // wide
    x = np.arange(across)[None, :] * wide + inner % wide
    return y * width + x
