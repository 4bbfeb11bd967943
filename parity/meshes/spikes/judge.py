"""One mesh judged: spikes, what they have in common, health."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inputs.files import Float64, Int64
from inputs.ground_truth import GroundTruth
from inputs.item import Item
from inputs.meshes import load_mesh
from inputs.template import Template
from inputs.unlikely import mesh_notes
from network.levels import FACES, VERTICES
from parity.meshes.spikes.explain import explain, from_positions, known_beforehand, rows_of
from parity.meshes.spikes.health import health_of
from parity.meshes.spikes.residuals import (
    Residuals,
    by_level,
    degree_mode_of,
    free_degree_mode_of,
    residuals_of,
)
from parity.meshes.spikes.topology import Topology, topology_of
from weight_conversion.errors import InputError

SPIKES_SCHEMA = "p2m-parity-spikes/1"


@dataclass(frozen=True, eq=False)
class MeshSource:
    """A mesh to judge.

    Attributes:
        name: what it is called in reports.
        vertices: (V, 3), camera frame of view 0.
        faces: (F, 3), or None where the file has none.
    """

    name: str
    vertices: Float64
    faces: Int64 | None


@dataclass(frozen=True, eq=False)
class Judged:
    """A mesh with all that was found: ``report`` is the JSON's entry."""

    source: MeshSource
    topology: Topology
    residuals: Residuals
    report: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Against:
    """What a mesh is held against: the template it came from, its item, its ground truth.

    ``notes`` say what is legal in the last two and unlikely to be meant.
    """

    template: Template
    template_given: bool
    item: Item | None = None
    ground_truth: GroundTruth | None = None
    notes: tuple[str, ...] = ()


def judge(source: MeshSource, against: Against) -> Judged:
    """Judge one mesh.

    Raises:
        InputError: it has no triangles and another number of vertices than the template's levels,
            or its triangles are no closed surface.
    """
    topology, notes = _topology(source, against)
    notes += against.notes
    if against.item is not None:
        notes += mesh_notes(source.name, source.vertices, against.item.cameras)
    residuals = residuals_of(source.vertices, topology)
    start = _start(topology, against.template)
    if start is None:
        words = "the template given" if against.template_given else "the project's own template"
        notes.append(f"place on the template unknown: the triangles are not those of {words}")
    cameras = None if against.item is None else against.item.cameras.astype(np.float64)
    truth = None
    if against.ground_truth is not None:
        truth = against.ground_truth.points.astype(np.float64)
    beforehand = known_beforehand(topology, start, against.item)
    afterwards = from_positions(residuals, topology, against.item, truth)
    mode, _ = free_degree_mode_of(residuals, topology)
    about_origin = degree_mode_of(residuals, topology)
    report: dict[str, Any] = {
        "schema": SPIKES_SCHEMA,
        "mesh": source.name,
        "vertices": topology.vertices,
        "faces": len(topology.faces),
        "notes": notes,
        "spikes": int(residuals.spiky.sum()),
        "spike_rate": float(residuals.spiky.mean()),
        "by_level": by_level(residuals, topology),
        "by_neighbours": _by_neighbours(residuals, topology),
        "explained_by": rows_of(explain(residuals, beforehand)),
        "explained_by_positions": rows_of(explain(residuals, afterwards)),
        "degree_mode": {
            "strength": mode.strength,
            "r2": mode.r2,
            "irregular": mode.vertices,
            "fixed_point": None if mode.fixed_point is None else list(mode.fixed_point),
            "about_origin": {"strength": about_origin.strength, "r2": about_origin.r2},
        },
        "health": health_of(residuals, topology, cameras),
        "spiky_vertices": np.flatnonzero(residuals.spiky).tolist(),
    }
    return Judged(source, topology, residuals, report)


def _topology(source: MeshSource, against: Against) -> tuple[Topology, list[str]]:
    """Connectivity, from the file's triangles or the template's."""
    count = len(source.vertices)
    notes = []
    faces = source.faces
    if faces is None:
        if count not in VERTICES:
            raise InputError(
                source.name,
                f"{count} vertices and no triangles",
                f"triangles, or {', '.join(map(str, VERTICES))} vertices",
            )
        faces = against.template.faces[VERTICES.index(count)]
        words = "given" if against.template_given else "the project's own; see --template"
        notes.append(f"no triangles in the file: those of the template are taken ({words})")
    try:
        topology = topology_of(faces, count)
    except InputError as error:
        raise InputError(source.name, str(error)) from error
    if topology.note and count != VERTICES[0]:
        notes.append(f"levels unknown, all vertices counted as level 0: {topology.note}")
    elif count == VERTICES[2] and len(topology.unpooling) != 2:
        notes.append("the triangles come from another number of unpoolings than two")
    return topology, notes


def _start(topology: Topology, template: Template) -> Float64 | None:
    """The initial mesh's vertices where the mesh's triangles are the template's, else None."""
    known = dict(zip(FACES, template.faces, strict=True)).get(len(topology.faces))
    if known is None or not np.array_equal(_sorted(known), _sorted(topology.faces)):
        return None
    return np.asarray(template.coordinates, dtype=np.float64)


def _sorted(faces: Int64) -> Int64:
    rows = np.sort(faces, axis=1)
    return rows[np.lexsort(rows.T[::-1])]


def _by_neighbours(found: Residuals, topology: Topology) -> list[dict[str, Any]]:
    """Per number of neighbours: vertices, spikes, median residual and mean vector."""
    rows = []
    for number in np.unique(topology.degrees):
        here = topology.degrees == number
        rows.append(
            {
                "neighbours": int(number),
                "vertices": int(here.sum()),
                "spikes": int(found.spiky[here].sum()),
                "median_residual": float(np.median(found.lengths[here])),
                "mean_residual_vector": found.vectors[here].mean(axis=0).tolist(),
                "support_row_defect": float(np.median(topology.row_defect[here])),
            }
        )
    return rows


def source_of(path: Path) -> MeshSource:
    """Read a mesh file.

    Raises:
        InputError: it cannot be read, or is no mesh.
    """
    mesh = load_mesh(path)
    return MeshSource(str(path), mesh.vertices.astype(np.float64), mesh.faces)
