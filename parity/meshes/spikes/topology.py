"""Which vertex is old and which is new: levels, neighbours and supports, from triangles alone.

Unpooling puts a vertex on every edge and four triangles in place of one, old vertices first. That
can be undone from the triangles: a new vertex has exactly two old neighbours, the ends of its edge,
and the triangle in the middle of four, all of whose corners are new, names the old one's corners.
So the level of every vertex is known for a mesh of any template, the official, the project's own or
a subdivided sphere, whatever its vertices' positions and however its triangles are wound.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from inputs.files import Float64, Int64
from inputs.graphs import directed_edges, edges_of, extreme_eigenvalues, normalised_laplacian
from weight_conversion.errors import InputError

REGULAR = 6
"""Neighbours of every vertex that unpooling makes, and of one in a regular triangle grid."""

_CLOSED = "a closed surface: two triangles at every edge, every vertex in a triangle"


@dataclass(frozen=True, eq=False)
class Topology:
    """Connectivity of a closed triangle mesh and how it came about.

    Attributes:
        faces: (F, 3), as they were given.
        levels: (V,) int, 0 for the vertices of the initial mesh, then counted by unpoolings.
        unpooling: per unpooling (E, 2), the ends of the edge that each new vertex halves.
        note: why the levels are not known, where they are not (then all are 0), or empty.
    """

    faces: Int64
    levels: Int64
    unpooling: tuple[Int64, ...]
    note: str

    @property
    def vertices(self) -> int:
        return len(self.levels)

    @cached_property
    def edges(self) -> Int64:
        """(E, 2), each edge once, smaller vertex first."""
        return edges_of(self.faces)

    @cached_property
    def adjacency(self) -> sp.csr_array:
        """(V, V) ones where two vertices share an edge."""
        rows, columns = np.concatenate([self.edges, self.edges[:, ::-1]]).T
        size = (self.vertices, self.vertices)
        return sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=size)

    @cached_property
    def degrees(self) -> Int64:
        """(V,) number of neighbours."""
        return np.bincount(self.edges.ravel(), minlength=self.vertices).astype(np.int64)

    @cached_property
    def row_defect(self) -> Float64:
        """(V,) what the rows of the support 2L/λmax − I sum to, plus 1.

        L = I − D^-½ A D^-½, so the sum is −1 where a vertex and its neighbours have equal degrees,
        and a vertex of degree d among neighbours of degree 6 has the defect (2/λmax)(1 − √(d/6)):
        there the graph convolution answers to a constant otherwise than everywhere else.
        """
        laplacian = normalised_laplacian(self.edges, self.vertices)
        largest = extreme_eigenvalues(laplacian)[1]
        return np.asarray(laplacian.sum(axis=1) * (2.0 / largest)).ravel()

    def neighbour_mean(self, values: Float64) -> Float64:
        """The mean of each vertex's neighbours' values (V, C)."""
        return np.asarray((self.adjacency @ values) / self.degrees[:, None])

    def unpooled(self, values: Float64) -> Float64:
        """Values (V0, C) of the initial mesh's vertices, and on new ones the mean of the ends."""
        for pairs in self.unpooling:
            values = np.concatenate([values, values[pairs].mean(axis=1)])
        return values


def topology_of(faces: Int64, vertices: int) -> Topology:
    """Connectivity and levels of a mesh.

    Args:
        faces: (F, 3) vertex numbers.
        vertices: V.

    Raises:
        InputError: the triangles are no closed surface.
    """
    _check_closed(faces, vertices)
    steps: list[Int64] = []
    counts = [vertices]
    current, count = faces, vertices
    while (found := _undone(current, count)) is not None:
        current, pairs = found
        count -= len(pairs)
        steps.append(pairs)
        counts.append(count)
    bounds = np.array(counts[::-1][:-1], dtype=np.int64)
    levels = np.searchsorted(bounds, np.arange(vertices), side="right").astype(np.int64)
    note = "" if steps else "the triangles do not come from an unpooling, old vertices first"
    return Topology(faces, levels, tuple(steps[::-1]), note)


def _check_closed(faces: Int64, vertices: int) -> None:
    degenerate = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    if degenerate.any():
        at = int(np.flatnonzero(degenerate)[0])
        raise InputError(f"triangle {at + 1}", f"{(faces[at] + 1).tolist()}", "three vertices")
    used = np.zeros(vertices, dtype=bool)
    used[faces] = True
    if not used.all():
        missing = int((~used).sum())
        where = f"the triangles of a mesh of {vertices} vertices"
        raise InputError(where, f"{missing} vertices are in no triangle", _CLOSED)
    sides = np.sort(directed_edges(faces), axis=1)
    counts = np.unique(sides, axis=0, return_counts=True)[1]
    if (counts != 2).any():
        found = f"{int((counts != 2).sum())} edges with another number of triangles than two"
        raise InputError("the triangles", found, _CLOSED)


def _undone(faces: Int64, vertices: int) -> tuple[Int64, Int64] | None:
    """The triangles before the last unpooling, and its pairs; None where there was none."""
    if len(faces) % 8:
        return None
    old = vertices - 3 * len(faces) // 8
    if old < 4:
        return None
    edges = edges_of(faces)
    across = edges[(edges[:, 0] < old) & (edges[:, 1] >= old)]
    if (np.bincount(across[:, 1], minlength=vertices)[old:] != 2).any():
        return None
    pairs = across[np.argsort(across[:, 1], kind="stable"), 0].reshape(-1, 2)
    middle = faces[(faces >= old).all(axis=1)]
    if len(middle) * 4 != len(faces):
        return None
    # The middle triangle's corners halve the sides of the old one, each of whose corners is on two.
    ends = np.sort(pairs[middle - old].reshape(-1, 6), axis=1)
    if (ends[:, ::2] != ends[:, 1::2]).any() or len(np.unique(pairs, axis=0)) != len(pairs):
        return None
    return ends[:, ::2], pairs
