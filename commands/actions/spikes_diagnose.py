"""What ``spikes diagnose`` does."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from commands.console import Steps, print_json, steps, tell
from commands.loading import load_sources
from commands.weights import read_weights
from inputs.files import Float64, Int64
from network.registry import network_of
from parity.meshes.spikes.diagnose import Neighbourhood, diagnose, worst_vertices
from parity.meshes.spikes.replay import Replay
from parity.meshes.spikes.runs import Taken, is_trace, take_apart, trace_output, trace_values
from parity.meshes.spikes.self_check import self_check
from parity.traces.probe import probe
from parity.traces.record import RunInputs
from parity.traces.sources import Sources
from reports.tables import spikes_diagnosis
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet


def perform(
    weights: Path,
    item: Path,
    views: str,
    template: Path | None,
    hypotheses: Path | None,
    mesh: Path | None,
    stage: str | None,
    recorded: Path | None,
    reference: Path | None,
    chosen: tuple[int, ...],
    most: int,
    self_check: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Trace the spiky vertices of a run through all taps, and name where they begin."""
    loaded = read_weights(weights)
    if stage is not None and loaded.stage != stage:
        raise InputError(weights, f"weights of the {loaded.stage} stage", f"the {stage} stage")
    if out is None and self_check is None:
        raise InputError("--out", "not given", "a folder for the diagnosis")
    probe(*(path for path in (recorded, reference) if path is not None and is_trace(path)))
    sources = load_sources(item, views, template, hypotheses, mesh, stages=(loaded.stage,))
    inputs = sources.of(loaded.stage)
    tell(inputs.notes)
    with steps() as progress:
        if self_check is not None:
            return _self_check(inputs, loaded, self_check, progress, as_json)
        around, output, vertices, run = _run(inputs, loaded, recorded, chosen, most, progress)
        other = None
        if reference is not None:
            with progress.task("the reference's run"):
                other = _reference(reference, sources, loaded, run.replay)
        with progress.task("tracing") as task:
            found = diagnose(run, inputs, output, vertices, around, other, task.advance)
        sources_of_run = {
            "weights": str(weights),
            "item": str(item),
            "trace": None if recorded is None else str(recorded),
            "reference": None if reference is None else str(reference),
        }
        found.report.update(sources_of_run)
        assert out is not None
        with progress.task("pictures"), staging(out, last="diagnosis.json") as folder:
            reason = spikes_diagnosis.write(found, output, inputs.template.faces[-1], folder)
    if as_json:
        print_json(found.report)
        return 0
    for line in spikes_diagnosis.lines(found.report):
        click.echo(line)
    if reason:
        click.echo(f"no rendering: {reason}")
    click.echo(f"written: {out / 'diagnosis.md'}")
    return 0


def _run(
    inputs: RunInputs,
    weights: WeightSet,
    recorded: Path | None,
    chosen: tuple[int, ...],
    most: int,
    progress: Steps,
) -> tuple[Neighbourhood, Float64, Int64, Taken]:
    """The run under diagnosis, its output, and which of its vertices are traced."""
    stage = inputs.stage
    whole = Neighbourhood(inputs)
    with progress.task("the run's output"):
        output = trace_output(recorded, stage) if recorded else _output(inputs, weights)
    if not np.isfinite(output).all():
        raise InputError("the run", "its output mesh is not finite", "finite coordinates")
    vertices = np.array(chosen, dtype=np.int64)
    if not len(vertices):
        vertices = worst_vertices(output, whole.whole, most)
    around, rows = whole, None
    if network_of(stage).vertexwise:
        rows = whole.around(vertices.tolist())
        around = Neighbourhood(inputs, rows)
    with progress.task("its taps"):
        replay = Replay(inputs, weights.arrays, rows)
        values = replay.run() if recorded is None else trace_values(recorded, replay)
        run = take_apart(replay, values)
    return around, output, vertices, run


def _output(inputs: RunInputs, weights: WeightSet) -> Float64:
    from torch_impl.backend import factory

    mesh = factory(inputs.stage).run(inputs.mapping(), weights.arrays, None)
    return np.asarray(mesh, dtype=np.float64)


def _reference(path: Path, sources: Sources, weights: WeightSet, replay: Replay) -> Taken:
    """A run to patch from, on the same vertices."""
    inputs = sources.of(replay.stage)
    if is_trace(path):
        values = trace_values(path, replay)
        return Taken(replay, values, {}, [])
    other = read_weights(path)
    if other.stage != weights.stage:
        raise InputError(path, f"weights of the {other.stage} stage", f"the {weights.stage} stage")
    rows = replay.vertices if network_of(replay.stage).vertexwise else None
    theirs = Replay(inputs, other.arrays, rows)
    return Taken(theirs, theirs.run(), {}, [])


def _self_check(
    inputs: RunInputs, weights: WeightSet, count: int, progress: Steps, as_json: bool
) -> int:
    rows = None
    if network_of(inputs.stage).vertexwise:
        rows = np.sort(np.random.default_rng(0).choice(len(inputs.mesh), 64, replace=False))
    found = []
    with progress.task("planted causes", count) as task:
        for planted in self_check(Replay(inputs, weights.arrays, rows), count):
            found.append(planted)
            task.advance()
    named = sum(each.named for each in found)
    if as_json:
        report: dict[str, Any] = {
            "stage": inputs.stage,
            "planted": count,
            "named": named,
            "places": [{**vars(each), "named": each.named} for each in found],
        }
        print_json(report)
    else:
        for each in found:
            words = "named" if each.named else f"NOT named: {each.by_inputs}, {each.by_patching}"
            click.echo(f"{each.tap}, vertex {each.vertex}: {words}")
        click.echo(f"{named} of {count} planted causes named, tap and vertex")
    return int(named != count)
