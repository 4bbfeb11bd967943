"""The official evaluation of a mesh: chamfer distance and F-scores.

As in ``cd_distance.py`` and ``f_score.py`` of walsvid/Pixel2MeshPlusPlus: the mesh's vertices
alone, without samples, against the points of the ground truth, distances squared, in the network's
units (an object unit is 0.57 of them). Distances are taken in float64 here, in float32 there.
"""

from dataclasses import dataclass

from inputs.files import Float64
from parity.meshes.losses import nearest

THRESHOLDS = (1e-4, 2e-4)
"""Squared distances up to which a point counts as met, in the network's units."""

CHAMFER_SHOWN = 1e4
"""The official script prints the chamfer distance times this."""

_ZERO = 1e-6
"""Added to the sum of precision and recall, both in percent."""


@dataclass(frozen=True)
class Scores:
    """One mesh, scored.

    Attributes:
        chamfer_distance: mean squared distance from a vertex to the nearest point, plus that from
            a point to the nearest vertex.
        f_scores: for each of `THRESHOLDS` the harmonic mean of precision (vertices near a point)
            and recall (points near a vertex), in percent.
    """

    chamfer_distance: float
    f_scores: tuple[float, ...]


def official_scores(mesh: Float64, points: Float64) -> Scores:
    """Score a mesh (V, 3) against ground truth (N, 3) of the same frame."""
    there, _ = nearest(mesh, points)
    back, _ = nearest(points, mesh)
    scores = []
    for threshold in THRESHOLDS:
        precision = 100.0 * float((there <= threshold).mean())
        recall = 100.0 * float((back <= threshold).mean())
        scores.append(2.0 * precision * recall / (precision + recall + _ZERO))
    return Scores(float(there.mean() + back.mean()), tuple(scores))
