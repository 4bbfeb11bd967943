"""``trace``: record one run."""

from pathlib import Path
from typing import Any

import click

from commands.console import steps
from commands.options import (
    PATH,
    backend_choice,
    by_stage,
    input_options,
    load_sources,
    load_stages,
    loss_options,
    run_options,
    weights_option,
)
from network.registry import network_of
from network.weights import STAGES
from parity.traces.record import record


@click.command("trace")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--backend", required=True, help="torch, tf, metagraph, onnx or module:factory.")
@weights_option
@input_options
@run_options
@loss_options
@click.option("--taps", default="*", help="Record only taps that match this glob.")
@click.option("--out", type=PATH, required=True, help="Trace file to write (.h5).")
def command(
    stage: str,
    backend: str,
    weights: tuple[Path, ...],
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    taps: str,
    gradients: bool,
    no_float64: bool,
    out: Path,
    **sources: Any,
) -> None:
    """Record one run of STAGE."""
    loaded = load_stages(weights, (stage,))[stage]
    inputs = load_sources(**sources, stages=(stage,)).of(stage)
    choice = backend_choice(backend, stage, by_stage("--metagraph", metagraph))
    total = len(network_of(stage).taps)
    with steps() as progress, progress.task(f"{stage} on {backend}", total) as task:
        record(
            choice, inputs, loaded, out,
            dtype=dtype, device=device, taps=taps, gradients=gradients, float64=not no_float64,
            on_tap=task.advance,
        )  # fmt: skip
    click.echo(f"{out}")
