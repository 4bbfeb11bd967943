"""What ``run`` does."""

import shlex
import sys
from pathlib import Path
from typing import Any

from commands.console import print_json, steps
from commands.loading import backend_choice, load_inputs, load_stages
from commands.options import by_stage
from commands.pairs import Settings, check_ports, run_stage, run_stages
from commands.reporting import show
from network.registry import network_of
from network.weights import STAGES
from parity.traces.by_vertices import some_windows
from parity.training.steps import Training
from reports.tables.summary import Part, summary_json, worse
from reports.write import REPORT, result_files, write_summary
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError


def perform(
    stage: str,
    weights: tuple[Path, ...],
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    reference: str,
    candidate: str,
    reference_device: str | None,
    taps: str,
    unmatched: dict[str, str],
    gradients: bool,
    no_float64: bool,
    vertices: int | None,
    training_steps: int | None,
    learning_rate: float,
    keep_traces: bool,
    figures: bool,
    out: Path,
    as_json: bool,
    inputs: Path | None,
    **sources: Any,
) -> int:
    """Run STAGE, or both, on two backends and report."""
    stages = STAGES if stage == "both" else (stage,)
    loaded = load_stages(weights, stages)
    graphs = by_stage("--metagraph", metagraph)
    settings = Settings(
        reference={name: backend_choice(reference, name, graphs) for name in stages},
        candidate={name: backend_choice(candidate, name, graphs) for name in stages},
        dtype=dtype,
        devices=(reference_device or device, device),
        taps=taps,
        unmatched=unmatched,
        gradients=gradients,
        float64=not no_float64,
        vertices=vertices,
        training=None if training_steps is None else Training(training_steps, learning_rate),
        keep_traces=keep_traces,
        figures=figures,
    )
    commands = [shlex.join(["p2m-parity", *sys.argv[1:]])]
    for name in [each for each in stages if network_of(each).vertexwise] or stages:
        some_windows(name, vertices, gradients)  # refused before anything is run
    if training_steps is not None and sources["ground_truth"] is None:
        raise InputError("--steps", "given without --ground-truth", "both, to train towards")
    both = load_inputs(stages, inputs, **sources)
    # The first stage's are made before anything is run, but for what only their training asks.
    for name in stages if training_steps is not None else stages[1:]:
        check_ports(name, both, settings)
    with steps() as progress, staging(out, result_files("", *STAGES), REPORT) as folder:
        if stage != "both":
            comparison, _ = run_stage(
                stage, both, loaded[stage], settings, folder, out, progress, commands
            )
            comparisons = {stage: comparison}
        else:
            comparisons = run_stages(
                stages, both, loaded, settings, folder, out, progress, commands
            )
            parts = [Part(name, found, name) for name, found in comparisons.items()]
            write_summary(parts, folder, commands=commands)
    parts = [Part(name, found, name) for name, found in comparisons.items()]
    if as_json:
        print_json(summary_json(parts) if stage == "both" else comparisons[stage].to_json())
    else:
        for name, found in comparisons.items():
            show(found, out / name if stage == "both" else out)
    return worse([found.verdict for found in comparisons.values()]).exit_status
