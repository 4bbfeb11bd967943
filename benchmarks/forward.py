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

# isort: split
import torch
import torch.nn.functional as F

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.weights import WEIGHTS
from parity.traces.record import RunInputs
from torch_impl.backend import TorchBackend
from torch_impl.cnn import CONVOLUTIONS

THREADS = 2
GRAPHS = {"coarse": "coarse_mvp2m/meshnetmvp2m.ckpt-50.meta",
          "refine": "refine_p2mpp/meshnet.ckpt-10.meta"}  # fmt: skip
ROWS = {1: 156, 2: 618, 3: 2466}
HYPOTHESES = 43
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
"""The variable by which TensorFlow is told to take oneDNN's operations (1) or its own (0)."""
Forward = Callable[[], Any]


def matrix_floor(stage: str) -> Forward:
    """The stage's matrix products alone, on random data of the right shapes."""
    views, last = (3, 18) if stage == "coarse" else (3, 8)
    convolutions = []
    size = 224
    for spec in CONVOLUTIONS[:last]:
        image = torch.rand(views, spec.channels_in, size, size)
        kernel = torch.rand(spec.channels_out, spec.channels_in, spec.kernel, spec.kernel)
        convolutions.append((image, kernel, spec.stride, spec.kernel // 2))
        size //= spec.stride
    products = []
    for row in WEIGHTS[stage]:
        if not row.key.endswith("weights_0:0"):
            continue
        block = int(row.key.split("_blk")[1][0])
        rows = ROWS[block] if stage == "coarse" else ROWS[3] * HYPOTHESES
        channels_in, channels_out = row.shape
        left, right = torch.rand(rows, channels_in), torch.rand(channels_in, 2 * channels_out)
        products.append((left, right))
    # One output a width is enough: the floor may reuse it, as a clever implementation could.
    outputs = {left.shape[0] * right.shape[1]: torch.empty(left.shape[0], right.shape[1])
               for left, right in products}  # fmt: skip

    def forward() -> None:
        for image, kernel, stride, padding in convolutions:
            F.conv2d(image, kernel, stride=stride, padding=padding)
        for left, right in products:
            torch.mm(left, right, out=outputs[left.shape[0] * right.shape[1]])

    return torch.no_grad()(forward)


def contenders(stage: str, metagraphs: Path) -> dict[str, Forward]:
    """Name to a call that runs one forward pass."""
    template, hypotheses = build_template(), build_hypotheses()
    item = load_item(demo_item_path("plane"))
    weights = {name: seeded_weights(name) for name in ("coarse", "refine")}
    inputs = RunInputs("coarse", item, template.coordinates, template, hypotheses)
    if stage == "refine":
        coarse = TorchBackend("coarse", "float32", "cpu")
        mesh = coarse.run(inputs.mapping(), weights["coarse"], None)
        inputs = RunInputs("refine", item, mesh, template, hypotheses)
    mapping = inputs.mapping()
    ours = TorchBackend(stage, "float32", "cpu")
    ours.load(weights[stage])
    found: dict[str, Forward] = {
        "torch": lambda: ours.run(mapping, weights[stage], None),
        "floor": matrix_floor(stage),
    }
    from tf_reference.backend import factory
    from tf_reference.metagraph import load_metagraph

    found["tf"] = factory(stage, "float32", "cpu").prepared(mapping, weights[stage])
    graph = metagraphs / GRAPHS[stage]
    if graph.is_file():
        exported = load_metagraph(graph, stage, "float32")
        exported.load(weights[stage])
        found["metagraph"] = lambda: exported.forward(mapping)
    return found


def measure(found: dict[str, Forward], rounds: int) -> dict[str, list[float]]:
    """Seconds a round, the contenders in turn; a first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, forward in found.items():
            start = time.perf_counter()
            forward()
            if number:
                seconds[name].append(time.perf_counter() - start)
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
        for stage in ("coarse", "refine"):
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
