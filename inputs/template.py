"""The template: the initial ellipsoid, its two unpoolings, and the graphs of its three levels.

A template is a feed and not a weight: any closed triangulated sphere of as many vertices has the
same numbers of vertices, edges and faces on all levels, so official weights run on the project's
own template, which this module builds, as on the official files, which it reads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from inputs.files import Array, Float32, Float64, Int64
from inputs.graphs import convex_triangles, edges_of, neighbours_of, scaled_laplacian
from inputs.obj import obj_triangles
from inputs.payload import entry, floats, indices, sequence
from inputs.pickles import load_pickle
from network.levels import EDGES, FACES, VERTICES
from weight_conversion.errors import InputError

MOST_NEIGHBOURS = 8
"""Columns for neighbours in the table of the Laplace loss."""

# Semi-axes and centre of the ellipsoid, in the first view's camera frame: wide in X, and as far
# away as ShapeNet's cameras are from the object.
_SEMI_AXES = (0.28, 0.2, 0.2)
_ELLIPSOID_CENTRE = (0.0, 0.0, -0.8)

_OFFICIAL = "the official template: info_ellipsoid.dat or a dict with stage1 to stage3"


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A sparse square matrix in coordinate form.

    Attributes:
        indices: (n, 2) int64, row and column of each stored value.
        values: (n,) float32.
        shape: (V, V).
    """

    indices: Int64
    values: Float32
    shape: tuple[int, int]


Support = tuple[SparseMatrix, SparseMatrix]
"""The identity and the scaled Laplacian 2L/λmax − I of one level."""


@dataclass(frozen=True, eq=False)
class Template:
    """All that the network is told about the mesh's connectivity, and where it begins.

    Attributes:
        name: "own", or the file's name.
        coordinates: (V, 3) float32 of the first level, camera frame of the first view.
        supports: the two supports of each of the three levels.
        unpooling: per level but the last (E, 2) int32, the two ends of the edge that each new
            vertex halves; new vertices follow the old ones in this order.
        laplace: per level (V, 10) int32: neighbours padded with −1 to eight, the vertex itself,
            its number of neighbours.
        faces: per level (F, 3) int64, counted from 0.
    """

    name: str
    coordinates: Float32
    supports: tuple[Support, Support, Support]
    unpooling: tuple[Array, Array]
    laplace: tuple[Array, Array, Array]
    faces: tuple[Int64, Int64, Int64]


def build_template() -> Template:
    """The project's own template: points spread evenly over an ellipsoid, triangles outward."""
    sphere = _even_sphere(VERTICES[0])
    # Rounded, so that the last bits of a machine's sine do not make another template of it.
    coordinates = np.round(sphere * _SEMI_AXES + _ELLIPSOID_CENTRE, 6).astype(np.float32)
    faces = [convex_triangles(sphere)]
    edges = [edges_of(faces[0])]
    for level in range(2):
        faces.append(_halve(faces[level], edges[level], VERTICES[level]))
        edges.append(edges_of(faces[level + 1]))
    supports = [_support(each, count) for each, count in zip(edges, VERTICES, strict=True)]
    laplace = [_laplace_table(each, count) for each, count in zip(edges, VERTICES, strict=True)]
    return Template(
        name="own",
        coordinates=coordinates,
        supports=(supports[0], supports[1], supports[2]),
        unpooling=(edges[0].astype(np.int32), edges[1].astype(np.int32)),
        laplace=(laplace[0], laplace[1], laplace[2]),
        faces=(faces[0], faces[1], faces[2]),
    )


def template_at(path: Path | None) -> Template:
    """The template of a file, or the project's own where none is given; see ``load_template``."""
    return build_template() if path is None else load_template(path)


def load_template(path: str | Path) -> Template:
    """Read an official template file.

    Either ``info_ellipsoid.dat``, a tuple, with the triangles in ``face1.obj`` to ``face3.obj``
    beside it, or ``iccv_p2mpp.dat``, a dict that holds all.

    Raises:
        InputError: unreadable, neither form, or an entry that is missing, of another shape or
            type, out of range or not finite.
    """
    path = Path(path)
    data = load_pickle(path)
    if isinstance(data, dict):
        faces = [
            indices(f"{path}, faces_triangle[{level}]", item, (FACES[level], 3), 0, count - 1)
            for level, (item, count) in enumerate(
                zip(_levels(path, data, "faces_triangle", 3), VERTICES, strict=True)
            )
        ]
        stages = [entry(path, data, f"stage{level}") for level in (1, 2, 3)]
        pooling = _levels(path, data, "pool_idx", 2)
        neighbours = _levels(path, data, "lape_idx", 3)
        names = ("coord", "stage{}", "pool_idx", "lape_idx")
        coordinates = entry(path, data, "coord")
    elif isinstance(data, tuple | list) and len(data) == 8:
        faces = [_faces_beside(path, level) for level in range(3)]
        stages = list(data[1:4])
        pooling = sequence(f"{path}, entry 4", data[4], 2)
        neighbours = sequence(f"{path}, entry 7", data[7], 3)
        names = ("entry 0", "entry {}", "entry 4", "entry 7")
        coordinates = data[0]
    else:
        length = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise InputError(path, f"holds a {type(data).__name__}{length}", _OFFICIAL)
    supports = [
        _read_support(f"{path}, {names[1].format(level + 1)}", stages[level], VERTICES[level])
        for level in range(3)
    ]
    unpooling = [
        indices(
            f"{path}, {names[2]}[{level}]",
            pooling[level],
            (EDGES[level], 2),
            0,
            VERTICES[level] - 1,
        ).astype(np.int32)
        for level in range(2)
    ]
    laplace = [
        _read_laplace(f"{path}, {names[3]}[{level}]", neighbours[level], VERTICES[level])
        for level in range(3)
    ]
    return Template(
        name=path.name,
        coordinates=floats(f"{path}, {names[0]}", coordinates, (VERTICES[0], 3)),
        supports=(supports[0], supports[1], supports[2]),
        unpooling=(unpooling[0], unpooling[1]),
        laplace=(laplace[0], laplace[1], laplace[2]),
        faces=(faces[0], faces[1], faces[2]),
    )


def _even_sphere(count: int) -> Float64:
    """(count, 3): a spiral of points around the X axis, each a golden angle after the last.

    The hull of these points has five to seven triangles around a point. (Spherical Fibonacci
    points, González, "Measurement of areas on a sphere using Fibonacci and latitude–longitude
    lattices", 2010. The offset of 0.36 keeps the points at the two ends about as far apart as the
    others.)
    """
    step = np.arange(count)
    offset = 0.36
    x = 1.0 - 2.0 * (step + offset) / (count - 1 + 2.0 * offset)
    radius = np.sqrt(1.0 - x * x)
    angle = np.pi * (3.0 - np.sqrt(5.0)) * step
    return np.stack([x, radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _halve(faces: Int64, edges: Int64, vertices: int) -> Int64:
    """The four triangles that each triangle becomes when new vertices halve the edges.

    Args:
        faces: (F, 3).
        edges: (E, 2), smaller vertex first, sorted; edge e's new vertex is number ``vertices`` + e.
        vertices: V of this level.

    Returns:
        (4F, 3), wound as their parents: three corners, then the middle.
    """
    number_of = {(int(a), int(b)): vertices + e for e, (a, b) in enumerate(edges)}
    children = []
    for a, b, c in faces.tolist():
        ab, bc, ca = (number_of[min(p), max(p)] for p in ((a, b), (b, c), (c, a)))
        children += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.array(children, dtype=np.int64)


def _support(edges: Int64, vertices: int) -> Support:
    """Both supports, their values row by row, as in the official file."""
    diagonal = np.repeat(np.arange(vertices, dtype=np.int64)[:, None], 2, axis=1)
    identity = SparseMatrix(diagonal, np.ones(vertices, np.float32), (vertices, vertices))
    scaled: Any = sp.coo_array(scaled_laplacian(edges, vertices))
    where = np.stack([scaled.row, scaled.col], axis=1).astype(np.int64)
    laplacian = SparseMatrix(where, scaled.data.astype(np.float32), (vertices, vertices))
    return identity, laplacian


def _laplace_table(edges: Int64, vertices: int) -> Array:
    table = np.full((vertices, MOST_NEIGHBOURS + 2), -1, dtype=np.int32)
    for vertex, neighbours in enumerate(neighbours_of(edges, vertices)):
        table[vertex, : len(neighbours)] = neighbours
        table[vertex, MOST_NEIGHBOURS:] = vertex, len(neighbours)
    return table


def _levels(path: Path, data: dict[Any, Any], key: str, count: int) -> list[Any]:
    return sequence(f"{path}, {key}", entry(path, data, key), count)


def _faces_beside(path: Path, level: int) -> Int64:
    beside = path.with_name(f"face{level + 1}.obj")
    faces = obj_triangles(beside, VERTICES[level])
    if len(faces) != FACES[level]:
        raise InputError(beside, f"has {len(faces)} triangles", str(FACES[level]))
    return faces


def _read_support(where: str, value: Any, vertices: int) -> Support:
    matrices = [
        _read_sparse(f"{where}[{number}]", item, vertices)
        for number, item in enumerate(sequence(where, value, 2))
    ]
    return matrices[0], matrices[1]


def _read_sparse(where: str, value: Any, vertices: int) -> SparseMatrix:
    coordinates, values, shape = sequence(where, value, 3)
    size = sequence(f"{where}, shape", shape, 2)
    if not all(isinstance(extent, int | np.integer) and extent == vertices for extent in size):
        raise InputError(f"{where}, shape", "another shape", f"{vertices}×{vertices}")
    positions = indices(f"{where}, indices", coordinates, (None, 2), 0, vertices - 1)
    if len(np.unique(positions, axis=0)) != len(positions):
        raise InputError(f"{where}, indices", "a position occurs twice", "each value once")
    weights = floats(f"{where}, values", values, (len(positions),))
    return SparseMatrix(positions, weights, (vertices, vertices))


def _read_laplace(where: str, value: Any, vertices: int) -> Array:
    table = indices(where, value, (vertices, MOST_NEIGHBOURS + 2), -1, vertices - 1)
    degree = (table[:, :MOST_NEIGHBOURS] >= 0).sum(axis=1)
    wrong = np.flatnonzero((degree != table[:, -1]) | (degree == 0))
    if len(wrong):
        raise InputError(
            f"{where}, row {wrong[0]}",
            f"{degree[wrong[0]]} neighbours and the number {table[wrong[0], -1]}",
            "neighbours padded with -1, the vertex, and how many neighbours it has",
        )
    if (table[:, MOST_NEIGHBOURS] != np.arange(vertices)).any():
        raise InputError(where, "column 8 is not the vertex's own number", "0, 1, 2, …")
    return table.astype(np.int32)
