"""Pixel decisions: which cell a projection chose, where two sides differ, whether by a tie.

A vertex whose pixel coordinate lies within rounding of a cell's border may fall on either side of
it in two correct float32 implementations. Such a flip changes a whole row of features; it is a
decision, not an error. Whether it was a tie is computed here: the coordinate again in float64 from
each side's own recorded vertex, and a running bound on the error that the run's precision can make.
"""

import numpy as np

from parity.result import Flip
from parity.rounding import UNIT_ROUNDOFF, Bounded, dot, stack
from parity.trace import TraceReader

PI = float(np.float32(np.pi))
FOCAL, CENTRE, LAST_PIXEL = 248.0, 112.0, 223.0
COARSE_CELL = 4.0
"""Pixels a side of the finest cell that the coarse stage tells apart."""
MOST_FLIPS = 1000
"""Flips listed one by one; a wrong camera flips nearly every row, and the count says so."""


def bounded_pixels(points: np.ndarray, cameras: np.ndarray, dtype: str) -> Bounded:
    """Pixel coordinates with the error that computing them in ``dtype`` may make.

    Args:
        points: (N, 3) as the run held them, camera frame of view 0.
        cameras: (views, 5), azimuth° and elevation° and distance among them.
        dtype: the run's precision.

    Returns:
        (views, N, 2): h and w in pixels of the 224 image, clamped to [0, 223].
    """
    u = UNIT_ROUNDOFF[dtype]
    frames = [_frame(camera, u) for camera in np.asarray(cameras, dtype=np.float64)]
    position_0, rows_0 = frames[0]
    inverse = _inverse_of_rows(rows_0)
    v = [Bounded.exact(points[:, axis], u) for axis in range(3)]
    world = [dot(v, [row[axis] for row in inverse]) + position_0[axis] for axis in range(3)]
    views = []
    for position, rows in frames:
        away = [world[axis] - position[axis] for axis in range(3)]
        x, y, z = (dot(away, [row[axis] for axis in range(3)]) for row in rows)
        zero = Bounded.exact(np.zeros(()), u)
        focal, centre = (Bounded.exact(np.asarray(c), u) for c in (FOCAL, CENTRE))
        h = focal * ((zero - y) / (zero - z)) + centre
        w = focal * (x / (zero - z)) + centre
        views.append(stack([h, w]))
    value = np.stack([np.clip(view.value, 0.0, LAST_PIXEL) for view in views])
    return Bounded(value, np.stack([view.error for view in views]), u)


def flips(reference: TraceReader, candidate: TraceReader, tap: str) -> tuple[list[Flip], int]:
    """The decisions of one projection that differ: the first thousand, and how many in all."""
    first, second = reference.array("decisions", tap), candidate.array("decisions", tap)
    if first.shape != second.shape:
        return [], max(first.size, second.size)
    differing = np.argwhere(_per_axis(np.asarray(first != second)))
    if not len(differing):
        return [], 0
    listed = differing[:MOST_FLIPS]
    rows = np.unique(listed[:, 1])
    sides = []
    for trace in (reference, candidate):
        # A projection's first three columns are the points it projected.
        points = trace.dataset("taps", tap)[rows, :3].astype(np.float64)
        dtype = trace.header.dtype
        cameras = trace.array("inputs", "cameras")
        sides.append(bounded_pixels(points, cameras, dtype))
    found = []
    for view, row, axis in listed:
        place = (view, np.searchsorted(rows, row), axis)
        pixel = float(sides[0].value[place])
        shift = abs(float(sides[1].value[place]) - pixel)
        rounding = float(sides[0].error[place] + sides[1].error[place]) + shift
        a, b = first[view, row, axis], second[view, row, axis]
        found.append(
            Flip(
                tap=tap,
                row=int(row),
                view=int(view),
                axis="hw"[axis],
                reference=_named(a),
                candidate=_named(b),
                pixel=pixel,
                margin=_margin(pixel, a, b),
                rounding=rounding,
            )
        )
    return found, len(differing)


def _per_axis(differs: np.ndarray) -> np.ndarray:
    """(views, N, 2) from decisions of one or two integers an axis."""
    return np.asarray(differs.any(axis=3)) if differs.ndim == 4 else differs


def _named(decision: np.ndarray) -> str:
    if decision.ndim == 0:
        return f"cell {int(decision)}"
    floor, ceil = (int(part) for part in decision)
    return f"integer {floor}" if floor == ceil else f"{floor}..{ceil}"


def _margin(pixel: float, a: np.ndarray, b: np.ndarray) -> float:
    """Distance from ``pixel`` to the farthest border between the two choices, in pixels.

    Two neighbouring coarse cells share one border. Of the refine stage's choices, one may be an
    integer itself (a point) and the other the open interval beside it, or two intervals that touch
    at an integer; choices further apart give a margin that no rounding explains.
    """
    if a.ndim == 0:
        low, high = sorted((int(a), int(b)))
        return max(abs(pixel - COARSE_CELL * edge) for edge in range(low + 1, high + 1))
    floors, ceils = sorted((int(a[0]), int(b[0]))), sorted((int(a[1]), int(b[1])))
    # The integers that lie between the two choices or are one of them.
    between = range(min(floors[1], ceils[0]), max(floors[1], ceils[0]) + 1)
    return max(abs(pixel - integer) for integer in between)


def _frame(camera: np.ndarray, u: float) -> tuple[list[Bounded], list[list[Bounded]]]:
    """Position and the unit rows right, up, backward of one camera; see NETWORK's frames."""
    azimuth, elevation, distance = (
        Bounded.exact(np.asarray(value), u) for value in (camera[0], camera[1], camera[3])
    )
    pi, half_turn = Bounded.exact(np.asarray(PI), u), Bounded.exact(np.asarray(180.0), u)
    theta, phi = azimuth * pi / half_turn, elevation * pi / half_turn
    height, level = distance * phi.sin(), distance * phi.cos()
    position = [level * theta.cos(), height, level * theta.sin()]
    opposite = theta + pi
    up = [height * opposite.cos(), level, height * opposite.sin()]
    right = [
        up[1] * position[2] - up[2] * position[1],
        up[2] * position[0] - up[0] * position[2],
        up[0] * position[1] - up[1] * position[0],
    ]
    return position, [_unit(row) for row in (right, up, position)]


def _unit(row: list[Bounded]) -> list[Bounded]:
    length = dot(row, row).sqrt()
    return [component / length for component in row]


def _inverse_of_rows(rows: list[list[Bounded]]) -> list[list[Bounded]]:
    """inv(Rᵀ) as a list of rows.

    R is a rotation but for rounding, so the inverse's condition number is 1: an LU factorisation of
    a 3×3 matrix errs by at most 3·3·3·u (Higham, theorem 14.1 with growth factor below 3), beyond
    what the matrix's own error does, which |inv|·|E|·|inv| bounds to first order.
    """
    u = rows[0][0].u
    matrix = np.array([[float(entry.value) for entry in row] for row in rows])
    error = np.array([[float(entry.error) for entry in row] for row in rows])
    inverse = np.linalg.inv(matrix.T)
    bound = np.abs(inverse) @ error.T @ np.abs(inverse) + 27 * u
    return [[Bounded(inverse[i, j], bound[i, j], u) for j in range(3)] for i in range(3)]
