"""What ``coverage`` does."""

from pathlib import Path
from typing import Any

import click

from commands.console import print_json, steps, tell
from commands.loading import backend_choice, load_sources, load_stages
from commands.options import by_stage
from network.registry import network_of
from network.weights import STAGES
from parity.oracle.context import Context
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, predict, record
from parity.traces.trace import open_trace
from parity.verdict import coverage_cache
from parity.verdict.coverage import measured
from parity.verdict.traced import TracedRun
from weight_conversion.atomic import scratch_folder
from weight_conversion.formats import WeightSet


def perform(
    stage: str,
    weights: tuple[Path, ...],
    backend: str,
    metagraph: tuple[str, ...],
    store: Path | None,
    as_json: bool,
    **sources: Any,
) -> None:
    """What an item and weights can tell of STAGE, or both: measured once, then kept."""
    stages = STAGES if stage == "both" else (stage,)
    loaded = load_stages(weights, stages)
    given = load_sources(**sources, stages=stages)
    tell(given.notes)
    graphs = by_stage("--metagraph", metagraph)
    found: dict[str, Any] = {}
    mesh = None
    with steps() as progress:
        for name in stages:
            inputs = given.of(name, mesh)
            choice = backend_choice(backend, name, graphs)
            with progress.task(f"{name} on {backend}", len(network_of(name).taps)) as task:
                key, found[name] = _found(choice, inputs, loaded[name], task.advance)
            coverage_cache.store(key, found[name])
            if store is not None:
                coverage_cache.store(key, found[name], store)
            if given.mesh is None and any(network_of(each).follows == name for each in stages):
                mesh = predict(choice, inputs, loaded[name])
    if as_json:
        print_json(found if stage == "both" else found[stage])
        return
    for name, value in found.items():
        for title, number in value["perturbed"].items():
            told = ", ".join(number) or "none" if isinstance(number, list) else number
            click.echo(f"{name}: {title}: {told}")
        for line in value["findings"]:
            click.echo(f"{name}: {line}")


def _found(
    choice: BackendChoice, inputs: RunInputs, weights: WeightSet, advance: Any
) -> tuple[str, dict[str, Any]]:
    """The probe's hash and what it can tell, measured on a float64 run where it is not known."""
    context = Context.of(inputs.stage, inputs.arrays(), weights.arrays)
    key = coverage_cache.key_of(context)
    known = coverage_cache.load(key)
    if known is not None:
        return key, known
    with scratch_folder() as folder:
        path = folder / "run.h5"
        record(choice, inputs, weights, path, dtype="float64", on_tap=advance)
        with open_trace(path) as trace:
            return key, measured(TracedRun(trace), context)
