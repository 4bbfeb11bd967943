"""Edges, triangles and Laplacians of the meshes that the graph convolutions run on."""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from scipy.spatial import ConvexHull, QhullError

from inputs.files import Float64, Int64


def directed_edges(faces: Int64) -> Int64:
    """(3F, 2): the sides of all triangles (F, 3), in their winding's direction."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edges_of(faces: Int64) -> Int64:
    """(E, 2): each side of the triangles once, smaller vertex first, in lexicographic order."""
    return np.unique(np.sort(directed_edges(faces), axis=1), axis=0)


def convex_triangles(points: Float64) -> Int64:
    """The triangles of the convex hull of points around the origin.

    The result does not depend on the order in which the hull is found: triangles begin with their
    smallest vertex, are counter-clockwise seen from outside, and are sorted.

    Args:
        points: (N, 3), all on the hull, the origin inside.

    Returns:
        (2N − 4, 3).

    Raises:
        ValueError: points inside the hull, or on a plane.
    """
    try:
        faces = ConvexHull(points).simplices.astype(np.int64)
    except (QhullError, ValueError) as error:
        raise ValueError("the points span no convex hull") from error
    if len(faces) != 2 * len(points) - 4 or len(np.unique(faces)) != len(points):
        raise ValueError("some points are not corners of the convex hull")
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), a + b + c) < 0
    faces[inward] = faces[inward][:, ::-1]
    first = np.argmin(faces, axis=1)
    turned = np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, axis=1)
    return turned[np.lexsort(turned.T[::-1])]


def normalised_laplacian(edges: Int64, vertices: int) -> sp.csr_array:
    """L = I − D^-½ A D^-½ of an undirected graph, (V, V) float64.

    Args:
        edges: (E, 2), each edge once.
        vertices: V; every vertex must have an edge.
    """
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    degree = np.bincount(rows, minlength=vertices).astype(np.float64)
    weights = -1.0 / np.sqrt(degree[rows] * degree[columns])
    everyone = np.arange(vertices)
    values = np.concatenate([weights, np.ones(vertices)])
    where = (np.concatenate([rows, everyone]), np.concatenate([columns, everyone]))
    return sp.csr_array((values, where), shape=(vertices, vertices))


def extreme_eigenvalues(matrix: sp.csr_array) -> tuple[float, float]:
    """The smallest and the largest eigenvalue of a symmetric matrix, to rounding."""
    size = matrix.shape[0]
    if size <= 200:
        values = np.linalg.eigvalsh(matrix.toarray())
        return float(values[0]), float(values[-1])
    # A fixed start makes the last bits the same on every run.
    start = np.random.default_rng(0).standard_normal(size)
    ends = [
        spl.eigsh(matrix, k=1, which=which, v0=start, ncv=60, return_eigenvectors=False)[0]
        for which in ("SA", "LA")
    ]
    return float(ends[0]), float(ends[1])


def scaled_laplacian(edges: Int64, vertices: int) -> sp.csr_array:
    """2 L / λmax − I, the second support of the graph convolutions, (V, V) float64.

    Its eigenvalues lie in [−1, 1]; −1 once for each connected part. (The first-order Chebyshev
    polynomial of Defferrard, Bresson and Vandergheynst, 2016, section 2.1.)
    """
    laplacian = normalised_laplacian(edges, vertices)
    largest = extreme_eigenvalues(laplacian)[1]
    scaled = (laplacian * (2.0 / largest) - sp.csr_array(sp.eye(vertices))).tocsr()
    scaled.sort_indices()
    return scaled


def neighbours_of(edges: Int64, vertices: int) -> list[npt.NDArray[np.int64]]:
    """The neighbours of each vertex, in ascending order."""
    both = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    ends = np.searchsorted(both[:, 0], np.arange(1, vertices))
    return np.split(both[:, 1], ends)


def enclosed_volume(points: Float64, faces: Int64) -> float:
    """The volume inside a closed mesh; negative where its triangles are wound inwards."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6.0)
