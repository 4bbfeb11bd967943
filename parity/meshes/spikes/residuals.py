"""Umbrella residuals of a mesh, its spikes by level, and what irregular vertices have in common."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from inputs.files import Float64
from parity.meshes.spikes.spike import angle_sums, spikes
from parity.meshes.spikes.topology import REGULAR, Topology


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


LEAST_STRENGTH = 0.1
"""Strength below which a mode's fixed point is not told: it is a quotient by the strength."""


@dataclass(frozen=True)
class DegreeMode:
    """How far irregular vertices stand off as the graph convolution's smoothest mode has them.

    The smoothest thing that L = I − D^-½ A D^-½ knows, L x = 0, is not a constant but x = √degree.
    A network that puts out its mesh's place p in that mode has a vertex of degree d off by
    (√(d/6) − 1) (p − q), q being what the biases, which know no degree, make of the place. Without
    biases q is the frame's origin, the first camera's centre: the vertex then stands at √(d/6)
    times the place of its neighbours, which have six.

    Attributes:
        strength: the multiple of that displacement that fits the residuals of the irregular
            vertices best (least squares): 0 for none of it, 1 for all of it.
        r2: the share of these residuals' squares that the fit explains.
        vertices: how many irregular vertices there are.
        fixed_point: q, (3,); None where the strength is too small to tell.
    """

    strength: float
    r2: float
    vertices: int
    fixed_point: tuple[float, ...] | None = (0.0, 0.0, 0.0)


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


def degree_mode_of(found: Residuals, topology: Topology) -> DegreeMode:
    """The mode's strength at the vertices that have another number of neighbours than six."""
    irregular = topology.degrees != REGULAR
    if not irregular.any():
        return DegreeMode(0.0, 0.0, 0)
    predicted = degree_displacement(found.vertices - found.vectors, topology)[irregular]
    actual = found.vectors[irregular]
    squares = float((predicted * predicted).sum())
    strength = float((predicted * actual).sum()) / squares if squares else 0.0
    whole = float((actual * actual).sum())
    rest = float(((actual - strength * predicted) ** 2).sum())
    return DegreeMode(strength, 1.0 - rest / whole if whole else 0.0, int(irregular.sum()))


def free_degree_mode_of(found: Residuals, topology: Topology) -> tuple[DegreeMode, Float64]:
    """The same with the fixed point fitted too, and the displacement (V, 3) that it comes to."""
    irregular = topology.degrees != REGULAR
    if not irregular.any():
        return DegreeMode(0.0, 0.0, 0, None), np.zeros_like(found.vertices)
    places = found.vertices - found.vectors
    factor = (np.sqrt(topology.degrees / REGULAR) - 1.0)[:, None]
    # One strength for all three axes, and a constant of its own for each.
    columns = [places, *(np.eye(3)[[axis]] * np.ones_like(places) for axis in range(3))]
    design = np.stack([(factor * column)[irregular].ravel() for column in columns], axis=1)
    actual = found.vectors[irregular].ravel()
    answer = np.linalg.lstsq(design, actual, rcond=None)[0]
    whole = float(actual @ actual)
    rest = float(((actual - design @ answer) ** 2).sum())
    strength, constant = float(answer[0]), answer[1:]
    point = None
    if abs(strength) > LEAST_STRENGTH:
        point = tuple(float(part) for part in -constant / strength)
    mode = DegreeMode(strength, 1.0 - rest / whole if whole else 0.0, int(irregular.sum()), point)
    return mode, np.asarray(factor * (strength * places + constant))


def degree_displacement(places: Float64, topology: Topology) -> Float64:
    """(√(degree/6) − 1) times places (V, 3): zero where a vertex has six neighbours."""
    return np.asarray((np.sqrt(topology.degrees / REGULAR) - 1.0)[:, None] * places)


def summary(found: Residuals, topology: Topology) -> dict[str, Any]:
    """What a study follows along a training."""
    irregular = topology.degrees != REGULAR
    old = topology.levels == 0
    mode = degree_mode_of(found, topology)
    free, _ = free_degree_mode_of(found, topology)

    def median(where: np.ndarray) -> float:
        return float(np.median(found.lengths[where])) if where.any() else float("nan")

    return {
        "spikes": int(found.spiky.sum()),
        "spike_rate": float(found.spiky.mean()),
        "irregular": int(irregular.sum()),
        "irregular_spikes": int(found.spiky[irregular].sum()),
        "median_irregular": median(irregular),
        "median_regular_level_0": median(old & ~irregular),
        "strength": mode.strength,
        "strength_r2": mode.r2,
        "free_strength": free.strength,
        "free_r2": free.r2,
        "fixed_point": None if free.fixed_point is None else list(free.fixed_point),
        "by_level": by_level(found, topology),
    }
