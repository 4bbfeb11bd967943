"""The losses of a finished mesh against ground truth, in NumPy and float64.

The terms are those of one block of the official graphs, unweighted; no framework takes part, so
that meshes of any origin are measured alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from inputs.files import Float64, Int64
from inputs.graphs import edges_of, neighbours_of
from inputs.ground_truth import GroundTruth
from inputs.sampling import Draw, choose_faces, points_on
from inputs.template import MOST_NEIGHBOURS, Template
from network.levels import VERTICES
from network.losses import LOSSES, SQUARE_FLOOR
from weight_conversion.errors import InputError

BACKWARD = LOSSES["coarse"].backward
"""Weight of the points' direction within the chamfer term."""

TANGLED = 6.0
"""A `stretch` from which on the triangles are taken for those of another template."""


@dataclass(frozen=True, eq=False)
class Surface:
    """What a mesh of V vertices is measured on.

    Attributes:
        faces: (F, 3) triangles, in the order that sample indices refer to.
        pairs: (E, 2) ordered pairs of vertices: every edge both ways and every vertex with itself,
            as in the official second support. The V pairs without length dilute both means.
        neighbours: (V, K), padded with V.
        degrees: (V,) numbers of neighbours.
        source: where the connections are from, in words.
        remarks: what is odd about them.
    """

    faces: Int64
    pairs: Int64
    neighbours: Int64
    degrees: Int64
    source: str
    remarks: tuple[str, ...] = ()


def surface_of(
    where: object, vertices: int, faces: Int64 | None, template: Template, given: bool
) -> Surface:
    """The connections of a mesh: the template's, or else its own.

    The template's are taken for a mesh of one of its sizes where the template was given by the
    user, or where the mesh has no triangles of its own.

    Args:
        where: the mesh, for messages.
        vertices: V.
        faces: (F, 3) the mesh's own triangles, if it has any.
        template: the template.
        given: whether the user chose the template.

    Raises:
        InputError: neither the mesh nor the template says how so many vertices are connected.
    """
    level = VERTICES.index(vertices) if vertices in VERTICES else None
    if faces is not None and (level is None or not given):
        return _own_surface(vertices, faces)
    if level is None:
        sizes = ", ".join(map(str, VERTICES))
        raise InputError(
            where, f"has {vertices} vertices and no triangles", f"triangles, or {sizes} vertices"
        )
    table = template.laplace[level].astype(np.int64)
    near = table[:, :MOST_NEIGHBOURS]
    remarks = []
    if faces is not None and not np.array_equal(edges_of(faces), edges_of(template.faces[level])):
        remarks.append("its own triangles are not those of the template, which are used instead")
    if not given:
        remarks.append(
            "it has no triangles: it is taken to be on the project's own template (--template "
            "names another)"
        )
    return Surface(
        faces=template.faces[level],
        pairs=template.supports[level][1].indices,
        neighbours=np.where(near < 0, vertices, near),
        degrees=table[:, -1],
        source=f"level {level + 1} of template {template.name}",
        remarks=tuple(remarks),
    )


def _own_surface(vertices: int, faces: Int64) -> Surface:
    edges = edges_of(faces)
    around = neighbours_of(edges, vertices)
    degrees = np.array([len(near) for near in around], dtype=np.int64)
    neighbours = np.full((vertices, int(degrees.max())), vertices, dtype=np.int64)
    neighbours[np.arange(neighbours.shape[1]) < degrees[:, None]] = np.concatenate(around)
    loops = np.repeat(np.arange(vertices, dtype=np.int64)[:, None], 2, axis=1)
    unused = int((degrees == 0).sum())
    remarks = [f"{unused:,} of its {vertices:,} vertices are in no triangle"] if unused else []
    return Surface(
        faces=faces,
        pairs=np.concatenate([edges, edges[:, ::-1], loops]),
        neighbours=neighbours,
        degrees=degrees,
        source="its own triangles",
        remarks=tuple(remarks),
    )


def stretch(mesh: Float64, surface: Surface) -> float:
    """How much longer edges are than the way to the nearest vertex, by the medians of both.

    About 1 where the triangles are the mesh's own, and far more where they connect vertices in the
    order of another template. 1 where vertices coincide, so that nothing can be told.
    """
    edges = mesh[surface.pairs[:, 0]] - mesh[surface.pairs[:, 1]]
    lengths = np.sqrt(np.sum(edges**2, axis=1))[surface.pairs[:, 0] != surface.pairs[:, 1]]
    near = cKDTree(mesh).query(mesh, k=2)[0][:, 1]
    spacing = float(np.median(near))
    return float(np.median(lengths)) / spacing if spacing > 0 and len(lengths) else 1.0


def unpooled(mesh: npt.NDArray[Any], vertices: int, template: Template) -> npt.NDArray[Any] | None:
    """A mesh of a lower level with the means of its edges' ends appended, level by level.

    Args:
        mesh: (V, 3) with V of one of the template's levels.
        vertices: how many it shall have.
        template: says which edges.

    Returns:
        (vertices, 3), or None where no unpooling leads there.
    """
    while len(mesh) != vertices:
        if len(mesh) not in VERTICES[:2]:
            return None
        pairs = template.unpooling[VERTICES.index(len(mesh))]
        mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    return mesh


@dataclass(frozen=True, eq=False)
class Samples:
    """Points on the surface beside the vertices.

    Attributes:
        face: (S,) triangles of the mesh's `Surface`.
        r1: (S,) in [0, 1).
        r2: (S,) in [0, 1).
    """

    face: Int64
    r1: npt.NDArray[np.float32]
    r2: npt.NDArray[np.float32]

    @classmethod
    def drawn(cls, where: object, mesh: Float64, surface: Surface, draw: Draw) -> "Samples":
        """The samples that drawn numbers make on a mesh.

        Raises:
            InputError: the mesh has no area.
        """
        try:
            face = choose_faces(mesh, surface.faces, draw.place)
        except InputError as error:
            raise InputError(
                where, "its triangles have no area to sample", "a surface, or --vertices-only"
            ) from error
        return cls(face, draw.r1, draw.r2)


def measured_points(mesh: Float64, surface: Surface, samples: Samples | None) -> Float64:
    """The points of the chamfer term: the vertices, then the samples; (V + S, 3)."""
    if samples is None:
        return mesh
    more = points_on(mesh, surface.faces, samples.face, samples.r1, samples.r2)
    return np.concatenate([mesh, more])


@dataclass(frozen=True)
class MeshLosses:
    """The terms of one mesh.

    Attributes:
        values: by term (chamfer, edge, normal, laplace), unweighted; None where there is none.
        reasons: why not, by term.
    """

    values: Mapping[str, float | None]
    reasons: Mapping[str, str]


def mesh_losses(
    mesh: Float64,
    surface: Surface,
    points: Float64,
    truth: GroundTruth,
    before: Float64 | None = None,
) -> MeshLosses:
    """All terms of a mesh, unweighted (the official graphs' block losses without their factors).

    - chamfer: mean squared distance from a ground-truth point to the nearest of ``points``, plus
      0.55 times that from a point to the nearest ground truth;
    - edge: mean over ``surface.pairs`` of the squared length;
    - normal: mean over the pairs of |n · e|, n the unit normal of the ground truth nearest to the
      first vertex, e the unit edge; squared lengths are 1e-12 at least, which makes the pairs of a
      vertex with itself, and zero normals, count as 0;
    - laplace: mean squared change from ``before`` of a vertex minus the mean of its neighbours.

    Args:
        mesh: (V, 3), camera frame of the first view.
        surface: its connections.
        points: (V + S, 3), the vertices first: `measured_points`.
        truth: the ground truth, same frame.
        before: (V, 3), the mesh that entered the block, if it is known.
    """
    there, forward = nearest(points, truth.points.astype(np.float64))
    values: dict[str, float | None] = {
        "chamfer": chamfer(points, truth.points, there),
        "edge": None,
        "normal": None,
        "laplace": None,
    }
    reasons: dict[str, str] = {}
    first, second = surface.pairs.T
    edges = mesh[first] - mesh[second]
    values["edge"] = float(np.mean(np.sum(edges**2, axis=1)))
    if truth.normals is None:
        reasons["normal"] = "the ground truth has no normals"
    else:
        normals = _unit_rows(truth.normals.astype(np.float64))[forward[: len(mesh)]]
        cosines = np.sum(normals[first] * _unit_rows(edges), axis=1)
        values["normal"] = float(np.mean(np.abs(cosines)))
    if before is None:
        reasons["laplace"] = "the mesh before the block was not given"
    elif (surface.degrees == 0).any():
        reasons["laplace"] = "some vertices have no neighbours"
    else:
        change = _laplacian(before, surface) - _laplacian(mesh, surface)
        values["laplace"] = float(np.mean(np.sum(change**2, axis=1)))
    return MeshLosses(values, reasons)


def chamfer(points: Float64, truth: npt.NDArray[Any], there: Float64 | None = None) -> float:
    """Mean squared distance of truth to points, plus 0.55 times that of points to truth.

    Args:
        points: (N, 3).
        truth: (M, 3).
        there: (N,) squared distances of the points to the truth, where they are known.
    """
    truth = truth.astype(np.float64)
    if there is None:
        there, _ = nearest(points, truth)
    back, _ = nearest(truth, points)
    return float(np.mean(back) + BACKWARD * np.mean(there))


def nearest(points: Float64, others: Float64) -> tuple[Float64, Int64]:
    """Squared distances (N,) to the nearest of ``others`` (M, 3), and which it is (N,).

    Of equally near ones it is the first, as in the official operation.
    """
    # The tree promises no order among equals, so copies of a point are left to the first of them.
    unique, number = np.unique(others, axis=0, return_index=True)
    two = min(2, len(unique))
    distances, found = cKDTree(unique).query(points, k=two)
    distances, candidates = distances.reshape(-1, two), number[found].reshape(-1, two)
    tied = distances == distances[:, :1]
    index = np.where(tied, candidates, len(others)).min(axis=1)
    return np.sum((points - others[index]) ** 2, axis=1), index.astype(np.int64)


def _unit_rows(vectors: Float64) -> Float64:
    squares = np.sum(vectors**2, axis=1, keepdims=True)
    return np.asarray(vectors / np.sqrt(np.maximum(squares, SQUARE_FLOOR)))


def _laplacian(mesh: Float64, surface: Surface) -> Float64:
    padded = np.concatenate([mesh, np.zeros((1, 3))])
    return np.asarray(mesh - padded[surface.neighbours].sum(axis=1) / surface.degrees[:, None])
