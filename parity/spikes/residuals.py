"""Umbrella residuals of a mesh, its spikes by level, and the shift that irregular vertices get."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from inputs.files import Float64
from parity.spikes.spike import angle_sums, spikes
from parity.spikes.topology import REGULAR, Topology


@dataclass(frozen=True, eq=False)
class Residuals:
    """One mesh, vertex by vertex.

    Attributes:
        vertices: (V, 3), as given.
        vectors: (V, 3), each vertex minus the mean of its neighbours.
        lengths: (V,) their lengths, in the mesh's unit.
        relative: (V,) lengths over the mean length of the vertex's edges; NaN where all are 0.
        angle_sums: (V,) radians, see ``spike``.
        spiky: (V,) bool.
    """

    vertices: Float64
    vectors: Float64
    lengths: Float64
    relative: Float64
    angle_sums: Float64
    spiky: np.ndarray


@dataclass(frozen=True)
class Shift:
    """How far irregular vertices are shifted as the graph convolution's support predicts.

    A graph convolution whose input is the same at all vertices gives x W_0 + (defect − 1) x W_1,
    defect being ``Topology.row_defect``. Where a share g of a position p is made by the second
    term, a vertex with a defect is off by −g · defect · p: along the ray from the first camera,
    whose centre is the frame's origin.

    Attributes:
        share: g, fitted to the residuals of the irregular vertices by least squares.
        r2: the share of these residuals' squares that the fit explains.
        vertices: how many irregular vertices there are.
    """

    share: float
    r2: float
    vertices: int


def residuals_of(vertices: Any, topology: Topology) -> Residuals:
    """The residuals of a mesh (V, 3) of this topology."""
    points = np.asarray(vertices, dtype=np.float64)
    vectors = points - topology.neighbour_mean(points)
    lengths = np.linalg.norm(vectors, axis=1)
    first, second = topology.edges.T
    sides = np.linalg.norm(points[first] - points[second], axis=1)
    total = np.bincount(topology.edges.ravel(), np.repeat(sides, 2), minlength=topology.vertices)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = lengths / (total / topology.degrees)
    return Residuals(
        points,
        vectors,
        lengths,
        relative,
        angle_sums(points, topology.faces),
        spikes(points, topology.faces),
    )


def by_level(found: Residuals, topology: Topology) -> list[dict[str, Any]]:
    """Per level: vertices, spikes, medians of the residual and of its ratio to the edges."""
    rows = []
    for level in range(int(topology.levels.max()) + 1):
        here = topology.levels == level
        rows.append(
            {
                "level": level,
                "vertices": int(here.sum()),
                "spikes": int(found.spiky[here].sum()),
                "median_residual": float(np.median(found.lengths[here])),
                "median_relative_residual": float(np.median(found.relative[here])),
            }
        )
    return rows


def shift_of(found: Residuals, topology: Topology) -> Shift:
    """The shift of the vertices that have another number of neighbours than six."""
    irregular = topology.degrees != REGULAR
    if not irregular.any():
        return Shift(0.0, 0.0, 0)
    centre = (found.vertices - found.vectors)[irregular]
    predicted = -topology.row_defect[irregular, None] * centre
    actual = found.vectors[irregular]
    squares = float((predicted * predicted).sum())
    share = float((predicted * actual).sum()) / squares if squares else 0.0
    whole = float((actual * actual).sum())
    rest = float(((actual - share * predicted) ** 2).sum())
    return Shift(share, 1.0 - rest / whole if whole else 0.0, int(irregular.sum()))


def summary(found: Residuals, topology: Topology) -> dict[str, Any]:
    """What a study follows along a training."""
    irregular = topology.degrees != REGULAR
    old = topology.levels == 0
    shift = shift_of(found, topology)

    def median(where: np.ndarray) -> float:
        return float(np.median(found.lengths[where])) if where.any() else float("nan")

    return {
        "spikes": int(found.spiky.sum()),
        "spike_rate": float(found.spiky.mean()),
        "irregular": int(irregular.sum()),
        "irregular_spikes": int(found.spiky[irregular].sum()),
        "median_irregular": median(irregular),
        "median_regular_level_0": median(old & ~irregular),
        "share": shift.share,
        "share_r2": shift.r2,
        "by_level": by_level(found, topology),
    }
