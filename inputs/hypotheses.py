"""The refine stage's 43 hypotheses: where a vertex may move, and the graph that joins them."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from inputs.files import Float32, Float64, Int64
from inputs.graphs import convex_triangles, edges_of, scaled_laplacian
from inputs.payload import entry, floats, sequence
from inputs.pickles import load_pickle
from weight_conversion.errors import InputError

HYPOTHESES = 43
"""The centre and the 42 points around it."""

RADIUS = 0.02
"""Distance of the points from the centre, in units of the camera frame."""

_GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Offsets and local graph, the same for every vertex.

    Attributes:
        name: "own", or the file's name.
        offsets: (43, 3) float32, camera frame of the first view, the centre (0, 0, 0) first.
        supports: (2, 43, 43) float32, the identity and 2L/λmax − I, dense.
    """

    name: str
    offsets: Float32
    supports: Float32


def build_hypotheses() -> Hypotheses:
    """The project's own: an icosahedron, its edges halved once, on a sphere of radius 0.02."""
    return _around_centre("own", RADIUS * _icosphere())


def hypotheses_at(path: Path | None) -> Hypotheses:
    """The hypotheses of a file, or the project's own where none is given."""
    return build_hypotheses() if path is None else load_hypotheses(path)


def load_hypotheses(path: str | Path) -> Hypotheses:
    """Read an official file that holds hypotheses.

    Either the template's dict form (``sample_coord`` of 43 and ``sample_cheb_dense``), or
    ``pami_p2mpp.dat`` (``sample_coord`` of 42, without the centre): there the centre is put first
    and joined to the others, whose graph is their convex hull; the file's own supports are for
    another network.

    Raises:
        InputError: unreadable, no such file, or an entry that is missing, of another shape, not
            finite, or points that are not corners of a convex hull around the centre.
    """
    path = Path(path)
    data = load_pickle(path)
    if not isinstance(data, dict):
        raise InputError(
            path, f"holds a {type(data).__name__}, no hypotheses", "a dict with sample_coord"
        )
    where = f"{path}, sample_coord"
    points = floats(where, entry(path, data, "sample_coord"), (None, 3))
    if len(points) == HYPOTHESES:
        dense = sequence(f"{path}, sample_cheb_dense", entry(path, data, "sample_cheb_dense"), 2)
        supports = [
            floats(f"{path}, sample_cheb_dense[{number}]", item, (HYPOTHESES, HYPOTHESES))
            for number, item in enumerate(dense)
        ]
        return Hypotheses(path.name, points, np.stack(supports))
    if len(points) != HYPOTHESES - 1:
        raise InputError(where, f"has {len(points)} points", "43, or 42 without the centre")
    try:
        return _around_centre(path.name, points.astype(np.float64))
    except ValueError as error:
        raise InputError(where, str(error), "42 points on a sphere around the centre") from error


def _around_centre(name: str, points: Float64) -> Hypotheses:
    """Hypotheses of a centre and 42 points around it.

    Raises:
        ValueError: the points are not the corners of a convex hull.
    """
    edges = edges_of(convex_triangles(points)) + 1
    spokes = np.array([(0, number) for number in range(1, HYPOTHESES)], dtype=np.int64)
    laplacian = scaled_laplacian(np.concatenate([spokes, edges]), HYPOTHESES).toarray()
    offsets = np.concatenate([np.zeros((1, 3)), points])
    supports = np.stack([np.eye(HYPOTHESES), laplacian])
    return Hypotheses(name, offsets.astype(np.float32), supports.astype(np.float32))


def _icosphere() -> Float64:
    """(42, 3) unit vectors: the 12 corners of an icosahedron, then the middles of its 30 edges."""
    signs: Int64 = np.array(list(product((1, -1), (1, -1))))
    plane = np.stack([np.zeros(4), signs[:, 0], signs[:, 1] * _GOLDEN], axis=1)
    corners = np.concatenate([np.roll(plane, turn, axis=1) for turn in range(3)])
    middles = corners[edges_of(convex_triangles(corners))].mean(axis=1)
    points = np.concatenate([corners, middles])
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float64)
