"""Triangles wound alike: official face files are not, and orientation means nothing without it."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

from inputs.files import Float64, Int64
from inputs.graphs import directed_edges, enclosed_volume


def adjacent_faces(faces: Int64) -> tuple[Int64, np.ndarray]:
    """The two triangles at every edge of a closed surface.

    Args:
        faces: (F, 3).

    Returns:
        (E, 2) triangles, in the order of the edges sorted by their vertices, and (E,) bool: whether
        the two are wound alike, that is, run along the edge in opposite directions.
    """
    sides = directed_edges(faces)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(np.sort(sides, axis=1).T[::-1])
    pairs = owner[order].reshape(-1, 2)
    forward = (sides[:, 0] < sides[:, 1])[order].reshape(-1, 2)
    return pairs, forward[:, 0] != forward[:, 1]


def oriented(vertices: Float64, faces: Int64) -> tuple[Int64, int]:
    """The triangles of a closed surface wound alike, outward where it encloses a volume.

    Args:
        vertices: (V, 3), for what is outward.
        faces: (F, 3).

    Returns:
        The triangles, some with two corners exchanged, and how many are wound otherwise than most.
    """
    pairs, alike = adjacent_faces(faces)
    count = len(faces)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    turn = np.concatenate([alike, alike])
    # 1 where the neighbour is wound alike and 2 where it is not: 0 would be no neighbour.
    graph = sp.csr_array((np.where(turn, 1, 2), both.T), shape=(count, count))
    flip = np.zeros(count, dtype=bool)
    seen = np.zeros(count, dtype=bool)
    while not seen.all():
        start = int(np.flatnonzero(~seen)[0])
        order, before = breadth_first_order(graph, start, directed=False)
        seen[order] = True
        for face in order[1:]:
            flip[face] = flip[before[face]] ^ bool(graph[before[face], face] == 2)
    result = np.where(flip[:, None], faces[:, ::-1], faces)
    if enclosed_volume(vertices, result) < 0:
        result = result[:, ::-1].copy()
    return result, int(min(flip.sum(), count - flip.sum()))


def face_normals(vertices: Float64, faces: Int64) -> tuple[Float64, Float64]:
    """Unit normals (F, 3), zero where a triangle has no area, and areas (F,)."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    lengths = np.linalg.norm(across, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals = np.where(lengths[:, None] > 0, across / lengths[:, None], 0.0)
    return normals, 0.5 * lengths
