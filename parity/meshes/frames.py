"""Whether a mesh and its ground truth are in the same frame, and if not, what lies between."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.cameras import OBJECT_TO_WORLD, camera_from_row
from inputs.files import Float64
from inputs.ground_truth import GroundTruth
from inputs.sampling import draw, points_on
from parity.meshes.losses import TANGLED, Surface, chamfer, stretch
from parity.meshes.registration import Registration, register
from parity.meshes.similarity import Similarity

MISMATCH = 10.0
"""A move that divides the chamfer by this much shows that the frames differ."""

_SPREAD = 10_000  # points drawn on the mesh for the registration
_LARGEST = 4.0  # times the median triangle: a larger one is drawn as often as one of this size
_ROUNDING = 2.0**-22  # of the greatest coordinate: distances of this size are float32's rounding
_ALIKE = 0.02  # moves that part the mesh by no more than this share of its size are the same


@dataclass(frozen=True, eq=False)
class Frame:
    """What moving a mesh onto its ground truth does to the chamfer.

    Attributes:
        before: the chamfer as it is, unweighted.
        after: the chamfer of the same points after the best move found.
        registration: that move, from the mesh to the ground truth.
        name: what the move is, where it is a known one; else empty.
        misfit: root of the chamfer after the move, as a share of the ground truth's diagonal.
        rounding: a chamfer up to this is nothing but float32's rounding of the coordinates.
    """

    before: float
    after: float
    registration: Registration
    name: str
    misfit: float
    rounding: float

    @property
    def mismatch(self) -> bool:
        return self.before > self.rounding and self.before >= MISMATCH * self.after

    @property
    def reduction(self) -> float:
        return self.before / self.after if self.after > 0 else np.inf

    def to_json(self) -> dict[str, Any]:
        rival = self.registration.rival
        return {
            "mismatch": self.mismatch,
            "chamfer_before": self.before,
            "chamfer_after": self.after,
            "move": self.registration.move.to_json(),
            "misfit_after": self.misfit,
            "known_as": self.name,
            "rival": None if rival is None else rival.to_json(),
        }


def check_frame(
    mesh: Float64,
    surface: Surface,
    points: Float64,
    truth: GroundTruth,
    cameras: npt.ArrayLike | None = None,
) -> Frame | None:
    """Search for a rigid move with scale that carries the mesh onto the ground truth.

    Args:
        mesh: (V, 3).
        surface: its triangles.
        points: (N, 3), the points of its chamfer term.
        truth: the ground truth.
        cameras: (K, 5) camera rows of the item, the first view's first, to name the move by.

    Returns:
        None where the mesh or the ground truth has no extent.
    """
    found = register(_spread(mesh, surface), truth.points)
    if found is None:
        return None
    greatest = max(np.abs(points).max(), np.abs(truth.points).max())
    after = chamfer(found.move.apply(points), truth.points)
    diagonal = float(np.linalg.norm(np.ptp(truth.points.astype(np.float64), axis=0)))
    return Frame(
        before=chamfer(points, truth.points),
        after=after,
        registration=found,
        name="" if cameras is None else name_of(found.move, mesh, cameras),
        misfit=float(np.sqrt(after)) / diagonal,
        rounding=float(_ROUNDING * greatest) ** 2,
    )


def _spread(mesh: Float64, surface: Surface) -> Float64:
    """Points spread over the mesh by area; its vertices where its triangles are not its own.

    Few on very large triangles: those of a spike outgrow all others, and lie on no object.
    """
    corners = mesh[surface.faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(crosses, axis=1)
    positive = areas[areas > 0]
    if len(positive) == 0 or stretch(mesh, surface) > TANGLED:
        return mesh
    ends = np.cumsum(np.minimum(areas, _LARGEST * np.median(positive)))
    numbers = draw(np.random.default_rng(0), _SPREAD)
    face = np.searchsorted(ends / ends[-1], numbers.place, side="right").astype(np.int64)
    return points_on(mesh, surface.faces, face, numbers.r1, numbers.r2)


def name_of(move: Similarity, mesh: Float64, cameras: npt.ArrayLike) -> str:
    """What a move from the mesh to the ground truth means, if it is one that is easily forgotten.

    Args:
        move: carries the mesh onto the ground truth.
        mesh: (V, 3), before the move.
        cameras: (K, 5) camera rows of the item, the first view's first.

    Returns:
        A clause such as "the mesh is in the object's frame"; empty for any other move.
    """
    moved = move.apply(mesh)
    size = np.linalg.norm(np.ptp(moved, axis=0))
    for name, known in _known_moves(np.asarray(cameras)):
        for candidate, words in (
            (known, "the mesh is in"),
            (known.inverse(), "the ground truth is in"),
        ):
            if np.linalg.norm(candidate.apply(mesh) - moved, axis=1).max() <= _ALIKE * size:
                return f"{words} {name}"
    return ""


def _known_moves(cameras: npt.NDArray[Any]) -> Iterator[tuple[str, Similarity]]:
    """Moves to the first view's camera frame, from frames by their names."""
    views = [camera_from_row(row) for row in cameras]
    first = views[0]
    home = -first.rotation @ first.position
    world = Similarity(first.rotation, 1.0, home)
    scale = Similarity(np.eye(3), OBJECT_TO_WORLD, np.zeros(3))
    yield "the object's frame", scale.then(world)
    yield f"the world frame (the object's times {OBJECT_TO_WORLD})", world
    yield (
        f"the first view's frame without the object's scale of {OBJECT_TO_WORLD}",
        world.inverse().then(scale).then(world),
    )
    for ordinal, view in zip(("second", "third"), views[1:], strict=False):
        from_view = Similarity(view.rotation.T, 1.0, view.position)
        yield f"the camera frame of the {ordinal} view", from_view.then(world)
    yield (
        "the axes of OpenCV's cameras (Y down, Z forward)",
        Similarity(np.diag([1.0, -1.0, -1.0]), 1.0, np.zeros(3)),
    )
