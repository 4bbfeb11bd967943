"""The output meshes of both sides, and their Wavefront OBJ form."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.meshes.spikes.spike import spikes
from parity.traces.record import read_output

Vertices = NDArray[np.floating[Any]]
Faces = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Meshes:
    """What the two sides computed in the end, on the triangles that both share.

    ``reference`` and ``candidate`` are (V, 3), in the camera frame of view 0; ``faces`` is
    (F, 3), zero-based, of either winding; ``unit`` says what one unit of length is. The spikes
    are (V,) bool, the vertices of each side that stick out, None where nobody looked for them.
    """

    reference: Vertices
    candidate: Vertices
    faces: Faces
    unit: str = "the network's units"
    reference_spikes: NDArray[np.bool_] | None = None
    candidate_spikes: NDArray[np.bool_] | None = None


def output_meshes(reference: Path, candidate: Path) -> Meshes | None:
    """Both traces' output meshes and their spikes, None where one was recorded without them.

    Raises:
        InputError: a trace cannot be read.
    """
    (first, faces), (second, _) = read_output(reference), read_output(candidate)
    if first is None or second is None or faces is None:
        return None
    marks = [_spikes(side, faces) for side in (first, second)]
    return Meshes(first, second, faces, reference_spikes=marks[0], candidate_spikes=marks[1])


def _spikes(vertices: Vertices, faces: Faces) -> NDArray[np.bool_] | None:
    """Which vertices are spikes, None where the triangles are not those of these vertices."""
    fits = faces.ndim == 2 and faces.shape[1] == 3 and vertices.shape[1:] == (3,)
    if not fits or not faces.size or faces.min() < 0 or faces.max() >= len(vertices):
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        return spikes(vertices.astype(np.float64), faces.astype(np.int64))


def obj_text(vertices: Vertices, faces: Faces) -> str:
    """A mesh as OBJ; digits enough to read back the very same float32 or float64 values."""
    digits = 17 if vertices.dtype == np.float64 else 9
    stream = io.StringIO()
    np.savetxt(stream, vertices, fmt=f"v %.{digits}g %.{digits}g %.{digits}g")
    np.savetxt(stream, np.asarray(faces) + 1, fmt="f %d %d %d")
    return stream.getvalue()


def mean_edge_length(vertices: Vertices, faces: Faces) -> float:
    """Mean length of the mesh's edges, each counted once; edges that are not finite left out."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    points = np.asarray(vertices, np.float64)
    lengths = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return float(lengths.mean()) if lengths.size else 0.0
