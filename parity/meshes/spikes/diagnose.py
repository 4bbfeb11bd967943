"""Where a spike comes from: every vertex's path through all taps of a run.

Three ways to name the place, the strongest evidence first: a row that is not what the tap's own
inputs give (``runs``); the tap up to which a reference's values remove the spike (``patching``);
the first tap at which the vertex leaves its neighbourhood.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inputs.cameras import project
from inputs.files import Float64, Int64
from network.registry import network_of
from network.taps import MESH
from parity.meshes.spikes.explain import groups_of, share_between
from parity.meshes.spikes.patching import Patched, Patching
from parity.meshes.spikes.replay import Replay, vertex_taps
from parity.meshes.spikes.residuals import residuals_of
from parity.meshes.spikes.runs import DEPARTED, Taken
from parity.meshes.spikes.topology import REGULAR, Topology, topology_of
from parity.traces.record import RunInputs

DIAGNOSIS_SCHEMA = "p2m-parity-spike-diagnosis/1"

LEFT = 5.0
"""Robust z-score at which a vertex has left its neighbourhood.

Of Gaussian scores of all vertices at 68 taps, one in twenty runs has one so large by chance.
"""

MOST = 0.5
"""Share of a tap's rows that differ from a reference beyond which no single one is to blame."""

# Half the spread of a Gaussian that the median absolute deviation is.
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Origin:
    """Where the worst spike begins: ``vertex`` is −1 where a tap has no row a vertex."""

    tap: str
    vertex: int
    how: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was found; ``report`` is the JSON, ``scores`` and ``shares`` are (vertices, taps)."""

    report: dict[str, Any]
    vertices: Int64
    taps: list[str]
    scores: Float64
    shares: Float64 | None


class Neighbourhood:
    """The mesh around the diagnosed vertices, as far as a run has rows of it."""

    def __init__(self, inputs: RunInputs, replayed: Int64 | None = None) -> None:
        """``replayed``: in the refine stage the vertices that the run has rows of."""
        template = inputs.template
        self.topologies = [
            topology_of(faces, len(table))
            for faces, table in zip(template.faces, template.laplace, strict=True)
        ]
        self.whole: Topology = self.topologies[-1]
        self._replayed = replayed

    def around(self, vertices: Sequence[int], rings: int = 2) -> Int64:
        """The vertices within so many edges of some, they themselves included, ascending."""
        found = np.zeros(self.whole.vertices)
        found[list(vertices)] = 1.0
        for _ in range(rings):
            found = found + self.whole.adjacency @ found
        return np.flatnonzero(found).astype(np.int64)

    def departures(self, rows: Float64) -> tuple[Int64, Float64]:
        """How far each vertex's row is from the mean of its neighbours' rows.

        Args:
            rows: (n, C), all vertices of a level, or the replayed ones.

        Returns:
            The vertices whose neighbours are all there, and their distances.
        """
        if self._replayed is None:
            topology = next(each for each in self.topologies if each.vertices == len(rows))
            away = np.linalg.norm(rows - topology.neighbour_mean(rows), axis=1)
            return np.arange(len(rows)), away
        place = np.full(self.whole.vertices, -1)
        place[self._replayed] = np.arange(len(self._replayed))
        adjacency = self.whole.adjacency[self._replayed][:, self._replayed]
        complete = np.asarray(adjacency.sum(axis=1)).ravel() == self.whole.degrees[self._replayed]
        means = (adjacency @ rows) / self.whole.degrees[self._replayed, None]
        away = np.linalg.norm(rows - means, axis=1)
        return self._replayed[complete], away[complete]

    def scores(self, rows: Float64) -> dict[int, float]:
        """Robust z-scores of these distances, by vertex.

        Centre and spread are those of the vertices with six neighbours, where there are any: on
        the initial mesh the others are too many for the median to pass them over.
        """
        vertices, away = self.departures(rows)
        usual = away[self.whole.degrees[vertices] == REGULAR]
        usual = usual if len(usual) else away
        middle = np.median(usual)
        spread = _MAD_TO_SIGMA * np.median(np.abs(usual - middle))
        if spread == 0:
            spread = np.finfo(np.float64).tiny
        scores = (away - middle) / spread
        return dict(zip(vertices.tolist(), scores.tolist(), strict=True))

    def umbrella(self, vertices: Int64, mesh: Float64) -> Callable[[Float64], Float64]:
        """Residual vectors of some vertices from output rows, the rest as in ``mesh``."""
        replayed = self._replayed

        def vectors(rows: Float64) -> Float64:
            whole = rows
            if replayed is not None:
                whole = mesh.copy()
                whole[replayed] = rows
            return np.asarray((whole - self.whole.neighbour_mean(whole))[vertices])

        return vectors


def worst_vertices(mesh: Float64, topology: Topology, most: int) -> Int64:
    """The spikes of a mesh, the largest residuals first; where it has none, the largest ones."""
    found = residuals_of(mesh, topology)
    order = np.argsort(-found.relative, kind="stable")
    chosen = order[found.spiky[order]]
    return (chosen if len(chosen) else order)[:most].astype(np.int64)


def diagnose(
    run: Taken,
    inputs: RunInputs,
    mesh: Float64,
    vertices: Int64,
    around: Neighbourhood,
    reference: Taken | None = None,
    on_run: Callable[[], Any] | None = None,
) -> Diagnosis:
    """Trace some vertices of a run.

    Args:
        run: the run, taken apart.
        inputs: what it read.
        mesh: (V, 3) its output, float64.
        vertices: which vertices, the worst first.
        around: the mesh around them.
        reference: a run to patch from.
        on_run: told every patched run.
    """
    replay = run.replay
    stage = replay.stage
    taps = vertex_taps(stage)
    by_tap = {tap: replay.by_vertex(run.values[tap]) for tap in taps}
    scored = {tap: around.scores(rows) for tap, rows in by_tap.items()}
    scores = np.array(
        [[scored[tap].get(vertex, np.nan) for tap in taps] for vertex in vertices.tolist()]
    )
    patched: list[Patched] | None = None
    if reference is not None:
        umbrella = around.umbrella(vertices, mesh)
        names = [row.name for row in network_of(stage).taps]
        patching = Patching(run, reference, umbrella)
        patched = patching.of(range(len(vertices)), names, on_run)
    residuals = residuals_of(mesh, around.whole)
    rows = []
    for place, vertex in enumerate(vertices.tolist()):
        left = [tap for tap, score in zip(taps, scores[place], strict=True) if score > LEFT]
        row = {
            "vertex": vertex,
            "level": int(around.whole.levels[vertex]),
            "neighbours": int(around.whole.degrees[vertex]),
            "spike": bool(residuals.spiky[vertex]),
            "residual": float(residuals.lengths[vertex]),
            "residual_vector": residuals.vectors[vertex].tolist(),
            "left_at": left[0] if left else None,
            "path": [_at_tap(tap, vertex, by_tap[tap], scored[tap], replay) for tap in taps],
            "projections": _projections(stage, inputs, run, vertex),
        }
        if patched is not None:
            row["patched"] = asdict(patched[place])
        rows.append(row)
    origin = _origin(run, reference, patched, rows)
    report = {
        "schema": DIAGNOSIS_SCHEMA,
        "stage": stage,
        "origin": None if origin is None else asdict(origin),
        "spikes": int(residuals.spiky.sum()),
        "departed": [asdict(each) for each in run.departed[:50]],
        "explained_by_taps": _explained(replay, by_tap, residuals.lengths),
        "vertices": rows,
    }
    shares = None
    if patched is not None:
        shares = np.array([[each.single[tap] for tap in taps] for each in patched])
    return Diagnosis(report, vertices, taps, scores, shares)


def _explained(
    replay: Replay, by_tap: Mapping[str, Float64], lengths: Float64
) -> list[dict[str, Any]]:
    """Per tap what its rows' norms, at their deciles, explain of the output's residuals.

    Of the vertices that the tap has; only where a run has the rows of all.
    """
    if replay.some:
        return []
    found = []
    for tap, rows in by_tap.items():
        groups = groups_of(np.linalg.norm(rows, axis=1), continuous=True)
        found.append({"tap": tap, "r2": share_between(lengths[: len(rows)], groups)})
    return found


def _row_of(vertex: int, replay: Replay, count: int) -> int | None:
    """The row of a vertex in a tap, or None where it is not there (yet)."""
    if not replay.some:
        return vertex if vertex < count else None
    at = np.flatnonzero(replay.vertices == vertex)
    return int(at[0]) if len(at) else None


def _at_tap(
    tap: str,
    vertex: int,
    rows: Float64,
    scores: Mapping[int, float],
    replay: Replay,
) -> dict[str, Any]:
    row = _row_of(vertex, replay, len(rows))
    norm = None if row is None else float(np.linalg.norm(rows[row]))
    return {"tap": tap, "norm": norm, "score": scores.get(vertex)}


def _projections(stage: str, inputs: RunInputs, run: Taken, vertex: int) -> list[dict[str, Any]]:
    """Where the vertex falls on each view at each projection, and the maps' cells read there."""
    found = []
    for row in network_of(stage).taps:
        if not row.is_projection:
            continue
        parent = row.parents[0]
        if parent == MESH:
            values = np.asarray(inputs.mesh, np.float64)
        else:
            values = run.values[parent].double().numpy()
        if values.ndim == 3:
            # The hypotheses' centre, the first, is the vertex itself.
            values = values[:, 0]
        at = _row_of(vertex, run.replay, len(values))
        if at is None:
            continue
        for view, pixel in enumerate(project(values[[at]], inputs.item.cameras)[:, 0]):
            cells = [
                [int(h // size), int(w // size)]
                for size in row.settings["scales"]
                for h, w in [pixel]
            ]
            found.append({"tap": row.name, "view": view, "pixel": pixel.tolist(), "cells": cells})
    return found


def _origin(
    run: Taken,
    reference: Taken | None,
    patched: Sequence[Patched] | None,
    rows: Sequence[Mapping[str, Any]],
) -> Origin | None:
    """Name the place where the worst spike begins."""
    if run.departed:
        first = run.departed[0]
        how = "the row is not what the tap's own inputs give"
        if run.replay.row(first.tap).is_projection:
            how += "; at a projection a pixel within rounding of a cell's border does that too"
        return Origin(first.tap, first.vertex, how)
    if reference is not None and patched is not None:
        for each, row in zip(patched, rows, strict=True):
            if each.bisected is not None:
                vertex = row_behind(run, reference, each.bisected, row["vertex"])
                return Origin(
                    each.bisected, vertex, "the reference's values up to it remove the spike"
                )
    for row in rows:
        if row["left_at"] is not None:
            return Origin(row["left_at"], row["vertex"], "the vertex leaves its neighbourhood")
    return None


def row_behind(run: Taken, reference: Taken, tap: str, spike: int) -> int:
    """The vertex whose row of a tap differs most from the reference's; −1 for the image network.

    Where most rows differ, as between two sets of weights, that says nothing: then the spike's own.
    """
    replay = run.replay
    if replay.row(tap).is_map:
        return -1
    difference = replay.by_vertex(run.values[tap] - reference.values[tap])
    largest = np.abs(difference).max(axis=1)
    scale = float(reference.values[tap].abs().max())
    if (largest > DEPARTED * scale).mean() > MOST:
        return spike
    return replay.vertex_of(int(largest.argmax()))
