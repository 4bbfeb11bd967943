"""Meshes as vector drawings: each triangle a polygon, drawn from the farthest to the nearest.

The panels are those that ``reports.figures.drawing`` renders with VTK (see ``renderings.panels``),
from the
same cameras with the same colours and light, so that a PDF shows what the PNG beside it shows.
Triangles that pierce each other, or a large one behind a small one, may be painted in the wrong
order, since each has one depth, its centre's; VTK decides pixel by pixel.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray

_NEAR = 1e-3
"""Of the farthest corner's depth: what lies nearer the camera, or behind it, is not drawn."""
_SEAM = 0.3
"""Width in points of the line, of the triangle's own colour, that hides the gaps between."""


def _direction(elevation: float, azimuth: float) -> NDArray[np.float64]:
    """Towards a light, in the camera's axes (right, up, forward); angles in degrees."""
    up, aside = np.deg2rad(elevation), np.deg2rad(azimuth)
    return np.array([np.cos(up) * np.sin(aside), np.sin(up), -np.cos(up) * np.cos(aside)])


# VTK's light kit, which PyVista uses: a key light, and its strength over those of the others.
_LIGHTS = (
    (0.75, _direction(50, 10)),
    (0.75 / 3, _direction(-75, 0)),
    (0.75 / 3, _direction(0, 0)),
    (0.75 / 3.5, _direction(0, 110)),
    (0.75 / 3.5, _direction(0, -110)),
)


def polygons(
    request: Mapping[str, NDArray[Any]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A panel's triangles on the picture plane, the farthest first.

    Args:
        request: what ``renderings.panels`` made.
        name: the panel's.

    Returns:
        Corners (F, 3, 2), where the picture reaches from −1 to 1, to the right and up; and colours
        (F, 3) in [0, 1]. Triangles that reach behind the camera, or lie outside the picture, are
        left out.
    """
    faces = request[f"{name}.faces"]
    points = np.asarray(request[f"{name}.vertices"], np.float64)
    position, focus, up = np.asarray(request[f"{name}.camera"], np.float64)
    forward = _unit(focus - position)
    right = _unit(np.cross(forward, up))
    axes = np.stack([right, np.cross(right, forward), forward])
    seen = (points - position) @ axes.T
    depth = seen[:, 2]
    if not len(faces):
        return np.zeros((0, 3, 2)), np.zeros((0, 3))
    drawn = faces[(depth[faces] > _NEAR * np.abs(depth).max()).all(axis=1)]
    half = np.tan(float(request[f"{name}.angle"]) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = seen[:, :2] / (half * depth[:, None])
    corners = flat[drawn]
    inside = (corners.min(axis=1) < 1).all(axis=1) & (corners.max(axis=1) > -1).all(axis=1)
    drawn, corners = drawn[inside], corners[inside]
    colours = np.asarray(request[f"{name}.colours"], np.float64)[drawn].mean(axis=1) / 255
    light = float(request[f"{name}.ambient"])
    shade = light + (1 - light) * _lit(seen[drawn])
    order = np.argsort(-depth[drawn].mean(axis=1), kind="stable")
    return corners[order], np.clip(colours * shade[:, None], 0, 1)[order]


def draw_panel(axes: Axes, request: Mapping[str, NDArray[Any]], name: str) -> None:
    """Draw a panel into square axes without ticks."""
    corners, colours = polygons(request, name)
    axes.add_collection(
        PolyCollection(
            list(corners), facecolors=colours, edgecolors=colours, linewidths=_SEAM,
            joinstyle="round",
        ),
        autolim=False,
    )  # fmt: skip
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)
    axes.set_aspect("equal")


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / np.linalg.norm(vector))


def _lit(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The light that falls on triangles (F, 3, 3), in the camera's axes, whatever their winding:
    each shows the camera the side that it sees. A triangle without area is fully lit.
    """  # noqa: D205 - one sentence
    first, second, third = triangles.transpose(1, 0, 2)
    normal = np.cross(second - first, third - first)
    size = np.linalg.norm(normal, axis=1)
    away = (normal * triangles.mean(axis=1)).sum(axis=1) > 0
    normal = np.divide(normal, size[:, None], out=np.zeros_like(normal), where=size[:, None] > 0)
    normal[away] *= -1
    light = sum(strength * np.maximum(normal @ towards, 0) for strength, towards in _LIGHTS)
    return np.where(size > 0, light, 1.0)
