"""What ``trace`` does."""

from pathlib import Path
from typing import Any

import click

from commands.console import steps, tell
from commands.loading import backend_choice, load_inputs, load_stages
from commands.options import by_stage
from network.registry import network_of
from parity.traces.record import record


def perform(
    stage: str,
    backend: str,
    weights: tuple[Path, ...],
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    taps: str,
    gradients: bool,
    no_float64: bool,
    vertices: int | None,
    out: Path,
    inputs: Path | None,
    **sources: Any,
) -> None:
    """Record one run of STAGE."""
    loaded = load_stages(weights, (stage,))[stage]
    given = load_inputs((stage,), inputs, **sources).of(stage)
    tell(given.notes)
    choice = backend_choice(backend, stage, by_stage("--metagraph", metagraph))
    total = len(network_of(stage).taps)
    with steps() as progress, progress.task(f"{stage} on {backend}", total) as task:
        record(
            choice, given, loaded, out,
            dtype=dtype, device=device, taps=taps, gradients=gradients, float64=not no_float64,
            vertices=vertices, on_tap=task.advance,
        )  # fmt: skip
    click.echo(f"{out}")
