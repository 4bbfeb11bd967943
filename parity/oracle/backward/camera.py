"""Backward from pixels through the cameras to points."""

import numpy as np

from parity.oracle.backward.sums import DOUBLE, Sum
from parity.oracle.pixels import FOCAL, _frame, _inverse_of_rows
from parity.oracle.rounding import Bounded, dot


def by_points(
    points: np.ndarray,
    gradient: Bounded,
    undecided: np.ndarray,
    cameras: np.ndarray,
    clear: np.ndarray,
) -> Sum:
    """The gradient at points (N, 3), from that at their pixels.

    With world = p·A + c₀ and (x, y, z) = (world − c)·Rᵀ in a view's frame, h = 248·y/z + 112 and
    w = −248·x/z + 112.

    Args:
        points: (N, 3), camera frame of view 0.
        gradient: (views, N, 2), at h and w after the clamp, with its error.
        undecided: likewise, what decisions may change.
        cameras: (views, 5).
        clear: (views, N, 2), 1 where a coordinate passes the clamp, 0 where not, NaN where it
            may or may not.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        frames = [_frame(camera, DOUBLE) for camera in np.asarray(cameras, dtype=np.float64)]
        position_0, rows_0 = frames[0]
        inverse = _inverse_of_rows(rows_0)
        v = [Bounded.exact(points[:, axis], DOUBLE) for axis in range(3)]
        world = [dot(v, [row[axis] for row in inverse]) + position_0[axis] for axis in range(3)]
        known = np.nan_to_num(clear, nan=0.0)
        passing = Bounded(gradient.value * known, gradient.error * known, gradient.u)
        # Nobody knows whether what comes so near to the border passed it.
        loose = np.where(np.isnan(clear), np.abs(gradient.value), known * undecided)
        found = [Bounded.exact(np.zeros(len(points)), DOUBLE) for _ in range(3)]
        open_ = np.zeros((len(points), 3))
        for view, (position, rows) in enumerate(frames):
            g_h, g_w = (
                Bounded(passing.value[view, :, axis], passing.error[view, :, axis], DOUBLE)
                for axis in range(2)
            )
            slopes = _slopes(world, position, rows, inverse)
            found = [
                total + dot([g_h, g_w], [by_h, by_w])
                for total, by_h, by_w in zip(found, *slopes, strict=True)
            ]
            if loose[view].any():
                sizes = np.stack([[np.abs(each.value) for each in slope] for slope in slopes])
                open_ += np.einsum("na,axn->nx", loose[view], sizes)
    value = np.stack([each.value for each in found], axis=1)
    error = np.stack([each.error for each in found], axis=1)
    return Sum(value, fixed=error / DOUBLE, undecided=open_)


def _slopes(
    world: list[Bounded],
    position: list[Bounded],
    rows: list[list[Bounded]],
    inverse: list[list[Bounded]],
) -> tuple[list[Bounded], list[Bounded]]:
    """How h and w of one view change with a point's three coordinates."""
    away = [world[axis] - position[axis] for axis in range(3)]
    x, y, z = (dot(away, row) for row in rows)
    focal, zero = (Bounded.exact(np.asarray(c), DOUBLE) for c in (FOCAL, 0.0))
    # Through x, y and z of the view: the coordinate's own, and that of the depth.
    by_h = [focal / z, zero - focal * y / (z * z)]
    by_w = [zero - focal / z, focal * x / (z * z)]
    in_world = [
        [dot(slope, [row[axis] for row in own]) for axis in range(3)]
        for slope, own in ((by_h, rows[1:]), (by_w, (rows[0], rows[2])))
    ]
    by_h, by_w = ([dot(slope, inverse[axis]) for axis in range(3)] for slope in in_world)
    return by_h, by_w
