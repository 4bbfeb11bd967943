"""Pixel decisions: which cell a projection chose, where two sides differ, whether by a tie.

A vertex whose pixel coordinate lies within rounding of a cell's border may fall on either side of
it in two correct float32 implementations. Such a flip changes a whole row of features; it is a
decision, not an error. Whether it was a tie is computed here: the coordinate again in float64 from
each side's own recorded vertex, and a running bound on the error that the run's precision can make.
Which rows of which taps a flip may change follows from the table of taps.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from network.taps import TAPS, TapRow
from parity.oracle.pixels import bounded_pixels
from parity.traces.trace import TraceReader
from parity.verdict.result import Flip
from weight_conversion.errors import InputError

LAST_PIXEL = 223
"""Pixel coordinates are clamped to [0, 223]."""
COARSE_CELL = 4
"""Pixels a side of the finest cell that the coarse stage tells apart."""
VIEWS = 3
MOST_FLIPS = 1000
"""Flips of a projection described one by one; a wrong camera flips nearly every row."""
PROJECTIONS = {
    "coarse": ("graph_proj_1_layer_0", "graph_proj_2_layer_15", "graph_proj_3_layer_31"),
    "refine": ("graph_localproj_1_layer_1", "graph_localproj_2_layer_4"),
}
"""The taps that take pixel decisions; their first three columns are the points they project."""
VERTICES = TAPS["refine"][-1].shape[0]
"""Of the refine stage's mesh; each has as many rows of hypotheses."""
EVERYTHING = np.ones(1, dtype=bool)
"""A mask of one row that stands for all."""


@dataclass(frozen=True)
class Flips:
    """The pixel decisions that two traces took differently.

    ``listed`` are at most a thousand a projection of the ``count`` in all. ``touched`` says, by
    tap, what they may have changed: a mask (n,), bool, of the tap's rows in n groups of equal size.
    A tap without an entry is as it would be without them.
    """

    listed: tuple[Flip, ...]
    count: int
    touched: Mapping[str, np.ndarray]

    @property
    def explained(self) -> bool:
        """Whether every one is known to be a tie."""
        return self.count == len(self.listed) and all(flip.tie for flip in self.listed)


def find_flips(
    reference: TraceReader, candidate: TraceReader, pinned: TraceReader | None = None
) -> Flips:
    """Where two traces of one stage and the same inputs decided differently.

    A vertex that a flip has moved takes other decisions ever after. The pinned run, where there is
    one, records what the candidate would have decided there without that.

    Raises:
        InputError: decisions of another shape or type than the stage has, or none that match.
    """
    listed: list[Flip] = []
    count = 0
    touched: dict[str, np.ndarray] = {}
    for row in TAPS[reference.header.stage]:
        followed = _inherited(row, touched)
        if followed is not None:
            touched[row.name] = followed
        if not (reference.has("decisions", row.name) and candidate.has("decisions", row.name)):
            continue
        places = _differing(reference, candidate, row)
        if len(places):
            touched[row.name] = _touched(row, places, followed)
        for decider, found in _deciders(reference, candidate, pinned, row, places, followed):
            listed += _described(reference, decider, row, found)
            count += len(found)
    return Flips(tuple(listed), count, touched)


def _inherited(row: TapRow, touched: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """What flips before this tap may have changed in it."""
    masks = [touched[parent] for parent in row.parents if parent in touched]
    if not masks:
        return None
    if row.stage == "coarse":
        # Graph convolutions and unpooling mix the vertices.
        return EVERYTHING
    # The refine stage mixes nothing between vertices, and all its masks are by vertex.
    return np.asarray(np.logical_or.reduce(masks))


def _touched(row: TapRow, places: np.ndarray, followed: np.ndarray | None) -> np.ndarray:
    """``followed`` and the rows of ``places``."""
    if followed is EVERYTHING:
        return EVERYTHING
    # By vertex, which in the refine stage has several rows.
    groups = VERTICES if row.stage == "refine" else row.shape[0]
    mask = np.zeros(groups, dtype=bool) if followed is None else followed.copy()
    mask[places[:, 1] // (row.shape[0] // groups)] = True
    return mask


def _deciders(
    reference: TraceReader,
    candidate: TraceReader,
    pinned: TraceReader | None,
    row: TapRow,
    places: np.ndarray,
    followed: np.ndarray | None,
) -> Iterator[tuple[TraceReader, np.ndarray]]:
    """Which trace to ask, the pinned one where flips went before, and the places that differ."""
    if followed is None or pinned is None or not pinned.has("decisions", row.name):
        yield candidate, places
        return
    rows = np.repeat(followed, row.shape[0] // len(followed))
    yield candidate, places[~rows[places[:, 1]]]
    places = _differing(reference, pinned, row)
    yield pinned, places[rows[places[:, 1]]]


def _differing(reference: TraceReader, other: TraceReader, row: TapRow) -> np.ndarray:
    """(n, 3): view, row and axis (0 for h, 1 for w) of the decisions that differ."""
    differs = _decisions(reference, row) != _decisions(other, row)
    return np.argwhere(differs.any(axis=3))


def _decisions(trace: TraceReader, row: TapRow) -> np.ndarray:
    """(views, N, 2 = h, w, 1 or 2): the cell, or floor and ceil."""
    shape = (VIEWS, row.shape[0], 2) if row.stage == "coarse" else (VIEWS, row.shape[0], 2, 2)
    found = trace.array("decisions", row.name, shape)
    if found.dtype.kind not in "iu":
        raise InputError(trace.path, f"/decisions/{row.name} has dtype {found.dtype}", "integers")
    return found.reshape(*shape[:3], -1)


def _described(
    reference: TraceReader, other: TraceReader, row: TapRow, places: np.ndarray
) -> list[Flip]:
    """The first thousand of ``places``; none where the tap, and so the points, are not there."""
    traces = (reference, other)
    if not len(places) or not all(_has_points(trace, row) for trace in traces):
        return []
    places = places[:MOST_FLIPS]
    rows = np.unique(places[:, 1])
    first, second = (_decisions(trace, row) for trace in traces)
    near, far = (
        bounded_pixels(
            trace.read("taps", row.name, trace.dataset("taps", row.name), (rows, slice(0, 3))),
            trace.array("inputs", "cameras", (VIEWS, 5)),
            trace.header.dtype,
        )
        for trace in traces
    )
    found = []
    for view, index, axis in places:
        place = (view, np.searchsorted(rows, index), axis)
        pixel = float(near.value[place])
        choices = (first[view, index, axis], second[view, index, axis])
        found.append(
            Flip(
                tap=row.name,
                row=int(index),
                view=int(view),
                axis="hw"[axis],
                reference=_named(choices[0]),
                candidate=_named(choices[1]),
                pixel=pixel,
                margin=_margin(pixel, choices),
                rounding=float(near.error[place] + far.error[place])
                + abs(float(far.value[place]) - pixel),
            )
        )
    return found


def _has_points(trace: TraceReader, row: TapRow) -> bool:
    return trace.has("taps", row.name) and trace.dataset("taps", row.name).shape == row.shape


def _named(decision: np.ndarray) -> str:
    if len(decision) == 1:
        return f"cell {int(decision[0])}"
    floor, ceil = (int(part) for part in decision)
    return f"integer {floor}" if floor == ceil else f"{floor}..{ceil}"


def _region(decision: np.ndarray) -> tuple[float, float]:
    """The pixel coordinates that this decision is right for, from and to.

    NaN where it is right for none: outside the image, or floor and ceil of no number.
    """
    if len(decision) == 1:
        low, high = COARSE_CELL * int(decision[0]), COARSE_CELL * (int(decision[0]) + 1)
        right = 0 <= low <= LAST_PIXEL
    else:
        low, high = (int(part) for part in decision)
        right = 0 <= low <= high <= LAST_PIXEL and high - low <= 1
    return (float(low), float(high)) if right else (math.nan, math.nan)


def _margin(pixel: float, choices: tuple[np.ndarray, np.ndarray]) -> float:
    """How far ``pixel``, not clamped, is from being right for both choices; NaN if it cannot be.

    Clamping sends all that lies beyond the image to its border, but what is beyond it is farther
    from the other choice than from the border's own, so the regions need no widening for that.
    """
    distances = []
    for low, high in map(_region, choices):
        inside = low <= pixel <= high
        distances.append(0.0 if inside else min(abs(pixel - low), abs(pixel - high)))
    return math.nan if any(map(math.isnan, distances)) else max(distances)
