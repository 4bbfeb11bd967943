"""The data behind the interactive page of one comparison, in JSON's own types.

Numbers of taps are the very entries of ``report.json``; beside them stand the samples of the
traces, the source lines, and the meshes. It is also written as ``samples.json``, from which the
page above several comparisons takes it.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import taps_of
from parity.oracle.chunks import MOST_WORKERS
from parity.traces.trace import TraceReader, open_trace
from parity.verdict.result import Comparison, TapResult, jsonable
from reports import wording
from reports.figures.scene import drawable, vertex_distance
from reports.meshes import Meshes, mean_edge_length
from reports.page.encoding import packed
from reports.page.entries import layer_of, short_entry, shown_entries
from reports.page.layers import short_name
from reports.page.samples import tap_sample
from reports.page.sources import excerpts
from reports.text.message import find, label, message

Advance = Callable[[str], None]


def payload(
    comparison: Comparison,
    *,
    meshes: Meshes | None = None,
    traces: tuple[Path, Path] | None = None,
) -> dict[str, Any]:
    """What the page's script shows of ``comparison``.

    ``traces`` are the reference's and the candidate's, to take samples from; without them the
    numbers stand alone.

    Raises:
        InputError: a trace cannot be read.
    """
    first = find(comparison, comparison.first_divergence)
    entries = shown_entries(comparison)
    value: dict[str, Any] = jsonable(
        {
            "stage": wording.printable(comparison.stage),
            "sides": [
                wording.printable(side.backend)
                for side in (comparison.reference, comparison.candidate)
            ],
            "first": next((i for i, entry in enumerate(entries) if entry is first), None),
            "entries": [_entry(comparison, entry) for entry in entries],
            "sources": {},
            "samples": [],
            "mesh": None,
        }
    )
    _add_sources(value, comparison)
    vertices = 0
    if meshes is not None and _drawable(meshes):
        vertices = len(meshes.reference)
        value["mesh"] = _mesh(meshes)
    if traces is not None:
        with ExitStack() as stack:
            reference, candidate = (stack.enter_context(open_trace(path)) for path in traces)
            value["samples"] = _samples(reference, candidate, comparison, vertices)
            if value["mesh"] is not None:
                _add_vertices(value["mesh"], reference, candidate, comparison)
    return value


def _samples(
    reference: TraceReader, candidate: TraceReader, comparison: Comparison, vertices: int
) -> list[dict[str, Any] | None]:
    """What there is to show of each tap; a thread a core goes through them."""
    work = partial(tap_sample, reference, candidate, vertices=vertices)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_WORKERS)) as pool:
        return list(pool.map(work, comparison.taps))


def _entry(comparison: Comparison, entry: TapResult) -> dict[str, Any]:
    rows = {row.name: row for row in taps_of(comparison.stage)}
    row = rows.get(entry.tap)
    return {
        **vars(entry),
        # Names are for people here; nothing looks anything up by them.
        "tap": wording.printable(entry.tap),
        "note": wording.printable(entry.note),
        "cause": wording.printable(getattr(entry, "cause", "")),
        "label": wording.printable(label(comparison, entry)),
        "short": short_name(row) if row else short_entry(comparison.stage, entry.tap),
        "message": message(comparison, entry),
        "parents": list(row.parents) if row else [],
        "layer": "" if row else layer_of(comparison.stage, entry.tap),
        "tensor": row.metagraph_tensor if row else "",
        "module": row.module if row else "",
    }


def _add_sources(value: dict[str, Any], comparison: Comparison) -> None:
    """Each function's lines once, and for each entry and side the keys of its functions: those of
    a tap, or of the layer that a gradient or step is about.
    """  # noqa: D205 - one sentence
    backends = comparison.reference.backend, comparison.candidate.backend
    rows = {row.name: row for row in taps_of(comparison.stage)}
    known: dict[str, list[list[str]]] = {}
    for entry, shown in zip(shown_entries(comparison), value["entries"], strict=True):
        tap = shown["layer"] or entry.tap
        if tap in rows and tap not in known:
            known[tap] = []
            for backend in backends:
                found = {f"{each.file}:{each.first}": each for each in excerpts(backend, rows[tap])}
                known[tap].append(list(found))
                value["sources"].update((key, jsonable(vars(each))) for key, each in found.items())
        shown["sources"] = known.get(tap, [])


def _drawable(meshes: Meshes) -> bool:
    """Whether the two meshes are of one shape and their triangles name vertices that exist."""
    shape, faces = meshes.reference.shape, meshes.faces
    return (
        shape == meshes.candidate.shape
        and len(shape) == 2
        and shape[1] == 3
        and faces.ndim == 2
        and faces.shape[1] == 3
        and bool(faces.size)
        and int(faces.min()) >= 0
        and int(faces.max()) < shape[0]
    )


def _mesh(meshes: Meshes) -> dict[str, Any]:
    distance, unit = vertex_distance(meshes)
    spikes = meshes.reference_spikes, meshes.candidate_spikes
    return {
        "unit": unit,
        "edge": mean_edge_length(meshes.reference, meshes.faces),
        "vertices": [_points(side) for side in (meshes.reference, meshes.candidate)],
        "faces": packed(meshes.faces, "<i4"),
        "distance": packed(np.where(np.isfinite(distance), distance, np.nan), "<f4"),
        "spikes": [None if found is None else packed(found, "u1") for found in spikes],
        "unpooling": [],
        "positions": {},
    }


def _points(vertices: NDArray[Any]) -> str:
    return packed(np.where(drawable(vertices)[:, None], vertices, np.nan), "<f4")


def _add_vertices(
    mesh: dict[str, Any], reference: TraceReader, candidate: TraceReader, comparison: Comparison
) -> None:
    """Where the vertices were at each layer that holds coordinates, and who their parents are."""
    rows = taps_of(comparison.stage)
    for name in dict.fromkeys(row.constants["pairs"] for row in rows if "pairs" in row.constants):
        if reference.has("inputs", name):
            pairs = reference.array("inputs", name)
            if pairs.ndim == 2 and pairs.shape[1] == 2:
                mesh["unpooling"].append(packed(pairs, "<i4"))
    for index, tap in enumerate(comparison.taps):
        if len(tap.shape) == 2 and tap.shape[1] == 3 and tap.max_abs is not None:
            mesh["positions"][str(index)] = [
                _points(side.array("taps", tap.tap)) for side in (reference, candidate)
            ]
