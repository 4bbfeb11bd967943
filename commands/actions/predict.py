"""What ``predict`` does."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from commands.console import steps, tell
from commands.loading import backend_choice, load_sources
from commands.options import by_stage
from commands.weights import read_weights
from inputs.meshes import save_obj
from parity.traces.record import predict
from weight_conversion.errors import InputError
from weight_conversion.stages import load_by_stage


def perform(
    weights: tuple[Path, ...],
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    backend: str,
    out: Path,
    **sources: Any,
) -> None:
    """Predict the mesh of one item: coarse, refined, or refined from --mesh."""
    if out.suffix != ".obj":
        raise InputError(out, f"ending {out.suffix!r}", ".obj")
    stages = load_by_stage(weights, read_weights)
    both = load_sources(**sources)
    tell(both.notes)
    graphs = by_stage("--metagraph", metagraph)
    mesh: np.ndarray | None = None
    with steps() as progress:
        for stage, loaded in stages.items():
            inputs = both.of(stage, mesh)
            choice = backend_choice(backend, stage, graphs)
            with progress.task(f"{stage} on {backend}"):
                mesh = predict(choice, inputs, loaded, dtype, device)
    save_obj(out, np.asarray(mesh), both.template.faces[-1])
    click.echo(f"{out}")
