"""Meshes as vector drawings: each triangle a polygon, drawn from the farthest to the nearest.

The panels are those that ``reports.drawing`` renders with VTK (see ``renderings.panels``), from the
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
    shade = light + (1 - light) * _facing(seen[drawn])
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


def _facing(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """How squarely each triangle (F, 3, 3), in the camera's axes, faces the light at the camera:
    |cos|, whatever its winding; 1 for a triangle without area.
    """  # noqa: D205 - one sentence
    first, second, third = triangles.transpose(1, 0, 2)
    normal = np.cross(second - first, third - first)
    size = np.linalg.norm(normal, axis=1)
    # VTK's light of the camera shines along its axis, from no place.
    return np.divide(np.abs(normal[:, 2]), size, out=np.ones(len(size)), where=size > 0)
