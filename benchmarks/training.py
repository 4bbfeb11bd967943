"""Seconds of a loss with all its gradients, and of a training step: torch, tf, the exported graph.

``python -m benchmarks.training [--json]``. The contenders take turns in one process, two threads
each, on the demo's plane from seeded weights, the image encoder trained along but in ``frozen``.
The exported graph's gradients are TensorFlow's own of the graph's own operations, the loss term
itself not fetched; it has no training step, as its training part was not exported with it.
"""

import json
import statistics
from pathlib import Path
from typing import Any

import click

from benchmarks.forward import THREADS, Forward, measure, plane, ratio
from commands.console import steps
from network.registry import network_of
from network.weights import STAGES

# isort: split
import torch

from inputs.seeded import seeded_weights
from parity.training.trainers import TrainerSettings, resumable_trainer
from torch_impl.backend import TorchBackend

RATIOS = {
    "metagraph_over_torch": ("metagraph", "torch"),
    "tf_over_torch": ("tf", "torch"),
    "tf_step_over_torch_step": ("tf_step", "torch_step"),
    "torch_step_over_torch": ("torch_step", "torch"),
    "torch_step_over_frozen": ("torch_step", "torch_step_frozen"),
}
"""Names of the ratios, and whose seconds are divided by whose."""


def contenders(stage: str, metagraphs: Path) -> dict[str, Forward]:
    """Name to a call that computes a loss with all gradients, or takes a step."""
    inputs, weights = plane(stage), seeded_weights(stage)
    mapping = {**inputs.mapping(), "sampling_seed": 0}
    ours = TorchBackend(stage, "float32", "cpu")
    found: dict[str, Forward] = {"torch": lambda: ours.gradients(mapping, weights)}
    for name, backend, frozen in (
        ("torch_step", "torch", False),
        ("torch_step_frozen", "torch", True),
        ("tf_step", "tf", False),
    ):
        settings = TrainerSettings(frozen_cnn=frozen)
        found[name] = resumable_trainer(backend, "cpu", inputs, weights, settings).step
    from tf_reference.backend import factory
    from tf_reference.metagraph import load_metagraph

    samples = ours.evaluate(mapping, weights).samples
    given = {**mapping, "samples": samples}
    theirs = factory(stage, "float32", "cpu")
    found["tf"] = lambda: theirs.gradients(given, weights)
    graph = metagraphs / network_of(stage).graph
    if graph.is_file():
        exported = load_metagraph(graph, stage, "float32")
        found["metagraph"] = lambda: exported.gradients(given, weights)
    return found


def measured(stage: str, rounds: int, metagraphs: Path) -> dict[str, Any]:
    """Ratios, each the median over the rounds, and seconds; None where there is no graph."""
    torch.set_num_threads(THREADS)
    return summed_up(measure(contenders(stage, metagraphs), rounds))


def summed_up(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The medians of what ``measure`` gives."""
    return {
        **{name: ratio(seconds, over, under) for name, (over, under) in RATIOS.items()},
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
@click.option("--stage", "stages", multiple=True, type=click.Choice(STAGES), help="Both if none.")
@click.option("--metagraph-dir", type=click.Path(path_type=Path),
              default=Path("../shared/official/checkpoint_graphs"), show_default=True,
              help="Folder of the exported graphs.")  # fmt: skip
def main(as_json: bool, rounds: int, stages: tuple[str, ...], metagraph_dir: Path) -> None:
    """Measure gradients and training steps."""
    result = {}
    with steps() as progress:
        for stage in stages or STAGES:
            with progress.task(f"{stage}, {rounds} rounds"):
                result[stage] = measured(stage, rounds, metagraph_dir)
    if as_json:
        click.echo(json.dumps(result))
        return
    for stage, numbers in result.items():
        for name, value in numbers.items():
            click.echo(f"{stage} {name}: {value}")


if __name__ == "__main__":
    main()
