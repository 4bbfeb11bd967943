"""What the vertices with large residuals have in common.

A property explains what the groups that it makes explain: the residuals' variance between the
groups over all of it (the correlation ratio η²). Continuous properties make ten groups at their
deciles. What was known beforehand is kept apart from what is computed from the judged positions
themselves, which a spike changes and which therefore explain it only in seeming.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from inputs.cameras import IMAGE_SIZE, project
from inputs.files import Float64
from inputs.graphs import normalised_laplacian
from inputs.item import Item
from parity.meshes.spikes.residuals import Residuals
from parity.meshes.spikes.spike import angle_sums
from parity.meshes.spikes.topology import Topology

BINS = 10
"""Groups of a continuous property."""


@dataclass(frozen=True, eq=False)
class Property:
    """Something known of every vertex, ``values`` (V,), in deciles where it is continuous."""

    name: str
    values: np.ndarray
    continuous: bool


@dataclass(frozen=True)
class Explanation:
    """How much of the residuals a property explains.

    Attributes:
        property: its name.
        r2: the share of the residual magnitudes' variance between the groups.
        r2_vectors: the same of the residual vectors' variance, so of direction and magnitude.
        given_others: what the share of all properties together loses without this one.
        groups: how many it makes.
    """

    property: str
    r2: float
    r2_vectors: float
    given_others: float
    groups: int


def groups_of(values: np.ndarray, continuous: bool) -> np.ndarray:
    """The group of each vertex, (V,) int: equal values, or the ten between the deciles."""
    if continuous:
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, BINS + 1))[1:-1])
        values = np.searchsorted(edges, values, side="left")
    return np.asarray(np.unique(values, return_inverse=True)[1])


def share_between(values: Float64, groups: np.ndarray) -> float:
    """The share of the variance of ``values``, (V,) or (V, C), that lies between groups."""
    columns = values.reshape(len(values), -1)
    count = np.bincount(groups)
    means = np.stack([np.bincount(groups, column) / count for column in columns.T], axis=1)
    whole = columns.mean(axis=0)
    total = float(((columns - whole) ** 2).sum())
    between = float((count[:, None] * (means - whole) ** 2).sum())
    return between / total if total > 0 else 0.0


def explain(found: Residuals, properties: Sequence[Property]) -> list[Explanation]:
    """What each property explains of the residuals, strongest first."""
    groups = {each.name: groups_of(each.values, each.continuous) for each in properties}
    indicators = {name: _indicators(of) for name, of in groups.items()}
    everything = _fit(list(indicators.values()), found.lengths)
    rows = [
        Explanation(
            name,
            share_between(found.lengths, of),
            share_between(found.vectors, of),
            max(0.0, everything - _fit(
                [each for other, each in indicators.items() if other != name], found.lengths)),
            int(of.max()) + 1,
        )
        for name, of in groups.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row.r2)


def _indicators(groups: np.ndarray) -> Float64:
    return (groups[:, None] == np.arange(1, groups.max() + 1)).astype(np.float64)


def _fit(parts: Sequence[Float64], values: Float64) -> float:
    """The share of the variance that all groups together explain, added up (least squares)."""
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    design = np.concatenate([np.ones((len(values), 1)), *parts], axis=1)
    answer = np.linalg.lstsq(design, values, rcond=None)[0]
    return 1.0 - float(((values - design @ answer) ** 2).sum()) / total


def known_beforehand(
    topology: Topology, template: Float64 | None = None, item: Item | None = None
) -> list[Property]:
    """What is known of the vertices without looking at where they are.

    Args:
        topology: levels and neighbours.
        template: (V0, 3) the initial mesh's vertices, camera frame of view 0.
        item: adds where the unpooled initial mesh falls on its images; needs ``template``.
    """
    edges = topology.adjacency
    degrees = topology.degrees.astype(np.float64)
    found = [
        Property("unpooling level", topology.levels, False),
        Property("number of neighbours", topology.degrees, False),
        Property("neighbours' number of neighbours", edges @ degrees / degrees, True),
        Property("support row defect", topology.row_defect, True),
    ]
    if template is None:
        found += _graph_place(topology)
    else:
        found += _place(topology, template)
        if item is not None:
            found += seen_properties(topology.unpooled(template), item, "template's ")
    return [each for each in found if len(np.unique(each.values)) > 1]


def _graph_place(topology: Topology) -> list[Property]:
    """Where a vertex is as its neighbours alone tell: the graph's three slowest oscillations.

    The eigenvectors of a triangulated sphere's Laplacian to its smallest eigenvalues but 0 are
    smooth coordinates on it, up to a turn; those of the initial mesh, unpooled as it is.
    """
    count = int((topology.levels == 0).sum())
    if not 4 < count <= 2000:
        return []
    # The first unpooling's pairs are the initial mesh's edges.
    edges = topology.unpooling[0] if topology.unpooling else topology.edges
    vectors = np.linalg.eigh(normalised_laplacian(edges, count).toarray())[1]
    places = topology.unpooled(vectors[:, 1:4])
    return [Property(f"place on the graph, coordinate {k}", places[:, k - 1], True)
            for k in (1, 2, 3)]  # fmt: skip


def _place(topology: Topology, template: Float64) -> list[Property]:
    """Where a vertex is on the initial mesh, and how that mesh bends there."""
    points = topology.unpooled(np.asarray(template, dtype=np.float64))
    centred = points - points.mean(axis=0)
    x, y, z = centred.T
    distance = np.linalg.norm(centred, axis=1)
    umbrella = points - topology.neighbour_mean(points)
    return [
        Property("template x", points[:, 0], True),
        Property("template y", points[:, 1], True),
        Property("template z", points[:, 2], True),
        Property("template polar angle", np.arccos(np.clip(y / distance, -1.0, 1.0)), True),
        Property("template azimuth", np.arctan2(x, z), True),
        Property("template distance from the middle", distance, True),
        Property(
            "template Gaussian curvature", 2 * np.pi - angle_sums(points, topology.faces), True
        ),
        Property("template residual", np.linalg.norm(umbrella, axis=1), True),
    ]


def seen_properties(points: Float64, item: Item, whose: str = "") -> list[Property]:
    """Pixel and distance to the silhouette of points (V, 3) in each view of an item.

    The distance is in pixels of the 224 image, negative outside the object; an image that is white
    everywhere has none.
    """
    found = []
    for view, at in enumerate(project(points, item.cameras)):
        row, column = at.T
        found.append(Property(f"{whose}pixel row in view {view}", row, True))
        found.append(Property(f"{whose}pixel column in view {view}", column, True))
        inside = (item.images[view] < 1.0).any(axis=2)
        if inside.any() and not inside.all():
            distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
            cells = np.clip(np.rint(at).astype(np.int64), 0, IMAGE_SIZE - 1)
            name = f"{whose}distance to the silhouette in view {view}"
            found.append(Property(name, distance[cells[:, 0], cells[:, 1]], True))
    return found


def from_positions(
    found: Residuals,
    topology: Topology,
    item: Item | None = None,
    ground_truth: Float64 | None = None,
) -> list[Property]:
    """What is computed from the judged positions: a spike itself moves it."""
    points = found.vertices
    rays = np.linalg.norm(points, axis=1)
    properties = [
        Property("position x", points[:, 0], True),
        Property("position y", points[:, 1], True),
        Property("position z", points[:, 2], True),
        Property("distance from the first camera", rays, True),
        Property("neighbours' mean distance from the first camera",
                 np.linalg.norm(topology.neighbour_mean(points), axis=1), True),
    ]  # fmt: skip
    if item is not None:
        properties += seen_properties(points, item)
    if ground_truth is not None:
        distance = cKDTree(ground_truth).query(points)[0]
        properties.append(Property("distance to the ground truth", distance, True))
    return [each for each in properties if len(np.unique(each.values)) > 1]


def rows_of(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """As the JSON has them."""
    return [vars(each).copy() for each in explanations]
