"""The gradients that the loss terms give directly to the meshes that they are of.

Formulas as in ``docs/losses.md`` (``parity_tests`` hold them against both implementations). The
nearest neighbours are found here from the run's own recorded meshes, by direct squared differences;
of equally near points the first counts. Where rounding may have decided otherwise the limit takes
in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree

from network.losses import SQUARE_FLOOR, LossFactors
from parity.oracle.number import Number

CANDIDATES = 8
CLOSE = 16.0
"""Relative difference of squared distances that rounding may make, in unit roundoffs: each errs by
at most five of them, and sampled points by some more."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one block's mesh is held against; floats are float32 values, widened.

    Attributes:
        points: (N, 3), ground truth, camera frame of view 0.
        normals: (N, 3), or None.
        triangles: (S, 3), the corners of each sample's triangle.
        r1, r2: (S,).
        pairs: (n, 2), both directions of every edge and every vertex with itself.
        neighbours: (V, 8), the number V where there are fewer.
        degrees: (V,).
    """

    points: np.ndarray
    normals: np.ndarray | None
    triangles: np.ndarray
    r1: np.ndarray
    r2: np.ndarray
    pairs: np.ndarray
    neighbours: np.ndarray
    degrees: np.ndarray


def measured_of(arrays: Mapping[str, np.ndarray], block: int) -> Measured:
    """One block's, from arrays named as in a trace's ``/measured``."""
    table = arrays[f"laplace_{block}"].astype(np.int64)
    neighbours = table[:, :8]
    normals = arrays.get("normals")
    return Measured(
        points=_wide(arrays["points"]),
        normals=None if normals is None else _wide(normals),
        triangles=arrays[f"faces_{block}"].astype(np.int64)[arrays[f"face_{block}"].astype(int)],
        r1=_wide(arrays[f"r1_{block}"]),
        r2=_wide(arrays[f"r2_{block}"]),
        pairs=arrays[f"pairs_{block}"].astype(np.int64),
        neighbours=np.where(neighbours >= 0, neighbours, len(table)),
        degrees=table[:, -1].astype(np.float64),
    )


def terms_by_meshes(
    factors: LossFactors, before: np.ndarray, after: np.ndarray, to: Measured, u: float
) -> dict[str, tuple[Number | None, Number]]:
    """Each term's gradient at a block's input and output mesh, (V, 3) each; None where none.

    Args:
        factors: of the network's terms.
        before: the block's input mesh (V, 3), unpooled.
        after: its output mesh (V, 3).
        to: what the output is held against.
        u: unit roundoff, of the run and of the evaluation here together.
    """
    factor = 2.0 * factors.move / len(after)
    move = _sum(factor * (after - before), factor * (np.abs(after) + np.abs(before)), 4)
    laplace = _laplace(factors.laplace, before, after, to)
    found: dict[str, tuple[Number | None, Number]] = {
        "chamfer": (None, chamfer(factors, after, to, u)),
        "edge": (None, _edge(factors.edge, after, to)),
        "laplace": (_negative(laplace), laplace),
        "move": (_negative(move), move),
    }
    if to.normals is not None:
        found["normal"] = (None, _normal(factors.normal, after, to, u))
    return found


def _sum(
    value: np.ndarray,
    magnitude: np.ndarray,
    roundings: int,
    error: np.ndarray | float = 0.0,
    undecided: np.ndarray | float = 0.0,
) -> Number:
    """An open sum whose terms have these magnitudes together and pass so many roundings."""
    size = np.broadcast_to(np.asarray(magnitude, np.float64), value.shape)
    return Number(value, error, size, roundings, undecided=undecided)


def _negative(found: Number) -> Number:
    return replace(found, value=-found.value)


def _laplace(weight: float, before: np.ndarray, after: np.ndarray, to: Measured) -> Number:
    """At the output mesh; at the input it is the negative."""
    count = len(after)
    rows = np.repeat(np.arange(count), to.neighbours.shape[1])
    columns = to.neighbours.ravel()
    there = columns < count
    weights = np.repeat(1.0 / to.degrees, to.neighbours.shape[1])[there]
    around = sp.csr_array((weights, (rows[there], columns[there])), shape=(count, count))
    factor = 2.0 * weight / count
    way = after - before
    sizes = np.abs(after) + np.abs(before)
    change, size = way - around @ way, sizes + around @ sizes
    value = factor * (change - around.T @ change)
    return _sum(value, factor * (size + around.T @ size), 2 * to.neighbours.shape[1] + 12)


def _edge(weight: float, mesh: np.ndarray, to: Measured) -> Number:
    first, second = to.pairs.T
    factor = 2.0 * weight / len(to.pairs)
    edges = factor * (mesh[first] - mesh[second])
    sizes = np.where(first[:, None] == second[:, None], 0.0,
                     factor * (np.abs(mesh[first]) + np.abs(mesh[second])))  # fmt: skip
    return _at_ends(edges, sizes, to.pairs, len(mesh), 6)


def _at_ends(
    edges: np.ndarray,
    sizes: np.ndarray,
    pairs: np.ndarray,
    count: int,
    roundings: int,
    error: np.ndarray | None = None,
    undecided: np.ndarray | None = None,
) -> Number:
    """Gradients (n, 3) of edges at their first vertices, their negatives at their second."""
    ones, every = np.ones(len(pairs)), np.arange(len(pairs))
    start, end = (sp.csr_array((ones, (side, every)), shape=(count, len(pairs)))
                  for side in pairs.T)  # fmt: skip
    most = int(2 * np.bincount(pairs[:, 0], minlength=count).max())
    loose, open_ = (0.0 if each is None else (start + end) @ each for each in (error, undecided))
    value = start @ edges - end @ edges
    return _sum(value, (start + end) @ sizes, most + roundings, loose, open_)


def _normal(weight: float, mesh: np.ndarray, to: Measured, u: float) -> Number:
    """Through the absolute cosine of each edge with the normal at its first vertex."""
    assert to.normals is not None
    nearest = _nearest(mesh, to.points, np.abs(mesh), u)
    unit = _unit(to.normals[nearest.index])
    first, second = to.pairs.T
    edges = mesh[first] - mesh[second]
    squares = np.square(edges).sum(axis=1, keepdims=True)
    long = squares > SQUARE_FLOOR
    inverse = 1.0 / np.sqrt(np.maximum(squares, SQUARE_FLOOR))
    direction, normal = edges * inverse, unit[first]
    slope = (normal * direction).sum(axis=1, keepdims=True)
    factor = weight / len(to.pairs)
    value = factor * np.sign(slope) * inverse * (normal - np.where(long, slope, 0.0) * direction)
    alone = (first == second)[:, None]
    # An edge is off by a rounding of its ends, which turns it by that share of its length.
    turned = (np.abs(mesh[first]) + np.abs(mesh[second])).sum(axis=1, keepdims=True) * inverse
    error = np.where(alone, 0.0, u * factor * inverse * (16.0 + 6.0 * turned))
    error = np.broadcast_to(error, value.shape)
    # A cosine within rounding of zero may have either sign; so may one whose normal may be another.
    either = (np.abs(slope) <= u * (16.0 + 4.0 * turned)) & ~alone & (slope != 0)
    doubtful = (nearest.open[first])[:, None]
    undecided = np.where((either | doubtful) & ~alone, 2.0 * factor * inverse, 0.0)
    undecided = np.broadcast_to(undecided, value.shape)
    sizes = np.where(alone, 0.0, np.abs(value) + factor * inverse * np.abs(slope * direction))
    value = np.where(alone, 0.0, value)
    return _at_ends(value, sizes, to.pairs, len(mesh), 16, error, undecided)


def _unit(vectors: np.ndarray) -> np.ndarray:
    squares = np.square(vectors).sum(axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.sqrt(np.maximum(squares, SQUARE_FLOOR))
    return unit


CHAMFER_PATHS = {
    "samples": "from the samples to the vertices",
    "points": "a point's distance to its nearest ground truth",
    "truths": "a ground truth's distance to its nearest point",
}
"""Ways that gradients of the chamfer term take."""


def chamfer(
    factors: LossFactors, mesh: np.ndarray, to: Measured, u: float, left_out: str = ""
) -> Number:
    """The chamfer term's gradient at the output mesh, one of ``CHAMFER_PATHS`` left out."""
    root = np.sqrt(to.r1)
    shares = np.stack([1.0 - root, root * (1.0 - to.r2), root * to.r2], axis=1)
    count, samples = len(mesh), len(to.triangles)
    rows = np.repeat(np.arange(samples), 3)
    sampling = sp.csr_array((shares.ravel(), (rows, to.triangles.ravel())), shape=(samples, count))
    everywhere = sp.csr_array(sp.vstack([sp.eye_array(count), sampling]))
    points, sizes = everywhere @ mesh, everywhere @ np.abs(mesh)
    ahead = _nearest(points, to.points, sizes, u)
    back = _nearest(to.points, points, sizes, u, of_targets=True)
    by_point = (
        0.0 if left_out == "points" else 2.0 * factors.chamfer * factors.backward / len(points)
    )
    by_truth = 0.0 if left_out == "truths" else 2.0 * factors.chamfer / len(to.points)
    value = by_point * (points - to.points[ahead.index])
    size = by_point * (sizes + np.abs(to.points[ahead.index]))
    error = 8.0 * u * size
    undecided = np.repeat(by_point * ahead.doubt[:, None], 3, axis=1)
    matching = sp.csr_array(
        (np.ones(len(to.points)), (back.index, np.arange(len(to.points)))),
        shape=(len(points), len(to.points)),
    )
    value += by_truth * (matching @ (points[back.index] - to.points))
    size += by_truth * (matching @ (sizes[back.index] + np.abs(to.points)))
    error += 8.0 * u * by_truth * (matching @ (sizes[back.index] + np.abs(to.points)))
    for query, other in back.alternatives:
        near = np.abs(points[back.index[query]] - to.points[query])
        undecided[other] += by_truth * np.abs(points[other] - to.points[query])
        undecided[back.index[query]] += by_truth * near
    most = int(np.diff(matching.indptr).max()) + int(np.diff(everywhere.tocsc().indptr).max())
    spread = everywhere.T
    if left_out == "samples":
        value[count:], size[count:], error[count:], undecided[count:] = 0.0, 0.0, 0.0, 0.0
    return _sum(spread @ value, spread @ size, most + 10, spread @ error, spread @ undecided)


@dataclass(frozen=True, eq=False)
class _Nearest:
    """Nearest targets of some points.

    Attributes:
        index: (N,).
        open: (N,), whether rounding may have decided for another.
        doubt: (N,), how far the other is from the nearest.
        alternatives: pairs of a point and another target that may be its nearest.
    """

    index: np.ndarray
    open: np.ndarray
    doubt: np.ndarray
    alternatives: Sequence[tuple[int, int]]


def _nearest(
    points: np.ndarray,
    targets: np.ndarray,
    sizes: np.ndarray,
    u: float,
    of_targets: bool = False,
) -> _Nearest:
    """The nearest of ``targets`` (M, 3) for ``points`` (N, 3).

    ``sizes``: the magnitudes of what was rounded, of the points or, with ``of_targets``, of the
    targets: a rounding of them moves a squared distance by twice it times the distance.
    """
    if not (np.isfinite(points).all() and np.isfinite(targets).all()):
        nobody = np.zeros(len(points), np.int64)
        return _Nearest(nobody, np.zeros(len(points), bool), np.zeros(len(points)), ())
    some = min(CANDIDATES, len(targets))
    found = KDTree(targets).query(points, k=some)[1].reshape(len(points), -1)
    differences = points[:, None] - targets[found]
    x, y, z = (differences[..., axis] for axis in range(3))
    squares = (x * x + y * y) + z * z
    least = squares.min(axis=1, keepdims=True)
    index = np.where(squares == least, found, len(targets)).min(axis=1)
    rounded = sizes[found].max(axis=(1, 2)) if of_targets else sizes.max(axis=1)
    reach = CLOSE * u * (least[:, 0] + 2.0 * rounded * np.sqrt(least[:, 0]))
    # A target at the very same place is the same, whichever is taken, but for its normal; the first
    # of exactly equal ones is taken by all.
    close = (squares - least <= reach[:, None]) & (found != index[:, None])
    apart = np.abs(targets[found] - targets[index][:, None]).max(axis=2)
    close &= apart > 0
    rows, columns = np.nonzero(close)
    doubt = np.where(close, apart, 0.0).max(axis=1)
    pairs = [(int(row), int(found[row, column])) for row, column in zip(rows, columns, strict=True)]
    return _Nearest(index, close.any(axis=1), doubt, pairs)


def _wide(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).astype(np.float32).astype(np.float64)
