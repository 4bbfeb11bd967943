"""Where the pictures of the meshes are taken from, and what there is to see from there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.meshes import Meshes, mean_edge_length

REACH = 1e6  # coordinates beyond this are not drawn: the renderer counts in float32


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: position, point looked at, up; ``angle`` across the picture, radians."""

    position: tuple[float, float, float]
    focus: tuple[float, float, float]
    up: tuple[float, float, float]
    angle: float


# The network's own: 248 pixels of focal length for 224 of picture, looking down -z.
VIEW_0 = Camera((0, 0, 0), (0, 0, -1), (0, 1, 0), 2 * float(np.arctan(112 / 248)))


def drawable(vertices: NDArray[Any]) -> NDArray[np.bool_]:
    """Which vertices have a place in a picture."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(vertices) <= REACH).all(axis=1))


# Items are seen from 25° to 30° above, so this is about an upright object's up in view 0's frame.
_UP = np.array([0.0, np.cos(np.deg2rad(28.0)), np.sin(np.deg2rad(28.0))])


def oblique_camera(reference: NDArray[Any], *, opposite: bool = False) -> Camera:
    """From view 0's height, 50° around the object or 180° further, framed on the reference."""
    points = np.asarray(reference, np.float64)[drawable(reference)]
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max()) or 1.0
    turn, angle = np.deg2rad([130.0 if opposite else -50.0, 30.0])
    # Rodrigues: the direction towards view 0, (0, 0, 1), turned about the object's up.
    towards = np.array([0.0, 0.0, 1.0])
    across, along = np.cross(_UP, towards), _UP * _UP[2]
    direction = along + np.cos(turn) * (towards - along) + np.sin(turn) * across
    position = centre + direction * radius * 1.05 / np.sin(angle / 2)
    x, y, z = position.tolist()
    return Camera((x, y, z), tuple(centre.tolist()), tuple(_UP.tolist()), float(angle))


def vertex_distance(meshes: Meshes) -> tuple[NDArray[np.float64], str]:
    """How far each vertex moved between the sides, and the unit that is in."""
    reference = np.asarray(meshes.reference, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.linalg.norm(np.asarray(meshes.candidate, np.float64) - reference, axis=1)
    edge = mean_edge_length(np.where(drawable(reference)[:, None], reference, np.nan), meshes.faces)
    if edge > 0:
        return moved / edge, "mean edge lengths"
    return moved, meshes.unit


def unseen(side: str, vertices: NDArray[Any], camera: Camera) -> list[str]:
    """Sentences about the vertices that the picture does not show."""
    shown = drawable(vertices)
    total = len(vertices)
    sentences = []
    if not shown.all():
        sentences.append(
            f"{int((~shown).sum())} of {total} vertices of the {side} are not finite or beyond "
            f"{REACH:g}; their triangles are left out."
        )
    forward = np.array(camera.focus) - np.array(camera.position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, camera.up)
    right = right / np.linalg.norm(right)
    seen = np.asarray(vertices, np.float64)[shown] - np.array(camera.position)
    depth = seen @ forward
    half = depth * np.tan(camera.angle / 2)
    aside, above = np.abs(seen @ right), np.abs(seen @ np.cross(right, forward))
    outside = int((~((depth > 0) & (aside <= half) & (above <= half))).sum())
    if outside:
        sentences.append(f"{outside} of {total} vertices of the {side} lie outside the picture.")
    return sentences
