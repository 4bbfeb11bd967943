"""``run``: trace, trace, compare and report in one."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from commands.console import print_json, steps
from commands.options import (
    PATH,
    backend_choice,
    by_stage,
    figures_option,
    input_options,
    load_sources,
    load_stages,
    loss_options,
    run_options,
    unmatched_option,
    weights_option,
)
from commands.pairs import Settings, run_stage, run_stages
from commands.reporting import show
from commands.staging import staging
from network.weights import STAGES
from parity.training.steps import Training
from reports.tables.summary import Part, summary_json, worse
from reports.write import write_summary
from weight_conversion.errors import InputError


@click.command("run")
@click.argument("stage", type=click.Choice([*STAGES, "both"]))
@weights_option
@input_options
@run_options
@loss_options
@click.option("--reference", default="tf", show_default=True, help="Backend taken as right.")
@click.option("--candidate", default="torch", show_default=True, help="Backend that is judged.")
@click.option("--reference-device", help="Device of the reference; --device by default.")
@click.option("--taps", default="*", help="Record and compare only taps that match this glob.")
@unmatched_option
@click.option("--steps", "training_steps", type=click.IntRange(1), metavar="N",
              help="Train both sides N steps from the weights and compare after each.")  # fmt: skip
@click.option("--learning-rate", type=float, default=1e-5, show_default=True,
              help="Of --steps.")  # fmt: skip
@click.option("--keep-traces", is_flag=True,
              help="Keep both sides' traces beside the report (9 GB for both stages).")  # fmt: skip
@figures_option
@click.option("--out", type=PATH, required=True, help="Folder for the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
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
    training_steps: int | None,
    learning_rate: float,
    keep_traces: bool,
    figures: bool,
    out: Path,
    as_json: bool,
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
        training=None if training_steps is None else Training(training_steps, learning_rate),
        keep_traces=keep_traces,
        figures=figures,
    )
    commands = [shlex.join(["p2m-parity", *sys.argv[1:]])]
    if training_steps is not None and sources["ground_truth"] is None:
        raise InputError("--steps", "given without --ground-truth", "both, to train towards")
    both = load_sources(**sources, stages=stages)
    with steps() as progress, staging(out) as folder:
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
