"""Reading feature maps at pixels, as the coarse and as the refine stage do it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parity.oracle.rounding import Bounded, average

LAST = 223.0
COARSE_CELL = 4
VARIANCE_FLOOR = float(np.float32(1e-6))
INTERPOLATION = 8.0
"""Roundings of a weighted corner: two subtractions, the weight's product, the feature's, four
additions."""

Choice = tuple[float, float]
"""A decision on one coordinate: floor and ceil; of the coarse stage the cell's number, twice."""


def view_statistics(features: Bounded) -> Bounded:
    """Maximum, mean and deviation over views: (views, N, C) to (N, 3·C)."""
    views = len(features.value)
    u = features.u
    parts = [Bounded(features.value[k], features.error[k], u) for k in range(views)]
    middle = average(parts)
    away = [part - middle for part in parts]
    variance = average([each * each for each in away])
    deviation = (variance + Bounded.exact(np.asarray(VARIANCE_FLOOR), u)).sqrt()
    # The maximum rounds nothing and is off by no more than one of its operands.
    top = Bounded(features.value.max(axis=0), features.error.max(axis=0), u)
    return Bounded(
        np.concatenate([top.value, middle.value, deviation.value], axis=1),
        np.concatenate([top.error, middle.error, deviation.error], axis=1),
        u,
    )


@dataclass(frozen=True)
class Reader:
    """What differs between the stages, and may differ in a wrong implementation.

    Attributes:
        choices: the decisions that the interval between two coordinates, within ``clamp``, leaves.
        nominal: coordinates (..., 2) to decisions (..., 2, 2).
        read: maps, coordinates (views, N, 2), their errors, decisions, unit roundoff to features
            (views, N, C).
        cell: pixels in the finest unit that a coordinate is cut to.
        statistics: features (views, N, C) to (N, 3·C).
        clamp: bounds of coordinates, pixels.
    """

    choices: Callable[[float, float, tuple[float, float]], tuple[Choice, ...]]
    nominal: Callable[[np.ndarray], np.ndarray]
    read: Callable[[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray, float], Bounded]
    cell: int
    statistics: Callable[[Bounded], Bounded] = view_statistics
    clamp: tuple[float, float] = (0.0, LAST)


def _coarse_choices(low: float, high: float, _clamp: tuple[float, float]) -> tuple[Choice, ...]:
    first, last = (int(edge // COARSE_CELL) for edge in (low, high))
    return tuple((float(cell), float(cell)) for cell in range(first, last + 1))


def _coarse_nominal(inside: np.ndarray) -> np.ndarray:
    """Cells of the 56-map (…, 2 equal numbers); −1, a cell outside, for NaN."""
    cell = np.floor(np.nan_to_num(inside, nan=-COARSE_CELL) / COARSE_CELL)
    return np.stack([cell, cell], axis=-1)


def _coarse_read(
    maps: list[np.ndarray], _inside: np.ndarray, _error: np.ndarray, cells: np.ndarray, u: float
) -> Bounded:
    """Every view reads view 0's maps: the official index is divided as a whole."""
    cell = cells[..., 0].astype(np.int64)
    found = []
    for level, feature_map in enumerate(maps):
        index = cell // 2**level
        right = ((index >= 0) & (index < feature_map.shape[1])).all(axis=2)
        index = np.where(right[..., None], index, 0)
        found.append(np.where(right[..., None], feature_map[0][index[..., 0], index[..., 1]], 0.0))
    value = np.concatenate(found, axis=2)
    return Bounded(value, np.zeros_like(value), u)


def _refine_choices(low: float, high: float, clamp: tuple[float, float]) -> tuple[Choice, ...]:
    found: list[Choice] = []
    for integer in range(int(np.ceil(low)), int(np.floor(high)) + 1):
        found += [
            (integer - 1.0, integer),
            (float(integer), integer),
            (float(integer), integer + 1.0),
        ]
    if not found:
        return ((float(np.floor(low)), float(np.ceil(high))),)
    return tuple(
        dict.fromkeys(pair for pair in found if pair[0] >= clamp[0] and pair[1] <= clamp[1])
    )


def _refine_nominal(inside: np.ndarray) -> np.ndarray:
    return np.stack([np.floor(inside), np.ceil(inside)], axis=-1)


def _refine_read(
    maps: list[np.ndarray], inside: np.ndarray, error: np.ndarray, corners: np.ndarray, u: float
) -> Bounded:
    """Between four corners of bordered maps; all weights are 0 at an integer."""
    values, errors = [], []
    views = np.arange(len(inside))[:, None]
    known = ~np.isnan(corners).any(axis=(2, 3))
    whole = np.nan_to_num(corners, nan=0.0).astype(np.int64)
    for level, feature_map in enumerate(maps):
        scale = 2**level
        size = feature_map.shape[1] - 1
        at = inside / scale
        floor, ceil = whole[..., 0] // scale, -(-whole[..., 1] // scale)
        (h0, w0), (h1, w1) = (
            (np.clip(edge[..., 0], 0, size), np.clip(edge[..., 1], 0, size))
            for edge in (floor, ceil)
        )
        below, above = at - floor, ceil - at
        weight = [above[..., 0:1], below[..., 0:1]], [above[..., 1:2], below[..., 1:2]]
        f00, f10, f01, f11 = (
            feature_map[views, h, w] for h, w in ((h0, w0), (h1, w0), (h0, w1), (h1, w1))
        )
        (ah, bh), (aw, bw) = weight
        terms = [ah * aw * f00, bh * aw * f10, ah * bw * f01, bh * bw * f11]
        value = ((terms[0] + terms[1]) + terms[2]) + terms[3]
        along_h = np.abs(aw * (f10 - f00) + bw * (f11 - f01))
        along_w = np.abs(ah * (f01 - f00) + bh * (f11 - f10))
        eh, ew = error[..., 0:1] / scale, error[..., 1:2] / scale
        crossed = eh * ew * np.abs(f00 - f10 - f01 + f11)
        arithmetic = INTERPOLATION * u * sum(np.abs(term) for term in terms)
        # Where floor and ceil are the same integer nothing depends on the coordinate.
        same = [(floor[..., k] == ceil[..., k])[..., None] for k in range(2)]
        bound = along_h * eh + along_w * ew + crossed + arithmetic
        bound = np.where(same[0] | same[1], 0.0, bound)
        values.append(np.where(known[..., None], value, np.nan))
        errors.append(bound)
    return Bounded(np.concatenate(values, axis=2), np.concatenate(errors, axis=2), u)


READERS = {
    "coarse": Reader(_coarse_choices, _coarse_nominal, _coarse_read, COARSE_CELL),
    "refine": Reader(_refine_choices, _refine_nominal, _refine_read, 1),
}
"""The official ones."""
