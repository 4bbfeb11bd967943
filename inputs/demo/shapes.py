"""Closed surfaces that the demo's objects are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from inputs.files import Float64, Int64
from inputs.graphs import enclosed_volume

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""


@dataclass(frozen=True, eq=False)
class Part:
    """A closed surface.

    Attributes:
        vertices: (N, 3).
        triangles: (M, 3), counter-clockwise seen from outside.
        colours: (M, 3) uint8, red, green, blue.
    """

    vertices: Float64
    triangles: Int64
    colours: npt.NDArray[np.uint8]

    @property
    def corners(self) -> Float64:
        """(M, 3, 3): the corners of each triangle."""
        return np.asarray(self.vertices[self.triangles])

    def painted(self, where: npt.NDArray[np.bool_], colour: Colour) -> "Part":
        """The same part with some of its triangles, a mask (M,), in another colour."""
        colours = self.colours.copy()
        colours[where] = colour
        return replace(self, colours=colours)

    def moved(self, offset: tuple[float, float, float], turn: Float64 | None = None) -> "Part":
        """The same part, turned about the origin by a rotation (3, 3) and then shifted."""
        vertices = self.vertices if turn is None else self.vertices @ turn.T
        return replace(self, vertices=vertices + np.array(offset))


def closed_part(vertices: Float64, triangles: Int64, colour: Colour) -> Part:
    """A part of one colour, its triangles turned outwards."""
    if enclosed_volume(vertices, triangles) < 0:
        triangles = triangles[:, ::-1]
    colours = np.tile(np.array(colour, dtype=np.uint8), (len(triangles), 1))
    return Part(vertices, triangles, colours)


def loft(rings: Float64, colour: Colour) -> Part:
    """A surface through closed rings, its two ends closed by fans.

    Args:
        rings: (S, K, 3), S rings of K points each, all in the same sense.
        colour: of the whole part.
    """
    stations, around, _ = rings.shape
    number = np.arange(stations * around).reshape(stations, around)
    a, b = number[:-1], np.roll(number[:-1], -1, axis=1)
    c, d = np.roll(number[1:], -1, axis=1), number[1:]
    sides = np.concatenate(
        [np.stack(corners, axis=-1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))]
    )
    first, last = stations * around, stations * around + 1
    start, end = number[0], number[-1]
    caps = [
        np.stack([np.full(around, first), np.roll(start, -1), start], axis=1),
        np.stack([np.full(around, last), end, np.roll(end, -1)], axis=1),
    ]
    vertices = np.concatenate([rings.reshape(-1, 3), rings[[0, -1]].mean(axis=1)])
    return closed_part(vertices, np.concatenate([sides, *caps]), colour)


def rounded_box(
    size: tuple[float, float, float],
    radius: float,
    colour: Colour,
    bulge: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Part:
    """A box around the origin with rounded edges and, like a cushion, swollen sides.

    Args:
        size: full extents along X, Y, Z.
        radius: of the edges; less than half the smallest extent.
        colour: of the whole part.
        bulge: how far the middles of the sides across X, Y, Z stand out.
    """
    half = np.array(size) / 2.0
    core = half - radius
    bend = radius * np.tan(np.linspace(0.0, np.pi / 4, 5))
    flat = np.linspace(-1.0, 1.0, 9)[1:-1]
    lines = [
        np.concatenate([-core[axis] - bend[::-1], flat * core[axis], core[axis] + bend])
        for axis in range(3)
    ]
    pieces, triangles, count = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        grid_u, grid_v = np.meshgrid(lines[u], lines[v], indexing="ij")
        for side in (1.0, -1.0):
            points = np.empty((*grid_u.shape, 3))
            points[..., axis], points[..., u], points[..., v] = side * half[axis], grid_u, grid_v
            number = count + np.arange(grid_u.size).reshape(grid_u.shape)
            a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
            order = ((a, b, c), (a, c, d)) if side > 0 else ((a, c, b), (a, d, c))
            triangles += [np.stack(corners, axis=-1).reshape(-1, 3) for corners in order]
            pieces.append(points.reshape(-1, 3))
            count += grid_u.size
    # Neighbouring sides share their border points: equal after rounding, so they become one.
    points, same = np.unique(np.round(np.concatenate(pieces), 9), axis=0, return_inverse=True)
    inner = np.clip(points, -core, core)
    outward = points - inner
    surface = inner + radius * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    swell = np.prod(1.0 - np.clip(np.abs(surface) / half, 0, 1)[:, None, :] ** 2 + np.eye(3), 2)
    surface = surface + np.array(bulge) * (surface / half) * np.clip(swell, 0.0, 1.0)
    faces = same.reshape(-1)[np.concatenate(triangles)]
    return closed_part(surface, faces.astype(np.int64), colour)


def rotation(axis: int, degrees: float) -> Float64:
    """(3, 3): a turn about X (0), Y (1) or Z (2), counter-clockwise seen from its positive end."""
    angle = np.deg2rad(degrees)
    u, v = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[u, u] = turn[v, v] = np.cos(angle)
    turn[u, v], turn[v, u] = -np.sin(angle), np.sin(angle)
    return turn


def blade(stations: Sequence[tuple[float, float, float, float, float]], colour: Colour) -> Part:
    """A wing: a loft through symmetric aerofoils.

    Args:
        stations: from root to tip, each Z, X of the leading edge, Y, chord towards −X, and
            thickness as a share of the chord.
        colour: of the whole part.
    """
    # Thickness of the NACA four-digit aerofoils (Jacobs, Ward and Pinkerton, NACA report 460,
    # 1933), the last coefficient such that the trailing edge closes.
    along = (1.0 - np.cos(np.linspace(0.0, np.pi, 17))) / 2.0
    polynomial = 0.2969 * np.sqrt(along) + along * (
        -0.1260 + along * (-0.3516 + along * (0.2843 - along * 0.1036))
    )
    x = np.concatenate([along, along[-2:0:-1]])
    y = 5.0 * np.concatenate([polynomial, -polynomial[-2:0:-1]])
    z = np.zeros_like(x)
    rings = [
        np.stack([leading - chord * x, height + chord * share * y, z + span], axis=1)
        for span, leading, height, chord, share in _refined(np.array(stations), 6)
    ]
    return loft(np.stack(rings), colour)


def _refined(rows: Float64, parts: int) -> Float64:
    """Rows and ``parts`` − 1 more between each two, on straight lines."""
    where = np.linspace(0.0, len(rows) - 1.0, parts * (len(rows) - 1) + 1)
    columns = [np.interp(where, np.arange(len(rows)), column) for column in rows.T]
    return np.stack(columns, axis=1)
