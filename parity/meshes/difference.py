"""How far two meshes of one connectivity lie apart: vertex by vertex, and as surfaces."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.files import Float64, Int64
from inputs.sampling import Draw
from parity.meshes.losses import Samples, Surface, chamfer, measured_points, nearest
from parity.meshes.scores import THRESHOLDS
from weight_conversion.errors import InputError


@dataclass(frozen=True)
class MeshDifference:
    """The difference of two meshes.

    ``greatest`` and ``mean`` are vertex distances in the first mesh's mean edge lengths; ``edge``
    is that length, in the network's units; ``chamfer`` is unweighted; ``f_scores`` are shares in
    the order of ``THRESHOLDS``.
    """

    greatest: float
    mean: float
    edge: float
    chamfer: float
    f_scores: tuple[float, ...]


def mesh_difference(
    first: npt.NDArray[Any], second: npt.NDArray[Any], surface: Surface, draw: Draw
) -> MeshDifference:
    """Measure two meshes (V, 3) on the triangles of ``surface``.

    The surfaces are compared at their vertices and at points drawn on each by the same numbers.

    Raises:
        InputError: the shapes differ, or a mesh has no area.
    """
    if first.shape != second.shape:
        raise InputError("the two meshes", f"shapes {first.shape} and {second.shape}", "one shape")
    a, b = first.astype(np.float64), second.astype(np.float64)
    distance = np.linalg.norm(b - a, axis=1)
    edge = _mean_edge(a, surface.pairs)
    points = [
        measured_points(mesh, surface, Samples.drawn("a mesh", mesh, surface, draw))
        for mesh in (a, b)
    ]
    there, _ = nearest(points[1], points[0])
    back, _ = nearest(points[0], points[1])
    return MeshDifference(
        greatest=float(distance.max()) / edge,
        mean=float(distance.mean()) / edge,
        edge=edge,
        chamfer=chamfer(points[1], points[0], there),
        f_scores=tuple(_f_score(there, back, threshold) for threshold in THRESHOLDS),
    )


def _mean_edge(vertices: Float64, pairs: Int64) -> float:
    sides = pairs[pairs[:, 0] < pairs[:, 1]]
    return float(np.linalg.norm(vertices[sides[:, 0]] - vertices[sides[:, 1]], axis=1).mean())


def _f_score(there: Float64, back: Float64, threshold: float) -> float:
    """The harmonic mean of the shares of points within ``threshold`` of the other surface."""
    precision, recall = float(np.mean(there <= threshold)), float(np.mean(back <= threshold))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
