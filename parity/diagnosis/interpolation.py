"""Other ways to read maps under pixels, and other statistics over the views."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from parity.oracle.layers.readers import (
    COARSE_CELL,
    INTERPOLATION,
    LAST,
    READERS,
    VARIANCE_FLOOR,
    Reader,
    view_statistics,
)
from parity.oracle.rounding import Bounded

UNCLAMPED = (-np.inf, np.inf)
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


@dataclass(frozen=True)
class Interpolation:
    """How a map is read at a coordinate, by default as the refine stage does it.

    Attributes:
        plus_one: the upper corner is floor + 1, also where the coordinate is an integer.
        border: what a corner outside is: "zero", or the nearest one "inside".
        clamped: the coordinate is clamped to the map's own last pixel after it is divided.
        half: coarser maps are read at (x + ½) / scale − ½, as with aligned pixel areas.
        resized: coordinates scaled by (size − 1) / 223 or, with grid_sample's areas, otherwise:
            "aligned", "areas".
        corners: which of the four count.
        swapped: row weights on columns and the other way round.
        nearest: the nearest pixel alone.
    """

    plus_one: bool = False
    border: str = "zero"
    clamped: bool = False
    half: bool = False
    resized: str = ""
    corners: tuple[int, ...] = (0, 1, 2, 3)
    swapped: bool = False
    nearest: bool = False

    def __call__(
        self,
        maps: list[np.ndarray],
        inside: np.ndarray,
        error: np.ndarray,
        _corners: np.ndarray,
        u: float,
    ) -> Bounded:
        """The form of ``Reader.read``; maps have a row and a column of zeros behind them."""
        values, errors = [], []
        for level, feature_map in enumerate(maps):
            size = feature_map.shape[1] - 1
            at, away = self._at(inside, error, size, 2**level, u)
            found = self._level(feature_map, at, away, size, u)
            values.append(found.value)
            errors.append(found.error)
        return Bounded(np.concatenate(values, axis=2), np.concatenate(errors, axis=2), u)

    def _at(
        self, inside: np.ndarray, error: np.ndarray, size: int, scale: int, u: float
    ) -> tuple[np.ndarray, np.ndarray]:
        at, away = inside / scale, error / scale
        if self.half:
            at = np.maximum((inside + 0.5) / scale - 0.5, 0.0)
            away = away + 4 * u * (np.abs(at) + 1.0)
        if self.resized:
            # Through [−1, 1] and back, as samplers want it: a few roundings of the map's size.
            at = inside * (size - 1) / LAST if self.resized == "aligned" else (
                (inside / LAST) * size - 0.5
            )  # fmt: skip
            away = away + 8 * u * size
        if self.clamped:
            at = np.clip(at, 0.0, size - 1.0)
        if self.plus_one:
            # Samplers take the coordinate through [−1, 1] and back.
            away = away + 4 * u * size
        return at, away

    def _level(
        self, feature_map: np.ndarray, at: np.ndarray, away: np.ndarray, size: int, u: float
    ) -> Bounded:
        views = np.arange(len(at))[:, None]
        known = ~np.isnan(at).any(axis=2)
        at = np.nan_to_num(at, nan=0.0, posinf=1e6, neginf=-1e6)
        floor = np.floor(at)
        ceil = floor + 1 if self.plus_one else np.ceil(at)
        below, above = at - floor, ceil - at
        if self.nearest:
            floor = ceil = np.round(at)

        def corner(which: tuple[int, int]) -> np.ndarray:
            h, w = (
                (ceil if up else floor)[..., axis].astype(np.int64) for axis, up in enumerate(which)
            )
            there = (h >= 0) & (h < size) & (w >= 0) & (w < size)
            h, w = np.clip(h, 0, size - 1), np.clip(w, 0, size - 1)
            read = feature_map[views, h, w]
            return read if self.border == "inside" else np.where(there[..., None], read, 0.0)

        if self.nearest:
            value = corner((0, 0))
            return Bounded(np.where(known[..., None], value, np.nan), np.zeros_like(value), u)
        rows, columns = (above[..., 0:1], below[..., 0:1]), (above[..., 1:2], below[..., 1:2])
        if self.swapped:
            rows, columns = columns, rows
        features = [corner(each) for each in CORNERS]
        terms = [rows[CORNERS[k][0]] * columns[CORNERS[k][1]] * features[k] for k in self.corners]
        value = sum(terms[1:], terms[0])
        used = [features[k] if k in self.corners else np.zeros_like(features[k]) for k in range(4)]
        # A weight that is off moves a corner's share by no more than the corner; differences of
        # corners, which would be closer, only hold where all four count.
        eh, ew = away[..., 0:1], away[..., 1:2]
        if self.corners == (0, 1, 2, 3):
            f00, f10, f01, f11 = used
            along_h = np.maximum(np.abs(f10 - f00), np.abs(f11 - f01))
            along_w = np.maximum(np.abs(f01 - f00), np.abs(f11 - f10))
        else:
            along_h = along_w = sum((np.abs(each) for each in used), np.zeros_like(value))
        if self.swapped:
            along_h, along_w = along_h + along_w, along_h + along_w
        bound = (
            along_h * eh
            + along_w * ew
            + INTERPOLATION * u * sum((np.abs(each) for each in terms), np.zeros_like(value))
        )
        return Bounded(np.where(known[..., None], value, np.nan), bound, u)


def refine_readers() -> Iterator[tuple[str, str, Reader]]:
    """Operand, change and reader of the refine stage, most usual first."""
    base = READERS["refine"]

    def reading(how: Interpolation, clamp: tuple[float, float] = (0.0, LAST)) -> Reader:
        return replace(base, read=how, clamp=clamp)

    yield ("integer pixels", "the upper corner at floor + 1, also at integers",
           reading(Interpolation(plus_one=True)))  # fmt: skip
    yield ("border pixels", "corners beyond the border moved onto it",
           reading(Interpolation(border="inside")))  # fmt: skip
    yield ("border pixels", "coordinates clamped at each map's last pixel after dividing",
           reading(Interpolation(clamped=True), UNCLAMPED))  # fmt: skip
    yield ("border pixels", "grid_sample with border padding, corners aligned",
           reading(Interpolation(plus_one=True, border="inside", clamped=True)))  # fmt: skip
    yield (
        "border pixels",
        "grid_sample with border padding, points beyond 223 not clamped",
        reading(Interpolation(plus_one=True, border="inside", clamped=True), UNCLAMPED),
    )
    yield (
        "border pixels",
        "grid_sample with zero padding, points beyond 223 not clamped",
        reading(Interpolation(plus_one=True), UNCLAMPED),
    )
    yield ("constant", "coarser maps read at (x + ½) / scale − ½",
           reading(Interpolation(half=True)))  # fmt: skip
    yield (
        "constant",
        "coordinates scaled by (size − 1) / 223",
        reading(Interpolation(resized="aligned", plus_one=True, border="inside")),
    )
    yield ("constant", "grid_sample without aligned corners",
           reading(Interpolation(resized="areas", plus_one=True)))  # fmt: skip
    yield ("constant", "grid_sample without aligned corners, border padding",
           reading(Interpolation(resized="areas", plus_one=True, clamped=True)))  # fmt: skip
    yield ("index order", "row weights on columns and column weights on rows",
           reading(Interpolation(swapped=True)))  # fmt: skip
    yield "interpolation", "the nearest pixel alone", reading(Interpolation(nearest=True))
    names = ("upper left", "lower left", "upper right", "lower right")
    for left, name in enumerate(names):
        kept = tuple(each for each in range(4) if each != left)
        yield ("interpolation", f"the {name} corner left out",
               reading(Interpolation(corners=kept)))  # fmt: skip
        yield ("interpolation", f"the {name} corner alone",
               reading(Interpolation(corners=(left,))))  # fmt: skip
    for last in (224.0, np.inf):
        limit = f"clamped at {last:g}" if np.isfinite(last) else "not clamped"
        yield (
            "constant",
            f"pixels {limit}",
            replace(base, clamp=(0.0 if last == 224 else -last, last)),
        )


def coarse_readers() -> Iterator[tuple[str, str, Reader]]:
    """Operand, change and reader of the coarse stage, most usual first."""
    base = READERS["coarse"]
    yield "view order", "every view read from its own maps", replace(base, read=_cells_of_views())
    for name, function in (("rounded", np.round), ("rounded up", np.ceil)):
        yield ("rounding", f"cells {name} instead of down",
               replace(base, read=_cells_of_views(first=True, cut=function)))  # fmt: skip
    yield ("rounding", "cells rounded on every level",
           replace(base, read=_cells_of_views(first=True, cut=np.round, each=True)))  # fmt: skip
    for last in (224.0, np.inf):
        limit = f"clamped at {last:g}" if np.isfinite(last) else "not clamped"
        yield (
            "constant",
            f"pixels {limit}",
            replace(base, clamp=(0.0 if last == 224 else -last, last)),
        )


def _cells_of_views(
    first: bool = False, cut: Callable[[np.ndarray], np.ndarray] | None = None, each: bool = False
) -> Callable[..., Bounded]:
    def read(
        maps: list[np.ndarray], inside: np.ndarray, _error: np.ndarray, cells: np.ndarray, u: float
    ) -> Bounded:
        found = []
        views = np.zeros(len(inside), np.int64) if first else np.arange(len(inside))
        for level, feature_map in enumerate(maps):
            size, scale = feature_map.shape[1], 2**level
            if cut is None:
                index = cells[..., 0].astype(np.int64) // scale
                right = ((index >= 0) & (index < size)).all(axis=2)
            else:
                at = np.nan_to_num(inside, nan=-1e6) / COARSE_CELL
                index = cut(at / scale) if each else np.minimum(cut(at), 55) // scale
                right = (index >= 0).all(axis=2)
                index = np.minimum(index, size - 1).astype(np.int64)
            index = np.where(right[..., None], index, 0)
            value = feature_map[views[:, None], index[..., 0], index[..., 1]]
            found.append(np.where(right[..., None], value, 0.0))
        value = np.concatenate(found, axis=2)
        return Bounded(value, np.zeros_like(value), u)

    return read


def statistics() -> Iterator[tuple[str, str, Callable[[Bounded], Bounded]]]:
    """Operand, change and statistics over views, most usual first."""
    yield "pooling statistic", "zeros for the deviation", instead(2, _zeros)
    yield "pooling statistic", "the variance for the deviation", instead(2, _variance)
    yield (
        "pooling statistic",
        "the variance with its floor for the deviation",
        instead(2, lambda x: _variance(x) + Bounded.exact(np.asarray(VARIANCE_FLOOR), x.u)),
    )
    yield ("pooling statistic", "the sample deviation, divided by n − 1, for the deviation",
           instead(2, lambda x: deviation(x, VARIANCE_FLOOR, 1)))  # fmt: skip
    yield "epsilon", "no variance floor", instead(2, lambda x: deviation(x, 0.0))
    yield "pooling statistic", "the minimum for the maximum", instead(0, _least)
    yield "pooling statistic", "the median for the mean", instead(1, _median)
    yield "pooling statistic", "the sum for the mean", instead(1, _sum)
    yield "pooling statistic", "the mean for the maximum", instead(0, _mean)
    yield "pooling statistic", "the first view for the maximum", instead(0, _first)
    yield "pooling statistic", "the minimum for the deviation", instead(2, _least)


def deviation(features: Bounded, floor: float, missing: int = 0) -> Bounded:
    """sqrt(variance + floor), the variance over n − missing."""
    total = _variance(features, missing) + Bounded.exact(np.asarray(floor), features.u)
    value = np.sqrt(total.value)
    # Near 0 a root's slope has no bound, but √(v + e) − √v ≤ √e has.
    error = np.minimum(
        np.divide(total.error, value, out=np.full(value.shape, np.inf), where=value > 0),
        np.sqrt(total.error),
    )
    return Bounded(value, error + features.u * np.abs(value), features.u)


def instead(place: int, function: Callable[[Bounded], Bounded]) -> Callable[[Bounded], Bounded]:
    """The official statistics with one (0 to 2) replaced by ``function`` of the features."""

    def changed(features: Bounded) -> Bounded:
        found = view_statistics(features)
        channels = features.value.shape[2]
        other = function(features)
        value, error = found.value.copy(), found.error.copy()
        part = slice(place * channels, (place + 1) * channels)
        value[:, part], error[:, part] = other.value, other.error
        return Bounded(value, error, features.u)

    return changed


def _views(features: Bounded) -> list[Bounded]:
    pairs = zip(features.value, features.error, strict=True)
    return [Bounded(value, error, features.u) for value, error in pairs]


def _sum(features: Bounded) -> Bounded:
    first, *others = _views(features)
    for each in others:
        first = first + each
    return first


def _mean(features: Bounded) -> Bounded:
    return _sum(features) / Bounded.exact(np.asarray(len(features.value)), features.u)


def _variance(features: Bounded, missing: int = 0) -> Bounded:
    middle = _mean(features)
    squares = [(each - middle) * (each - middle) for each in _views(features)]
    count = Bounded.exact(np.asarray(len(squares) - missing), features.u)
    first, *others = squares
    for each in others:
        first = first + each
    return first / count


def _zeros(features: Bounded) -> Bounded:
    return Bounded.exact(np.zeros(features.value.shape[1:]), features.u)


def _least(features: Bounded) -> Bounded:
    return Bounded(features.value.min(axis=0), features.error.max(axis=0), features.u)


def _median(features: Bounded) -> Bounded:
    return Bounded(np.median(features.value, axis=0), features.error.max(axis=0), features.u)


def _first(features: Bounded) -> Bounded:
    return _views(features)[0]
