"""Meshes fitted to points without any network: what the demo's network is trained to make.

Training the official losses long enough for a thin wing to unfold takes hours of a processor. The
template fitted straight to the points takes seconds, and tells the network where each vertex goes.
The fit alternates, as Besl and McKay's iterative closest point does (1992), between nearest
neighbours and a least-squares problem, stiff at first and softer in every round (Amberg, Romdhani
and Vetter 2007): for vertices x, their nearest points p(x), and the points q on whose nearest place
of the surface, Bx, they pull,

    |x − p|² + V/N |Bx − q|² + λ (w₁ |Ex|² + w₂ |Lx|²)

E takes differences along edges, L differences from the neighbours' mean.
"""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from inputs.files import Float32, Float64, Int64
from inputs.graphs import edges_of
from inputs.ground_truth import GroundTruth
from inputs.template import Template

STIFFNESS = np.geomspace(30.0, 0.3, 50)
"""λ of each round."""
LENGTH, BENDING = 0.06, 3.0
NORMAL = 0.03
"""What a unit of difference between normals counts as distance, so that the two sides of a wing are
not taken for each other."""
SAMPLES_A_TRIANGLE = 2


def fitted_mesh(template: Template, truth: GroundTruth, rotation: np.ndarray) -> Float32:
    """The template's finest level, fitted to points.

    Args:
        template: its ellipsoid's directions are kept, so that a vertex goes straight outwards.
        truth: points and normals (N, 3), camera frame of view 0.
        rotation: (3, 3), from the object's axes to the camera's: columns are the axes along which
            the ellipsoid is first stretched to the points' bounding box.

    Returns:
        (V, 3) of the last level, camera frame of view 0. Its first vertices are the coarser
        levels'.
    """
    assert truth.normals is not None
    faces = np.asarray(template.faces[-1])
    points, normals = truth.points.astype(np.float64), truth.normals.astype(np.float64)
    x = _stretched(template, points, rotation)
    smoothness = _smoothness(faces, len(x))
    random = np.random.default_rng(0)
    for stiffness in STIFFNESS:
        nearest = cKDTree(np.c_[points, NORMAL * normals])
        _, towards = nearest.query(np.c_[x, NORMAL * vertex_normals(x, faces)])
        onto = _surface_places(x, faces, points, normals, random)
        share = len(x) / len(points)
        system = sp.eye_array(len(x)) + share * (onto.T @ onto) + stiffness * smoothness
        x = splu(system.tocsc()).solve(points[towards] + share * (onto.T @ points))
    return x.astype(np.float32)


def vertex_normals(x: Float64, faces: Int64) -> Float64:
    """Unit normals (V, 3) of a mesh, its triangles weighted by their areas."""
    found = np.zeros_like(x)
    across = _across(x, faces)
    for corner in range(3):
        np.add.at(found, faces[:, corner], across)
    return _unit(found)


def _stretched(template: Template, points: Float64, rotation: np.ndarray) -> Float64:
    """The template on an ellipsoid that fills the points' box along the object's axes."""
    x = template.coordinates.astype(np.float64)
    for pairs in template.unpooling:
        x = np.concatenate([x, x[pairs].mean(axis=1)])
    directions = _unit(x - x.mean(axis=0)) @ rotation
    along = points @ rotation
    low, high = along.min(axis=0), along.max(axis=0)
    return ((low + high) / 2 + directions * (high - low) / 2) @ rotation.T


def _smoothness(faces: Int64, vertices: int) -> sp.csr_array:
    """w₁ EᵀE + w₂ LᵀL, (V, V)."""
    edges = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    shape = (vertices, vertices)
    adjacency = sp.csr_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=shape)
    degrees = adjacency.sum(axis=1)
    lengths = sp.diags_array(degrees) - adjacency
    bending = sp.eye_array(vertices) - sp.diags_array(1.0 / degrees) @ adjacency
    return sp.csr_array(LENGTH * lengths + BENDING * (bending.T @ bending))


def _surface_places(
    x: Float64, faces: Int64, points: Float64, normals: Float64, random: np.random.Generator
) -> sp.csr_array:
    """(N, V): for each point the barycentric weights of the drawn surface point nearest to it."""
    corners = np.repeat(faces, SAMPLES_A_TRIANGLE, axis=0)
    root = np.sqrt(random.random(len(corners)))[:, None]
    along = random.random(len(corners))[:, None]
    weights = np.concatenate([1.0 - root, root * (1.0 - along), root * along], axis=1)
    drawn = np.einsum("fc,fcd->fd", weights, x[corners])
    facing = np.repeat(_unit(_across(x, faces)), SAMPLES_A_TRIANGLE, axis=0)
    tree = cKDTree(np.c_[drawn, NORMAL * facing])
    _, chosen = tree.query(np.c_[points, NORMAL * normals])
    rows = np.repeat(np.arange(len(points)), 3)
    entries = (weights[chosen].ravel(), (rows, corners[chosen].ravel()))
    return sp.csr_array(entries, shape=(len(points), len(x)))


def _across(x: Float64, faces: Int64) -> Float64:
    a, b, c = (x[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)


def _unit(vectors: Float64) -> Float64:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
