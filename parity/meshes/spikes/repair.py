"""Spikes taken out of a finished mesh, and an honest account of what that changes.

Two ways. *neighbours*: every spike goes where the mean of its neighbours is, all at once (the
discrete harmonic surface with all other vertices held), again until none is left or nothing gets
better; only spikes move. What was the true surface there is lost: a spike holds no trace of it, so
the result is the smoothest guess. *degree*: the vertices without exactly six neighbours, spiky or
not, are moved back by what the graph convolution's smoothest mode moved them
(``residuals.DegreeMode``). It undoes a known cause and keeps what a vertex has of its
own, but is offered only where that cause explains most of what is there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from inputs.files import Float64
from inputs.sampling import draw_samples, points_on
from network.losses import LOSSES
from parity.meshes.losses import chamfer
from parity.meshes.spikes.methods import METHODS
from parity.meshes.spikes.residuals import free_degree_mode_of, residuals_of
from parity.meshes.spikes.spike import spikes
from parity.meshes.spikes.topology import Topology
from weight_conversion.errors import InputError

ROUNDS = 10
LEAST_EXPLAINED = 0.9
"""Share of the irregular vertices' residuals that the mode must explain to be undone."""


@dataclass(frozen=True, eq=False)
class Repair:
    """A repaired mesh.

    Attributes:
        vertices: (V, 3), same order and triangles.
        report: ``method``, ``spikes_before`` and ``spikes_after``, ``moved`` (a list of ``vertex``,
            ``level``, ``neighbours``, ``distance``, the farthest first), ``greatest_distance``,
            ``mean_distance`` of the moved ones, ``unmoved``; with ground truth
            ``chamfer_before``, ``chamfer_after`` (times 3000, vertices and 4,000 samples, the same
            draws) and ``distance_to_truth`` of the moved vertices, median before and after.
    """

    vertices: Float64
    report: dict[str, Any]


def repair(
    vertices: Float64, topology: Topology, method: str, truth: Float64 | None = None
) -> Repair:
    """Take the spikes out of a mesh.

    Args:
        vertices: (V, 3), camera frame of view 0.
        topology: its connectivity.
        method: one of ``METHODS``.
        truth: (N, 3) ground truth in the same frame.

    Raises:
        InputError: ``degree`` for a mesh whose spikes have another cause, or an unknown method.
    """
    if method == "neighbours":
        repaired = _to_neighbours(vertices, topology)
    elif method == "degree":
        repaired = _degree_taken_out(vertices, topology)
    else:
        raise InputError("--method", repr(method), " or ".join(METHODS))
    return Repair(repaired, _report(vertices, repaired, topology, method, truth))


def _to_neighbours(vertices: Float64, topology: Topology) -> Float64:
    best = vertices
    moved = np.zeros(topology.vertices, dtype=bool)
    left = spikes(vertices, topology.faces)
    for _ in range(ROUNDS):
        if not left.any():
            break
        # What moved before may move again: next to a spike there can be another behind it.
        moved = moved | left
        tried = _harmonic(vertices, topology, moved)
        after = spikes(tried, topology.faces)
        if after.sum() >= left.sum():
            break
        best, left = tried, after
    return best


def _harmonic(vertices: Float64, topology: Topology, free: np.ndarray) -> Float64:
    """The mesh with every free vertex at the mean of its neighbours, the others held."""
    inside, outside = np.flatnonzero(free), np.flatnonzero(~free)
    rows = topology.adjacency[inside]
    system = sp.csc_array(sp.diags_array(topology.degrees[inside].astype(float)) - rows[:, inside])
    solved = spsolve(system, rows[:, outside] @ vertices[outside])
    result = vertices.copy()
    result[inside] = np.asarray(solved).reshape(-1, 3)
    return result


def _degree_taken_out(vertices: Float64, topology: Topology) -> Float64:
    found = residuals_of(vertices, topology)
    mode, off = free_degree_mode_of(found, topology)
    if mode.r2 < LEAST_EXPLAINED:
        raise InputError(
            "--method degree",
            f"√degree explains {100 * mode.r2:.0f} % of the irregular vertices' residuals",
            f"{100 * LEAST_EXPLAINED:.0f} %, or --method neighbours",
        )
    return np.asarray(vertices - off)


def _report(
    before: Float64, after: Float64, topology: Topology, method: str, truth: Float64 | None
) -> dict[str, Any]:
    distance = np.linalg.norm(after - before, axis=1)
    order = [int(vertex) for vertex in np.argsort(-distance) if distance[vertex] > 0]
    report: dict[str, Any] = {
        "method": method,
        "spikes_before": int(spikes(before, topology.faces).sum()),
        "spikes_after": int(spikes(after, topology.faces).sum()),
        "moved": [
            {
                "vertex": vertex,
                "level": int(topology.levels[vertex]),
                "neighbours": int(topology.degrees[vertex]),
                "distance": float(distance[vertex]),
            }
            for vertex in order
        ],
        "unmoved": topology.vertices - len(order),
        "greatest_distance": float(distance.max()),
        "mean_distance": float(distance[order].mean()) if order else 0.0,
    }
    if truth is not None:
        for word, mesh in (("before", before), ("after", after)):
            found = chamfer(_points(mesh, topology), truth)
            report[f"chamfer_{word}"] = LOSSES["coarse"].chamfer * found
        report["distance_to_truth"] = _to_truth(before[order], after[order], truth)
    return report


def _points(mesh: Float64, topology: Topology) -> Float64:
    face, r1, r2 = draw_samples(mesh, topology.faces, np.random.default_rng(0))
    return np.concatenate([mesh, points_on(mesh, topology.faces, face, r1, r2)])


def _to_truth(before: Float64, after: Float64, truth: Float64) -> dict[str, float | None]:
    from scipy.spatial import cKDTree

    tree = cKDTree(truth)
    return {
        word: float(np.median(tree.query(points)[0])) if len(points) else None
        for word, points in (("before", before), ("after", after))
    }
