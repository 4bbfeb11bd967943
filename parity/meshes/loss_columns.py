"""The table of losses: one column a mesh, measured against the ground truth of its item."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.files import Float64, Int64
from inputs.graphs import edges_of
from inputs.ground_truth import GroundTruth
from inputs.sampling import Draw
from inputs.template import Template
from network.levels import VERTICES
from parity.meshes.frames import Frame, check_frame
from parity.meshes.loss_weights import TERMS, TableWeights
from parity.meshes.losses import (
    TANGLED,
    MeshLosses,
    Samples,
    Surface,
    measured_points,
    mesh_losses,
    stretch,
    surface_of,
    unpooled,
)
from weight_conversion.errors import InputError

LOSSES_SCHEMA = "p2m-parity-losses/1"


@dataclass(frozen=True, eq=False)
class Before:
    """The mesh that entered the last block, for the Laplace term: (V, 3), and where it is from."""

    mesh: npt.NDArray[Any]
    source: str


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mesh to be measured.

    Attributes:
        item: name of the object that it shall show.
        name: name of the implementation that made it.
        source: file or run, in words.
        mesh: (V, 3), camera frame of the first view.
        faces: (F, 3) its own triangles, if it has any.
        before: the mesh before the last block, if it is known.
    """

    item: str
    name: str
    source: str
    mesh: npt.NDArray[Any]
    faces: Int64 | None = None
    before: Before | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """An item's ground truth, where it is from, and its (K, 5) cameras where they are known."""

    points: GroundTruth
    source: str
    cameras: npt.NDArray[Any] | None = None

    @property
    def described(self) -> str:
        count = f"{len(self.points.points):,} points"
        if self.points.normals is None:
            return f"{self.source}, {count} without normals"
        zero = int((~self.points.normals.any(axis=1)).sum())
        return f"{self.source}, {count} with normals" + (f", {zero:,} of them zero" if zero else "")


@dataclass(frozen=True, eq=False)
class Sampling:
    """Which points stand beside the vertices in the chamfer term.

    Attributes:
        described: in words.
        draw: numbers that decide the points, the same for every mesh.
        given: samples from a file, by the level of the mesh that they are for.
    """

    described: str
    draw: Draw | None = None
    given: dict[int, Samples] = field(default_factory=dict)

    def on(self, where: object, mesh: Float64, surface: Surface) -> Samples | None:
        """The samples of one mesh; None where only vertices count.

        Raises:
            InputError: the mesh has no area, or the file has no samples for a mesh of its size.
        """
        if self.draw is not None:
            return Samples.drawn(where, mesh, surface, self.draw)
        if not self.given:
            return None
        level = VERTICES.index(len(mesh)) if len(mesh) in VERTICES else -1
        found = self.given.get(level)
        if found is None or found.face.max() >= len(surface.faces):
            raise InputError(
                where,
                f"has {len(mesh):,} vertices and {len(surface.faces):,} triangles",
                f"a mesh that the samples of {self.described} are for",
            )
        return found


@dataclass(frozen=True, eq=False)
class Column:
    """One measured mesh.

    ``frame`` is None where it was not checked or could not be; where it is another than the ground
    truth's, ``moved`` has the losses after the move found. ``before`` says which mesh the Laplace
    term starts from.
    """

    item: str
    name: str
    source: str
    vertices: int
    surface: Surface
    truth: str
    before: str
    losses: MeshLosses
    frame: Frame | None
    moved: MeshLosses | None

    def to_json(self, weights: TableWeights) -> dict[str, Any]:
        values = self.losses.values
        return {
            "item": self.item,
            "implementation": self.name,
            "mesh": self.source,
            "vertices": self.vertices,
            "connections": self.surface.source,
            "pairs": len(self.surface.pairs),
            "remarks": self.surface.remarks,
            "ground_truth": self.truth,
            "before": self.before or None,
            "terms": dict(values),
            "chamfer": None if values["chamfer"] is None else weights.chamfer * values["chamfer"],
            "edge": values["edge"],
            "normal": values["normal"],
            "laplace": values["laplace"],
            "all": weights.total(values),
            "all_lacks": weights.lacking(values),
            "all_without_these": weights.partial(values),
            "reasons": dict(self.losses.reasons),
            "frame": None if self.frame is None else self.frame.to_json(),
            "terms_after_move": None if self.moved is None else dict(self.moved.values),
        }


@dataclass(frozen=True, eq=False)
class LossTable:
    """All columns, in order, and what they have in common.

    ``notes`` say what is legal in the inputs and unlikely to be meant.
    """

    columns: tuple[Column, ...]
    weights: TableWeights
    points: str
    frames_checked: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": LOSSES_SCHEMA,
            "weights": {"name": self.weights.name, **{t: self.weights.of(t) for t in TERMS}},
            "all": self.weights.formula,
            "points": self.points,
            "frames_checked": self.frames_checked,
            "notes": self.notes,
            "columns": [column.to_json(self.weights) for column in self.columns],
        }


def measure(
    candidate: Candidate,
    truth: Truth,
    template: Template,
    *,
    template_given: bool,
    sampling: Sampling,
    frames: bool = True,
) -> Column:
    """One column of the table.

    Raises:
        InputError: the mesh's connections are not known, the mesh before has another size, or the
            samples are not for this mesh.
    """
    where = candidate.source
    mesh = candidate.mesh.astype(np.float64)
    surface = surface_of(where, len(mesh), candidate.faces, template, template_given)
    stretched = stretch(mesh, surface)
    if stretched > TANGLED:
        remark = (
            f"its edges are {stretched:.3g} times as long as the way to the nearest vertex, as on "
            f"triangles that are not its own (--template names others): samples, Edge, Normal and "
            "Laplace mean nothing then"
        )
        surface = replace(surface, remarks=(*surface.remarks, remark))
    before, described = _before(candidate, surface, template)
    points = measured_points(mesh, surface, sampling.on(where, mesh, surface))
    frame = check_frame(mesh, surface, points, truth.points, truth.cameras) if frames else None
    moved = None
    if frame is not None and frame.mismatch:
        move = frame.registration.move.apply
        start = None if before is None else move(before)
        moved = mesh_losses(move(mesh), surface, move(points), truth.points, start)
    return Column(
        item=candidate.item,
        name=candidate.name,
        source=where,
        vertices=len(mesh),
        surface=surface,
        truth=truth.described,
        before=described,
        losses=mesh_losses(mesh, surface, points, truth.points, before),
        frame=frame,
        moved=moved,
    )


def _before(
    candidate: Candidate, surface: Surface, template: Template
) -> tuple[Float64 | None, str]:
    if candidate.before is None:
        return None, ""
    given, count = candidate.before, len(candidate.mesh)
    if len(given.mesh) == count:
        return given.mesh.astype(np.float64), given.source
    mesh = None
    if count in VERTICES:
        # Only the template knows which edges a lower level's new vertices come from.
        faces = template.faces[VERTICES.index(count)]
        if np.array_equal(edges_of(surface.faces), edges_of(faces)):
            mesh = unpooled(given.mesh.astype(np.float64), count, template)
    if mesh is None:
        expected = f"the {count:,} vertices of {candidate.source}"
        if count in VERTICES and len(given.mesh) in VERTICES:
            expected += ", or --template, to unpool it"
        raise InputError(given.source, f"has {len(given.mesh):,} vertices", expected)
    return mesh, f"{given.source}, unpooled from {len(given.mesh):,} vertices"


def repeated(columns: Sequence[Candidate]) -> str:
    """The name of a column that occurs twice in an item; else empty."""
    seen: set[tuple[str, str]] = set()
    for column in columns:
        if (column.item, column.name) in seen:
            return f"{column.item}/{column.name}"
        seen.add((column.item, column.name))
    return ""
