"""A camera model with parts that can be wrong, with the bound of its rounding.

The official one, and what its rounding may do, is ``parity.oracle.pixels``; it is computed once
more here so that every step of it can be another one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from parity.diagnosis.variant import narrowed
from parity.oracle.pixels import CENTRE, FOCAL, PI
from parity.oracle.rounding import Bounded, dot, stack

Vector = list[Bounded]
WAYS_BACK = ("inverse", "none", "rotation")


@dataclass(frozen=True)
class Camera:
    """From points in view 0's frame to pixels, by default as the network does it.

    Attributes:
        pi: the number degrees are turned to radians by.
        half_turn: in degrees; π where angles are taken for radians.
        order: the camera rows used for the views.
        columns: which columns of a row are azimuth, elevation and distance.
        signs: factors of azimuth and elevation.
        unit_distance: cameras moved to distance 1.
        first_position: every view taken from the first one's place.
        first_rotation: every view turned as the first one.
        long: which axes (right, up, backwards) are not divided by their lengths.
        back: how the first view's frame is left: by the rotation's inverse, not at all, or by the
            rotation applied once more.
        world: the type that points in the world pass through.
        focal: pixels, of rows and columns.
        centre: pixels, of rows and columns.
        swapped: whether columns come before rows.
        finite: the number that NaN coordinates are replaced with; None to leave them.
    """

    pi: float = PI
    half_turn: float = 180.0
    order: tuple[int, ...] = (0, 1, 2)
    columns: tuple[int, int, int] = (0, 1, 3)
    signs: tuple[float, float] = (1.0, 1.0)
    unit_distance: bool = False
    first_position: bool = False
    first_rotation: bool = False
    long: tuple[int, ...] = ()
    back: str = "inverse"
    world: str = ""
    focal: tuple[float, float] = (FOCAL, FOCAL)
    centre: tuple[float, float] = (CENTRE, CENTRE)
    swapped: bool = False
    finite: float | None = None

    def pixels(self, points: np.ndarray, cameras: np.ndarray, u: float) -> Bounded:
        """Points (N, 3) to (views, N, 2), h and w, not clamped; unit roundoff ``u``."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            frames = [self._frame(cameras[each], u) for each in self.order]
            if self.first_position:
                frames = [(frames[0][0], rows) for _, rows in frames]
            if self.first_rotation:
                frames = [(position, frames[0][1]) for position, _ in frames]
            v = [Bounded.exact(points[:, axis], u) for axis in range(3)]
            world = self._world(v, *frames[0], u)
            if self.world:
                world = [_through(each, self.world) for each in world]
            views = [self._seen(world, *frame, u) for frame in frames]
        value = np.stack([view.value for view in views])
        error = np.stack([view.error for view in views])
        if self.finite is not None:
            nowhere = np.isnan(value)
            value = np.where(nowhere, self.finite, value)
            error = np.where(nowhere, 0.0, error)
        return Bounded(value, error, u)

    def _frame(self, row: np.ndarray, u: float) -> tuple[Vector, list[Vector]]:
        azimuth, elevation, distance = (
            Bounded.exact(np.asarray(row[column]), u) for column in self.columns
        )
        pi, half_turn = (Bounded.exact(np.asarray(each), u) for each in (self.pi, self.half_turn))
        azimuth, elevation = (
            angle * Bounded.exact(np.asarray(sign), u)
            for angle, sign in zip((azimuth, elevation), self.signs, strict=True)
        )
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
        rows = [right, up, position]
        rows = [row if axis in self.long else _unit(row) for axis, row in enumerate(rows)]
        return (_unit(position) if self.unit_distance else position), rows

    def _world(self, v: Vector, position: Vector, rows: list[Vector], u: float) -> Vector:
        if self.back == "none":
            return v
        if self.back == "rotation":
            return [dot(v, rows[axis]) + position[axis] for axis in range(3)]
        matrix = np.array([[float(entry.value) for entry in row] for row in rows])
        error = np.array([[float(entry.error) for entry in row] for row in rows])
        if not (np.isfinite(matrix).all() and np.isfinite(error).all()):
            nan = Bounded(np.full(v[0].value.shape, np.nan), np.full(v[0].value.shape, np.nan), u)
            return [nan] * 3
        inverse = np.linalg.inv(matrix.T)
        # As in ``parity.oracle.pixels``, but that axes may not be of unit length.
        size = np.linalg.norm(inverse, 2)
        spread = np.abs(inverse) @ error.T @ np.abs(inverse) + 27 * u * size * np.linalg.cond(
            matrix
        )
        columns = [
            [Bounded(inverse[i, axis], spread[i, axis], u) for i in range(3)] for axis in range(3)
        ]
        return [dot(v, columns[axis]) + position[axis] for axis in range(3)]

    def _seen(self, world: Vector, position: Vector, rows: list[Vector], u: float) -> Bounded:
        zero = Bounded.exact(np.asarray(0.0), u)
        x, y, z = (dot([world[a] - position[a] for a in range(3)], row) for row in rows)
        focal = [Bounded.exact(np.asarray(each), u) for each in self.focal]
        centre = [Bounded.exact(np.asarray(each), u) for each in self.centre]
        h = focal[0] * ((zero - y) / (zero - z)) + centre[0]
        w = focal[1] * (x / (zero - z)) + centre[1]
        return stack([w, h] if self.swapped else [h, w])


def _unit(row: Vector) -> Vector:
    length = dot(row, row).sqrt()
    return [component / length for component in row]


def _through(world: Bounded, kind: str) -> Bounded:
    """Rounded to a narrower type; the error has room for a neighbour where it is undecided."""
    value = narrowed(world.value, kind)
    low, high = (narrowed(world.value + way * world.error, kind) for way in (-1.0, 1.0))
    return Bounded(value, high - low, world.u)


def other_cameras() -> Iterator[tuple[str, str, Camera]]:
    """Operand, change and camera model, most usual first."""
    base = Camera()
    flip = {"rows": (-FOCAL, FOCAL), "columns": (FOCAL, -FOCAL), "both": (-FOCAL, -FOCAL)}
    for name, focal in flip.items():
        yield "camera", f"the sign of {name} turned", replace(base, focal=focal)
    yield "index order", "row and column swapped", replace(base, swapped=True)
    yield "camera", "the first view's frame not left", replace(base, back="none")
    skipped = replace(base, back="none", unit_distance=True)
    yield "camera", "the first view's frame not left and cameras at distance 1", skipped
    yield ("camera", "the first view's rotation applied and not undone",
           replace(base, back="rotation"))  # fmt: skip
    yield "camera", "cameras at distance 1", replace(base, unit_distance=True)
    yield (
        "camera",
        "every view taken from the first one's place",
        replace(base, first_position=True),
    )
    yield "camera", "every view turned as the first one", replace(base, first_rotation=True)
    for long in ((0, 1, 2), (0, 1), (0,), (1,), (2,)):
        names = " and ".join(("right", "up", "backwards")[axis] for axis in long)
        yield "camera", f"{names} not of unit length", replace(base, long=long)
    yield "camera", "azimuth and elevation swapped", replace(base, columns=(1, 0, 3))
    yield "camera", "azimuth of the other sign", replace(base, signs=(-1.0, 1.0))
    yield "camera", "elevation of the other sign", replace(base, signs=(1.0, -1.0))
    yield "camera", "degrees taken for radians", replace(base, half_turn=PI)
    yield "camera", "the third column for the distance", replace(base, columns=(0, 1, 2))
    yield "camera", "the field of view for the distance", replace(base, columns=(0, 1, 4))
    yield "constant", "pi in double precision", replace(base, pi=float(np.pi))
    for order in ((0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1), (0, 0, 0)):
        yield "view order", f"the cameras of views {order}", replace(base, order=order)
    for kind in ("float16", "bfloat16", "TF32"):
        yield "precision", f"points in the world rounded to {kind}", replace(base, world=kind)
    yield "not a number", "0 for coordinates that are no number", replace(base, finite=0.0)
    yield "not a number", "the centre for coordinates that are none", replace(base, finite=CENTRE)


Change = Callable[[float], Camera]


def constants() -> Iterator[tuple[str, Change, float, float]]:
    """What is looked for on a line: its name, the camera for a value, lowest and highest value."""
    yield "principal point", lambda c: Camera(centre=(c, c)), 100.0, 124.0
    yield "focal length", lambda f: Camera(focal=(f, f)), 200.0, 300.0
    yield "row of the principal point", lambda c: Camera(centre=(c, CENTRE)), 100.0, 124.0
    yield "column of the principal point", lambda c: Camera(centre=(CENTRE, c)), 100.0, 124.0
