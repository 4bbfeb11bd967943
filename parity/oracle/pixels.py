"""Where points fall on the images, and how far rounding may have moved them.

The coordinates are computed a third time here, apart from the two implementations under comparison,
in float64 with a running bound on the error that the formula makes in the run's precision.
"""

import numpy as np

from parity.oracle.rounding import UNIT_ROUNDOFF, Bounded, dot, stack

PI = float(np.float32(np.pi))
FOCAL, CENTRE = 248.0, 112.0


def bounded_pixels(
    points: np.ndarray, cameras: np.ndarray, dtype: str, shift: np.ndarray | None = None
) -> Bounded:
    """Pixel coordinates with the error that computing them in ``dtype`` may make.

    Args:
        points: (N, 3) as the run held them, camera frame of view 0.
        cameras: (views, 5), azimuth° and elevation° and distance among them.
        dtype: the run's precision.
        shift: (N, 3), how far the run's own points may be from ``points``; not at all by default.

    Returns:
        (views, N, 2): h and w in pixels of the 224 image, not clamped. The error is infinite or NaN
        where it has no bound, as for points in a camera's plane.
    """
    # The values here err as well, in float64, which counts where the run was in float64 too.
    u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        frames = [_frame(camera, u) for camera in np.asarray(cameras, dtype=np.float64)]
        position_0, rows_0 = frames[0]
        inverse = _inverse_of_rows(rows_0)
        off = np.zeros(np.shape(points)) if shift is None else shift
        v = [Bounded(np.asarray(points[:, axis], np.float64), off[:, axis], u) for axis in range(3)]
        world = [dot(v, [row[axis] for row in inverse]) + position_0[axis] for axis in range(3)]
        views = [_seen(world, position, rows) for position, rows in frames]
    return Bounded(
        np.stack([view.value for view in views]), np.stack([view.error for view in views]), u
    )


def _seen(world: list[Bounded], position: list[Bounded], rows: list[list[Bounded]]) -> Bounded:
    """(N, 2): h and w of world points in one view."""
    u = position[0].u
    zero, focal, centre = (Bounded.exact(np.asarray(c), u) for c in (0.0, FOCAL, CENTRE))
    away = [world[axis] - position[axis] for axis in range(3)]
    x, y, z = (dot(away, row) for row in rows)
    h = focal * ((zero - y) / (zero - z)) + centre
    w = focal * (x / (zero - z)) + centre
    return stack([h, w])


def _frame(camera: np.ndarray, u: float) -> tuple[list[Bounded], list[list[Bounded]]]:
    """Position and the unit rows right, up, backward of one camera (see ``inputs.cameras``)."""
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
    if not (np.isfinite(matrix).all() and np.isfinite(error).all()):
        # A camera at the origin looks nowhere; so says whatever is computed from it.
        nowhere = Bounded(np.asarray(np.nan), np.asarray(np.nan), u)
        return [[nowhere] * 3] * 3
    inverse = np.linalg.inv(matrix.T)
    bound = np.abs(inverse) @ error.T @ np.abs(inverse) + 27 * u
    if not error.any() and np.isin(matrix, (-1.0, 0.0, 1.0)).all():
        # A rotation of zeros and ones moves the axes to each other, and elimination rounds nothing.
        bound = np.zeros_like(bound)
    return [[Bounded(inverse[i, j], bound[i, j], u) for j in range(3)] for i in range(3)]
