"""The health of a mesh: what a person would look at, as numbers."""

from typing import Any

import numpy as np

from inputs.cameras import camera_from_row
from inputs.files import Float64, Int64
from parity.meshes.spikes.intersections import intersecting_pairs
from parity.meshes.spikes.orientation import adjacent_faces, face_normals, oriented
from parity.meshes.spikes.residuals import Residuals
from parity.meshes.spikes.topology import Topology

# A triangle flatter than this, its area over its longest side squared, has no usable normal in
# float32 coordinates near 1: their last digit is 6e-8, a thousandth of a side is 1e-5.
DEGENERATE = 1e-5

QUANTILES = (0.5, 0.95, 1.0)


def health_of(
    found: Residuals, topology: Topology, cameras: Float64 | None = None
) -> dict[str, Any]:
    """Measures of a mesh as a whole.

    Args:
        found: its residuals.
        topology: its connectivity.
        cameras: (K, 5) camera rows, the first view's first; by default the first view's depth axis
            alone, which is the frame's third.

    Returns:
        ``residual`` and ``relative_residual`` (median, 95 % and greatest), ``edge_ratio`` (longest
        edge over the median one, and over the shortest), ``dihedral`` (angles between the normals
        of neighbours in degrees, 0 flat, and the share above 90°), ``normal_consistency`` (mean
        cosine of these angles), ``inconsistently_wound``, ``flipped`` (triangles that look against
        their neighbours when all are wound alike), ``degenerate``, ``self_intersections`` (pairs),
        and ``along_depth`` per view: the share of the residuals' squares along its depth axis, of
        all vertices and of the spiky ones, and along its rays.
    """
    vertices = found.vertices
    faces, inconsistent = oriented(vertices, topology.faces)
    normals, areas = face_normals(vertices, faces)
    pairs, _ = adjacent_faces(faces)
    cosines = np.einsum("ei,ei->e", normals[pairs[:, 0]], normals[pairs[:, 1]])
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    sides = _sides(vertices, topology.edges)
    shortest = float(sides.min())
    return {
        "residual": _quantiles(found.lengths),
        "relative_residual": _quantiles(found.relative[np.isfinite(found.relative)]),
        "edge_ratio": {
            "longest_to_median": _ratio(float(sides.max()), float(np.median(sides))),
            "longest_to_shortest": _ratio(float(sides.max()), shortest),
        },
        "dihedral": {**_quantiles(angles), "above_90_degrees": float((angles > 90.0).mean())},
        "normal_consistency": float(cosines.mean()),
        "inconsistently_wound": inconsistent,
        "flipped": _flipped(normals, pairs),
        "degenerate": int(_degenerate(vertices, faces, areas).sum()),
        "self_intersections": len(intersecting_pairs(vertices, topology.faces)),
        "along_depth": _along_depth(found, cameras),
    }


def _sides(vertices: Float64, edges: Int64) -> Float64:
    return np.asarray(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1))


def _flipped(normals: Float64, pairs: Int64) -> int:
    """Triangles whose normal points against the sum of their three neighbours' normals."""
    around = np.zeros_like(normals)
    np.add.at(around, pairs[:, 0], normals[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], normals[pairs[:, 0]])
    return int((np.einsum("fi,fi->f", normals, around) < 0).sum())


def _degenerate(vertices: Float64, faces: Int64, areas: Float64) -> np.ndarray:
    corners = vertices[faces]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    return np.asarray(areas <= DEGENERATE * longest**2)


def _along_depth(found: Residuals, cameras: Float64 | None) -> list[dict[str, float | None]]:
    """Per view the share of the residuals' squares along its depth axis and its rays."""
    axes = [np.array([0.0, 0.0, 1.0])]
    origins = [np.zeros(3)]
    if cameras is not None:
        views = [camera_from_row(row) for row in cameras]
        turn = views[0].rotation
        # Both in the first view's frame, where the mesh is.
        axes = [turn @ view.rotation[2] for view in views]
        origins = [turn @ (view.position - views[0].position) for view in views]
    rows = []
    for axis, origin in zip(axes, origins, strict=True):
        rays = found.vertices - origin
        lengths = np.linalg.norm(rays, axis=1, keepdims=True)
        rays = np.divide(rays, lengths, out=np.zeros_like(rays), where=lengths > 0)
        rows.append(
            {
                "all": _share(found.vectors, np.broadcast_to(axis, rays.shape)),
                "spiky": _share(found.vectors[found.spiky], axis[None]),
                "spiky_along_rays": _share(found.vectors[found.spiky], rays[found.spiky]),
            }
        )
    return rows


def _share(vectors: Float64, directions: Float64) -> float | None:
    """The share of the vectors' squares along unit directions; None where there are none."""
    whole = float((vectors * vectors).sum())
    if whole == 0:
        return None
    return float((np.einsum("ni,ni->n", vectors, np.broadcast_to(directions, vectors.shape)) ** 2)
                 .sum()) / whole  # fmt: skip


def _quantiles(values: Float64) -> dict[str, float | None]:
    names = ("median", "95_percent", "greatest")
    if not len(values):
        return dict.fromkeys(names)
    return dict(zip(names, np.quantile(values, QUANTILES).tolist(), strict=True))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("inf")
