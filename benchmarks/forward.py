"""Forward times of both stages as ratios: torch, tf, the exported graph, and a matrix floor.

The contenders run in turn in one process, two threads each, weights loaded before, nobody
listening, the exported graph fetching only its last tensor. The floor is what the matrix products
alone cost: each convolution, and one [rows, C_in] × [C_in, 2·C_out] product for each graph
convolution, into preallocated outputs where the library lets us say so.

TensorFlow takes oneDNN's operations where the processor has instructions made for networks, and its
own elsewhere: the refine stage's graph runs more than twice as fast with them. Both are measured,
the second in another process, for TensorFlow settles it when it starts.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from commands.console import steps  # before torch: commands settle how its threads wait
from network.registry import network_of
from network.weights import STAGES

# isort: split
import torch
import torch.nn.functional as F

from commands.loading import load_sources
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity.traces.record import RunInputs
from torch_impl.backend import TorchBackend

THREADS = 2
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""The variable by which TensorFlow is told to take oneDNN's operations (1) or its own (0)."""
Forward = Callable[[], Any]


def matrix_floor(stage: str) -> Forward:
    """The stage's matrix products alone, on random data of the right shapes."""
    network = network_of(stage)
    shapes = {row.key: row.shape for row in network.variables}
    convolutions = []
    for row in network.maps[: network.maps.index(network.projected[-1]) + 1]:
        size, _, channels_in, channels_out = shapes[row.variables["weight"]]
        parent = network.rows.get(row.parents[0])
        views, side = (network.inputs["images"] if parent is None else parent.shape)[:2]
        image = torch.rand(views, channels_in, side, side)
        kernel = torch.rand(channels_out, channels_in, size, size)
        convolutions.append((image, kernel, row.settings["stride"], size // 2))
    products = []
    for row in network.taps:
        if "weights_0" in row.variables:
            channels_in, channels_out = shapes[row.variables["weights_0"]]
            left = torch.rand(math.prod(row.shape[:-1]), channels_in)
            products.append((left, torch.rand(channels_in, 2 * channels_out)))
    # One output a width is enough: the floor may reuse it, as a clever implementation could.
    outputs = {left.shape[0] * right.shape[1]: torch.empty(left.shape[0], right.shape[1])
               for left, right in products}  # fmt: skip

    def forward() -> None:
        for image, kernel, stride, padding in convolutions:
            F.conv2d(image, kernel, stride=stride, padding=padding)
        for left, right in products:
            torch.mm(left, right, out=outputs[left.shape[0] * right.shape[1]])

    return torch.no_grad()(forward)


def plane(stage: str) -> RunInputs:
    """The demo's plane; for a stage after another with the mesh of that one's seeded weights."""
    folder = demo_item_path("plane")
    sources = load_sources(folder, ground_truth=folder / "model_normal.xyz", stages=STAGES)
    follows = network_of(stage).follows
    if follows is None:
        return sources.of(stage)
    before = plane(follows).mapping()
    mesh = TorchBackend(follows, "float32", "cpu").run(before, seeded_weights(follows), None)
    return sources.of(stage, mesh)


def contenders(stage: str, metagraphs: Path) -> dict[str, Forward]:
    """Name to a call that runs one forward pass."""
    inputs, weights = plane(stage), seeded_weights(stage)
    mapping = inputs.mapping()
    ours = TorchBackend(stage, "float32", "cpu")
    ours.load(weights)
    found: dict[str, Forward] = {
        "torch": lambda: ours.run(mapping, weights, None),
        "floor": matrix_floor(stage),
    }
    from tf_reference.backend import factory
    from tf_reference.metagraph import load_metagraph

    found["tf"] = factory(stage, "float32", "cpu").prepared(mapping, weights)
    graph = metagraphs / network_of(stage).graph
    if graph.is_file():
        exported = load_metagraph(graph, stage, "float32")
        exported.load(weights)
        found["metagraph"] = lambda: exported.forward(mapping)
    return found


def measure(
    found: dict[str, Forward], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds a round, the contenders in turn; a first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, forward in found.items():
            start = clock()
            forward()
            if number:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], over: str, under: str) -> float | None:
    """The median over the rounds of one contender's time by another's in the same round."""
    if over not in seconds:
        return None
    pairs = zip(seconds[over], seconds[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def without_onednn(rounds: int, metagraphs: Path) -> dict[str, Any]:
    """What ``main`` finds in a process whose TensorFlow runs its own operations."""
    arguments = ["--json", "--rounds", str(rounds), "--metagraph-dir", str(metagraphs)]
    # S603: this interpreter and our own module, no shell.
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.forward", *arguments],
        env={**os.environ, ONEDNN: "0"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return found


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
@click.option("--metagraph-dir", type=click.Path(path_type=Path),
              default=Path("../shared/official/checkpoint_graphs"), show_default=True,
              help="Folder of the exported graphs.")  # fmt: skip
def main(as_json: bool, rounds: int, metagraph_dir: Path) -> None:
    """Measure forward times of both stages."""
    torch.set_num_threads(THREADS)
    result: dict[str, Any] = {}
    with steps() as progress:
        for stage in STAGES:
            with progress.task(f"{stage}, {rounds} rounds"):
                seconds = measure(contenders(stage, metagraph_dir), rounds)
            result[stage] = {
                "metagraph_over_torch": ratio(seconds, "metagraph", "torch"),
                "tf_over_torch": ratio(seconds, "tf", "torch"),
                "torch_over_floor": ratio(seconds, "torch", "floor"),
                "seconds": {name: statistics.median(times) for name, times in seconds.items()},
            }
    if os.environ.get(ONEDNN) != "0":
        for stage, numbers in without_onednn(rounds, metagraph_dir).items():
            result[stage]["without_onednn"] = numbers
    if not as_json:
        for stage, numbers in result.items():
            for name, value in numbers.items():
                click.echo(f"{stage} {name}: {value}")
        return
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
