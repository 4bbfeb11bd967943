"""Backward through the two projections: statistics over the views, maps under a point, pixels.

The decisions (pixels, floors and ceils) are those that fit what the run recorded, as in the forward
pass (``parity.oracle.layers.reading``). Which view is the greatest is a decision too: views that
are equal
share the gradient evenly, as in both frameworks. Where features come so close that rounding may
have decided, the limit takes in either.
"""

from dataclasses import dataclass

import numpy as np

from network.taps import TapRow
from parity.oracle.backward.camera import by_points
from parity.oracle.backward.statistics import FeatureGradient, Sharing, by_feature, shared_evenly
from parity.oracle.backward.sums import DOUBLE, HandedBack, Sum, spread
from parity.oracle.context import Context
from parity.oracle.layers.readers import COARSE_CELL, LAST, READERS
from parity.oracle.layers.reading import projection
from parity.oracle.pixels import bounded_pixels
from parity.oracle.rounding import Bounded

ROWS = 4096
"""Rows differentiated together."""


def through_projection(
    row: TapRow,
    parents: list[np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
    sharing: Sharing | None = None,
) -> HandedBack:
    """To the points and to the maps.

    Args:
        row: the projection.
        parents: points (N, 3) or (V, 43, 3), and the stage's maps (3, H, W, C).
        out: (N, 3 + 3·C), as the run recorded it.
        gradient: likewise.
        context: the cameras.
        sharing: what part of the maximum's gradient each view gets, evenly among equal ones by
            default.
    """
    points, maps = parents[0].reshape(-1, 3), parents[1:]
    places = _Places.of(row, points, maps, out, context)
    coarse = row.stage == "coarse"
    totals = [_Scatter(each.shape, 1 if coarse else 0) for each in maps]
    by_pixel, off, open_ = (np.zeros((3, len(points), 2)) for _ in range(3))
    for start in range(0, len(points), ROWS):
        part = slice(start, start + ROWS)
        read = _nearest if coarse else _bilinear
        corners = [read(level, each, places, part) for level, each in enumerate(maps)]
        features = np.concatenate([each.value() for each in corners], axis=2)
        errors = np.concatenate([each.error(places.error[:, part]) for each in corners], axis=2)
        at_features = by_feature(features, errors, gradient[part, 3:], sharing or shared_evenly)
        column = 0
        for level, each in enumerate(corners):
            width = each.read[0].shape[2]
            own = at_features.columns(slice(column, column + width))
            column += width
            totals[level].add(each, own, places.error[:, part])
            if not coarse:
                found = each.by_pixel(own, places.error[:, part], spread(row.stage))
                by_pixel[:, part] += found[0]
                off[:, part] += found[1]
                open_[:, part] += found[2]
    by_point = Sum(gradient[:, :3])
    if not coarse:
        through = Bounded(by_pixel, off, DOUBLE)
        by_point = by_point + by_points(points, through, open_, context.cameras, places.clear)
    shape = parents[0].shape
    return HandedBack((by_point.shaped(shape), *(total.sum() for total in totals)))


@dataclass(frozen=True, eq=False)
class _Corners:
    """What is read of one map: up to four corners with their weights.

    Attributes:
        index: (views, N) each, places in the bordered map as a list of pixels.
        weight: (views, N) each.
        read: (views, N, C) each, the maps' values there.
        h, w: (above, below), the weights along each axis, (views, N); none for nearest cells.
        scale: pixels of the finest map in one of this.
    """

    index: tuple[np.ndarray, ...]
    weight: tuple[np.ndarray, ...]
    read: tuple[np.ndarray, ...]
    h: tuple[np.ndarray, np.ndarray] | None = None
    w: tuple[np.ndarray, np.ndarray] | None = None
    scale: int = 1

    def value(self) -> np.ndarray:
        """The features (views, N, C)."""
        total = self.weight[0][..., None] * self.read[0]
        for weight, read in zip(self.weight[1:], self.read[1:], strict=True):
            total = total + weight[..., None] * read
        return total

    def error(self, pixel: np.ndarray) -> np.ndarray:
        """What the run's own may be off by, given its pixels' errors (views, N, 2)."""
        if self.h is None:
            return np.zeros_like(self.read[0])
        along_h, along_w, crossed = (np.abs(each) for each in self._slopes())
        eh, ew = self._errors(pixel)
        terms = sum(abs(w)[..., None] * abs(r) for w, r in zip(self.weight, self.read, strict=True))
        total: np.ndarray = along_h * eh + along_w * ew + crossed * eh * ew + 8.0 * DOUBLE * terms
        return total

    def weight_error(self, pixel: np.ndarray) -> list[np.ndarray]:
        """What each corner's weight may be off by, (views, N) each."""
        if self.h is None or self.w is None:
            return [np.zeros_like(self.weight[0])]
        eh, ew = (each[..., 0] for each in self._errors(pixel))
        return [
            h * ew + w * eh + eh * ew + 4.0 * DOUBLE * h * w
            for h, w in (
                (abs(self.h[i]), abs(self.w[j])) for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))
            )
        ]

    def by_pixel(
        self, gradient: FeatureGradient, pixel: np.ndarray, spread_: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The gradient at the pixels (views, N, 2), and what it may be off by, absolute.

        By rounding, and by decisions.
        """
        assert self.h is not None
        assert self.w is not None
        along_h, along_w, crossed = self._slopes()
        eh, ew = self._errors(pixel)
        g, fixed = gradient.value, gradient.fixed * DOUBLE
        corners = [np.abs(read) for read in self.read]
        (ah, bh), (aw, bw) = (
            tuple(np.abs(each)[..., None] for each in axis) for axis in (self.h, self.w)
        )
        terms_h = aw * (corners[0] + corners[1]) + bw * (corners[2] + corners[3])
        terms_w = ah * (corners[0] + corners[2]) + bh * (corners[1] + corners[3])
        count = 4 * g.shape[2] + 8
        values, errors, open_ = [], [], []
        # Where floor and ceil are one, what is read along that axis cancels.
        for along, terms, other in ((along_h, terms_h, ew), (along_w, terms_w, eh)):
            values.append((g * along).sum(axis=2))
            loose = (fixed * np.abs(along)).sum(axis=2)
            loose += (np.abs(g) * np.abs(crossed) * other).sum(axis=2)
            sums = (np.abs(g) * terms).sum(axis=2)
            errors.append(loose + spread_ * np.sqrt(count) * DOUBLE * sums)
            open_.append(
                (gradient.undecided * (np.abs(along) + np.abs(crossed) * other)).sum(axis=2)
            )
        value, error, undecided = (np.stack(each, axis=2) for each in (values, errors, open_))
        return value / self.scale, error / self.scale, undecided / self.scale

    def _slopes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Along h, along w, and how one changes along the other: (views, N, C)."""
        assert self.h is not None
        assert self.w is not None
        (ah, bh), (aw, bw) = (tuple(each[..., None] for each in axis) for axis in (self.h, self.w))
        f00, f10, f01, f11 = self.read
        return (
            aw * (f10 - f00) + bw * (f11 - f01),
            ah * (f01 - f00) + bh * (f11 - f10),
            f00 - f10 - f01 + f11,
        )

    def _errors(self, pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pixel[..., 0:1] / self.scale, pixel[..., 1:2] / self.scale


@dataclass(frozen=True, eq=False)
class _Places:
    """Where points fall, and what was decided.

    Attributes:
        inside: (views, N, 2), pixels clamped to the image.
        error: likewise, what the run's own may be off by.
        decisions: (views, N, 2, 2), floors and ceils, or cells twice.
        clear: (views, N, 2), where a gradient passes the clamp: 1, 0, or NaN where rounding
            may have decided.
    """

    inside: np.ndarray
    error: np.ndarray
    decisions: np.ndarray
    clear: np.ndarray

    @classmethod
    def of(
        cls,
        row: TapRow,
        points: np.ndarray,
        maps: list[np.ndarray],
        out: np.ndarray,
        context: Context,
    ) -> "_Places":
        reader = READERS[row.stage]
        at = bounded_pixels(points, context.cameras, "float64")
        inside = np.clip(at.value, 0.0, LAST)
        beyond = (at.value - at.error >= LAST) | (at.value + at.error <= 0.0)
        error = np.where(beyond, 0.0, at.error)
        decisions = reader.nominal(inside)
        low, high = (np.clip(at.value + way * error, 0.0, LAST) for way in (-1.0, 1.0))
        cell = COARSE_CELL if row.stage == "coarse" else 1
        near = ((np.ceil(low / cell) <= np.floor(high / cell)) & (high > low)).any(axis=(0, 2))
        rows = np.flatnonzero(near)
        if len(rows):
            found = projection(row, [points[rows], *maps], context, out[rows], "float64")
            for each in found.decided:
                for view, axis, choice in each.choices:
                    place = view, rows[each.row], axis
                    decisions[place] = choice
                    if row.stage == "refine":
                        inside[place] = np.clip(inside[place], *choice)
        passes = ((at.value >= 0.0) & (at.value <= LAST)).astype(np.float64)
        closest = np.minimum(np.abs(at.value), np.abs(at.value - LAST))
        passes = np.where((closest <= at.error) & (at.error > 0), np.nan, passes)
        return cls(inside, error, decisions, passes)


def _nearest(level: int, feature_map: np.ndarray, places: _Places, part: slice) -> _Corners:
    """The coarse stage's cell of view 0's map, for every view."""
    size = feature_map.shape[1]
    cell = places.decisions[:, part, :, 0].astype(np.int64) // 2**level
    right = ((cell >= 0) & (cell < size)).all(axis=2)
    index = np.where(right, cell[..., 0] * (size + 1) + cell[..., 1], size * (size + 1))
    flat = _bordered(feature_map[:1]).reshape(-1, feature_map.shape[3])
    return _Corners((index,), (right.astype(np.float64),), (flat[index],))


def _bilinear(level: int, feature_map: np.ndarray, places: _Places, part: slice) -> _Corners:
    """The refine stage's four corners of each view's own map."""
    size, scale = feature_map.shape[1], 2**level
    chosen = np.nan_to_num(places.decisions[:, part], nan=-1e4).astype(np.int64)
    floor, ceil = chosen[..., 0] // scale, -(-chosen[..., 1] // scale)
    at = places.inside[:, part] / scale
    below, above = at - floor, ceil - at
    first, second = (np.where((e >= 0) & (e < size), e, size) for e in (floor, ceil))
    start = np.arange(len(feature_map))[:, None] * (size + 1)
    flat = _bordered(feature_map).reshape(-1, feature_map.shape[3])
    h, w = (above[..., 0], below[..., 0]), (above[..., 1], below[..., 1])
    pairs = ((0, 0), (1, 0), (0, 1), (1, 1))
    rows, columns = (first[..., 0], second[..., 0]), (first[..., 1], second[..., 1])
    index = tuple((start + rows[i]) * (size + 1) + columns[j] for i, j in pairs)
    weight = tuple(h[i] * w[j] for i, j in pairs)
    return _Corners(index, weight, tuple(flat[i] for i in index), h, w, scale)


def _bordered(feature_map: np.ndarray) -> np.ndarray:
    return np.pad(feature_map, ((0, 0), (0, 1), (0, 1), (0, 0)))


class _Scatter:
    """Adds gradients up where maps were read."""

    def __init__(self, shape: tuple[int, ...], views: int) -> None:
        """Of maps (views, S, S, C), ``views`` of them read, all where it is 0."""
        self._shape = shape
        size = shape[1] + 1
        count = (views or shape[0]) * size * size
        self._value, self._size, self._fixed, self._undecided = (
            np.zeros((count, shape[3])) for _ in range(4)
        )
        self._terms = np.zeros(count, np.int64)

    def add(self, corners: _Corners, gradient: FeatureGradient, pixel: np.ndarray) -> None:
        """Add a gradient (views, N, C) at the corners it was read from."""
        width = gradient.value.shape[2]
        value = gradient.value.reshape(-1, width)
        fixed = gradient.fixed.reshape(-1, width)
        undecided = gradient.undecided.reshape(-1, width)
        for index, weight, off in zip(
            corners.index, corners.weight, corners.weight_error(pixel), strict=True
        ):
            flat, by = index.ravel(), weight.ravel()[:, None]
            order = np.argsort(flat, kind="stable")
            places, starts, counts = np.unique(flat[order], return_index=True, return_counts=True)
            for total, terms in (
                (self._value, by * value),
                (self._size, np.abs(by * value)),
                (self._fixed, np.abs(by) * fixed + (off.ravel() / DOUBLE)[:, None] * np.abs(value)),
                (self._undecided, np.abs(by) * undecided),
            ):
                total[places] += np.add.reduceat(terms[order], starts, axis=0)
            self._terms[places] += counts

    def sum(self) -> Sum:
        """The gradient at the maps."""
        size, channels = self._shape[1], self._shape[3]
        value, magnitude, fixed, undecided = (
            self._cut(each.reshape(-1, size + 1, size + 1, channels)[:, :size, :size])
            for each in (self._value, self._size, self._fixed, self._undecided)
        )
        return Sum(value, magnitude, int(self._terms.max()) + 4, fixed, undecided)

    def _cut(self, found: np.ndarray) -> np.ndarray:
        if len(found) == self._shape[0]:
            return found
        whole = np.zeros(self._shape)
        whole[: len(found)] = found
        return whole
