"""Finding the move and the scale that carry one set of points onto another.

Nothing is known of which point belongs to which, nor of how far the two frames are apart. So the
search begins everywhere, with the rotations that match the principal axes and a grid over all
rotations, and refines the promising ones by closest points in both directions, first on few points
and then on all. Every step is deterministic.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from inputs.files import Float64
from parity.meshes.similarity import Similarity

_MOST = 10_000  # points of either set that are used; of more, as many drawn with a fixed seed
_FEW, _SOME = 320, 1500  # points of either set for the search, and for its refinement
_GRID = 1200  # rotations; none is farther than about 25° from one of them
_SCORED, _TRIED, _REFINED, _JUDGED = 48, 16, 8, 3  # moves that each round passes on
_FEW_STEPS, _MORE_STEPS, _SOME_STEPS, _ALL_STEPS = 6, 15, 40, 60
_SAME_MOVE = 0.05  # moves that part no point by more than this share of the size are one
_STILL = 2e-5  # a step that moves points by less than this share of the size is the last
_STRAY = 6.0  # matches so many times farther than the median one are spikes and do not count
_HOPELESS = 0.05  # a distance, of size 1, that no shape has from its own sampled points
_OPEN = 1.3  # a move that fits worse than this factor is not refined on all points
_FLYING, _CLEARINGS = 3.0, 10  # points beyond so many radii are left out, round after round
_PERFECT = 1.5  # times the spacing of the points: no other move can fit much better than that
_MIRRORED_GAIN = 2.0  # how much better a mirror image must fit before it is believed
_AS_GOOD = 1.1  # a rival that fits within this factor leaves the move undecided

# Alexa, "Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3)", 2022.
_PHI, _PSI = np.sqrt(2.0), 1.533751168755204288118041


@dataclass(frozen=True, eq=False)
class Registration:
    """What was found.

    Attributes:
        move: carries the source onto the target.
        distance: mean squared distance to the nearest point of the other set, target to source
            plus source to target, after the move, in squared units of the target.
        rival: the best other move of the same handedness that fits nearly as well, where there is
            one: the shape is then (nearly) symmetric and the move one of several.
    """

    move: Similarity
    distance: float
    rival: Similarity | None


def register(source: npt.ArrayLike, target: npt.ArrayLike) -> Registration | None:
    """The similarity that carries ``source`` onto ``target`` best.

    Best is the least sum of the two mean squared distances to the nearest point of the other set.
    Mirror images are searched as well, but a mirroring move is the answer only where it fits twice
    as well as every rigid one with scale: most objects nearly equal their mirror image.

    The closest points are matched in both directions, which keeps the scale from collapsing; each
    step is the least-squares similarity of the matched pairs (Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", 1991).

    Args:
        source: (N, 3) finite points, spread evenly over a surface where they can be.
        target: (M, 3) finite points.

    Returns:
        The move, or None where either set has no extent and nothing can be said.
    """
    sets = _Sets.of(source, target)
    if sets is None:
        return None
    fits = _finish(sets, _search(sets))
    if fits[0].distance > _PERFECT * _spacing(sets):
        mirror = sets.mirrored()
        mirrored = _search(mirror)
        if mirrored[0].distance * _OPEN < fits[0].distance:
            mirrored = _finish(mirror, mirrored)
        if mirrored[0].distance * _MIRRORED_GAIN < fits[0].distance:
            flip = Similarity(_FLIP, 1.0, np.zeros(3))
            fits = [_Fit(flip.then(fit.move), fit.distance) for fit in mirrored]
    moves = [sets.from_source.then(fit.move).then(sets.from_target.inverse()) for fit in fits]
    rival = moves[1] if len(fits) > 1 and fits[1].distance <= _AS_GOOD * fits[0].distance else None
    return Registration(moves[0], fits[0].distance / sets.from_target.scale**2, rival)


_FLIP = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class _Fit:
    """A move between the normalised sets, and what `Registration.distance` is for it."""

    move: Similarity
    distance: float


@dataclass(frozen=True, eq=False)
class _Sets:
    """Both sets around the origin with root mean square radius 1, in a shuffled order."""

    source: Float64
    target: Float64
    from_source: Similarity
    from_target: Similarity

    @classmethod
    def of(cls, source: npt.ArrayLike, target: npt.ArrayLike) -> "_Sets | None":
        normal = [_normalised(np.asarray(points, np.float64)) for points in (source, target)]
        if normal[0] is None or normal[1] is None:
            return None
        return cls(normal[0][0], normal[1][0], normal[0][1], normal[1][1])

    def mirrored(self) -> "_Sets":
        return _Sets(self.source @ _FLIP, self.target, self.from_source, self.from_target)

    def first(self, count: int) -> "_Sets":
        return _Sets(self.source[:count], self.target[:count], self.from_source, self.from_target)


def _normalised(points: Float64) -> tuple[Float64, Similarity] | None:
    """Points around the origin with radius 1, those that fly far away left out; None for a dot."""
    kept = points
    for _ in range(_CLEARINGS):
        centre = kept.mean(axis=0)
        squares = np.sum((kept - centre) ** 2, axis=1)
        radius = float(np.sqrt(squares.mean()))
        if radius <= 1e-12 * float(np.abs(points).max()):
            return None
        near = squares <= (_FLYING * radius) ** 2
        if near.all():
            break
        kept = kept[near]
    shuffled = kept[np.random.default_rng(0).permutation(len(kept))[:_MOST]]
    move = Similarity(np.eye(3), 1.0 / radius, -centre / radius)
    return move.apply(shuffled), move


def _spacing(sets: _Sets) -> float:
    """About the distance of two sets drawn from one surface: that of each set from itself."""
    found = [cKDTree(points).query(points, k=2)[0] for points in (sets.source, sets.target)]
    return float(sum(np.mean(distances[:, 1] ** 2) for distances in found))


def _search(sets: _Sets) -> list[_Fit]:
    """Rigid moves with scale that fit well, none twice, the best first.

    They were found on some of the points and judged on all: only those tell a shape from its near
    symmetries.
    """
    few, some = sets.first(_FEW), sets.first(_SOME)
    starts = np.concatenate([_axes_matched(sets), _rotation_grid()])
    scores = [_matrix_distance(few, rotation) for rotation in starts]
    order = np.argsort(scores, kind="stable")
    moves = [Similarity(starts[number], 1.0, np.zeros(3)) for number in order[:_SCORED]]
    fits = [_closest_points_few(few, move, _FEW_STEPS) for move in moves]
    fits = _distinct(fits, few)[:_TRIED]
    fits = [_closest_points_few(few, fit.move, _MORE_STEPS) for fit in fits]
    fits = _distinct(fits, few)[:_REFINED]
    closest = _ClosestPoints(some)
    fits = [closest.refine(fit.move, _SOME_STEPS) for fit in fits]
    closest = _ClosestPoints(sets)
    return _distinct([_Fit(fit.move, closest.distance(fit.move)) for fit in fits], some)


def _finish(sets: _Sets, fits: list[_Fit]) -> list[_Fit]:
    """The best fits, refined on all points where that can make out anything."""
    if fits[0].distance > _HOPELESS:
        return fits
    closest = _ClosestPoints(sets)
    best = [fit for fit in fits[:_JUDGED] if fit.distance <= _OPEN * fits[0].distance]
    return _distinct(
        [closest.refine(fit.move, _ALL_STEPS, trim=True) for fit in best], sets.first(_SOME)
    )


def _axes_matched(sets: _Sets) -> Float64:
    """The (24, 3, 3) rotations that carry principal axes onto principal axes, in any order."""
    frames = [np.linalg.eigh(points.T @ points)[1] for points in (sets.source, sets.target)]
    found = []
    for order, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        rotation = frames[1] @ np.diag(signs)[list(order)] @ frames[0].T
        if np.linalg.det(rotation) > 0:
            found.append(rotation)
    return np.array(found)


def _rotation_grid() -> Float64:
    """(_GRID, 3, 3) rotations, spread evenly over all."""
    step = np.arange(_GRID) + 0.5
    share = step / _GRID
    first, second = 2 * np.pi * step / _PHI, 2 * np.pi * step / _PSI
    x, y = np.sqrt(share) * np.sin(first), np.sqrt(share) * np.cos(first)
    z, w = np.sqrt(1 - share) * np.sin(second), np.sqrt(1 - share) * np.cos(second)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def _distinct(fits: Iterable[_Fit], sets: _Sets) -> list[_Fit]:
    """The fits from the best to the worst, without those that nearly repeat a better one."""
    found: list[_Fit] = []
    for fit in sorted(fits, key=lambda fit: fit.distance):
        if all(_parted(fit.move, other.move, sets) > _SAME_MOVE for other in found):
            found.append(fit)
    return found


def _parted(one: Similarity, other: Similarity, sets: _Sets) -> float:
    """Root mean square distance of a point moved by one and by the other; the size is about 1."""
    gap = one.apply(sets.source) - other.apply(sets.source)
    return float(np.sqrt(np.mean(np.sum(gap**2, axis=1))))


def _matrix_distance(sets: _Sets, rotation: Float64) -> float:
    squares = _squares(sets.source @ rotation.T, sets.target)
    return float(squares.min(axis=0).mean() + squares.min(axis=1).mean())


def _squares(moved: Float64, target: Float64) -> npt.NDArray[np.float32]:
    """(N, M) squared distances in one product of matrices: good enough to search by."""
    ones = np.ones((len(moved), 1)), np.ones((len(target), 1))
    lengths = [np.sum(points**2, axis=1, keepdims=True) for points in (moved, target)]
    left = np.concatenate([-2.0 * moved, lengths[0], ones[0]], axis=1)
    right = np.concatenate([target, ones[1], lengths[1]], axis=1)
    squares: npt.NDArray[np.float32] = left.astype(np.float32) @ right.astype(np.float32).T
    return squares


def _closest_points_few(sets: _Sets, move: Similarity, steps: int) -> _Fit:
    """Refine by closest points, found in the matrix of all distances."""
    distance = np.inf
    for _ in range(steps):
        squares = _squares(move.apply(sets.source), sets.target)
        distance = float(squares.min(axis=0).mean() + squares.min(axis=1).mean())
        better = _least_squares(sets, squares.argmin(axis=1), squares.argmin(axis=0))
        if better is None:
            break
        move = better
    return _Fit(move, distance)


@dataclass(frozen=True, eq=False)
class _Matches:
    """Closest points of both directions, and how far they are.

    Attributes:
        forward: (N,) index into the target for each point of the source, and its distance.
        backward: (M,) index into the source for each point of the target, and its distance.
    """

    forward: tuple[Any, Float64]
    backward: tuple[Any, Float64]

    @property
    def distance(self) -> float:
        return float(np.mean(self.forward[1] ** 2) + np.mean(self.backward[1] ** 2))

    def near(self) -> tuple[Any, Any]:
        """Which matches count: not those of spikes, which match nothing."""
        cut = [_STRAY * np.median(far) for _, far in (self.forward, self.backward)]
        return self.forward[1] <= cut[0], self.backward[1] <= cut[1]


class _ClosestPoints:
    """Refinement by closest points in both directions, each found in a tree that stays."""

    def __init__(self, sets: _Sets) -> None:
        self._sets = sets
        self._source, self._target = cKDTree(sets.source), cKDTree(sets.target)

    def distance(self, move: Similarity) -> float:
        return self._matched(move).distance

    def refine(self, move: Similarity, steps: int, *, trim: bool = False) -> _Fit:
        """Closest points until they stay the same, ``steps`` times at most."""
        matches = self._matched(move)
        for _ in range(steps):
            near = matches.near() if trim else (None, None)
            better = _least_squares(self._sets, matches.forward[0], matches.backward[0], near)
            if better is None:
                break
            before, move = move, better
            matches = self._matched(move)
            if _parted(before, move, self._sets) <= _STILL:
                break
        return _Fit(move, matches.distance)

    def _matched(self, move: Similarity) -> _Matches:
        there, forward = self._target.query(move.apply(self._sets.source))
        back, backward = self._source.query(move.inverse().apply(self._sets.target))
        return _Matches((forward, there), (backward, move.scale * back))


def _least_squares(
    sets: _Sets, forward: Any, backward: Any, near: tuple[Any, Any] = (None, None)
) -> Similarity | None:
    """The similarity that brings matched points closest, each direction counting the same.

    Args:
        sets: the points.
        forward: (N,) index into the target for each point of the source.
        backward: (M,) index into the source for each point of the target.
        near: (N,) and (M,), which of them count; all by default.

    Returns:
        None where the pairs fix no scale.
    """
    first = np.concatenate([sets.source, sets.source[backward]])
    second = np.concatenate([sets.target[forward], sets.target])
    sizes = len(sets.source), len(sets.target)
    weights = np.repeat([0.5 / sizes[0], 0.5 / sizes[1]], sizes)
    if near[0] is not None:
        weights = weights * np.concatenate(near)
        weights /= weights.sum()
    centres = weights @ first, weights @ second
    first, second = first - centres[0], second - centres[1]
    left, stretch, right = np.linalg.svd((second * weights[:, None]).T @ first)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    spread = float(weights @ np.sum(first**2, axis=1))
    scale = float(stretch @ signs) / spread if spread > 0 else 0.0
    if not scale > 1e-6:
        return None
    rotation = (left * signs) @ right
    return Similarity(rotation, scale, centres[1] - scale * (rotation @ centres[0]))
