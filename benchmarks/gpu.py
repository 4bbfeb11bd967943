"""Both stages on a GPU, judged layer by layer, and timed: ``python -m benchmarks.gpu --out DIR``.

It needs NumPy, SciPy and PyTorch alone, and ends within 8 minutes. Each stage runs on the device
with seeded weights and images, and every layer is held against its own evaluation in float64 on the
processor, with the bounds of ``docs/verdict.md``: as the project runs it, with cuDNN's
convolutions, and with TF32 products, bfloat16 and float16 autocast, which must be named. Then
forward pass, loss with all gradients and a training step are timed beside the device's own
products. Nothing here was recorded by TensorFlow: the page says what the run computes, not how
another run differs from it.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu_page import page
from benchmarks.gpu_timing import synchronises, timings
from benchmarks.gpu_ways import Way, ways
from inputs.demo import demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.registry import network_of
from network.taps import TapRow
from network.weights import STAGES
from parity.oracle.chunks import Part, cut, in_parallel, parts_of
from parity.oracle.confidence import confidence
from parity.oracle.context import Context
from parity.oracle.local import local_error
from parity.verdict.mean_square import MeanSquare, sharing_of, tests_of
from torch_impl.backend import TorchBackend
from torch_impl.loading import as_array
from torch_impl.precision import full_precision

VERTICES = 137
"""Vertices of the refine stage whose layers are judged: nothing mixes between vertices there."""
ROUNDS = 7
MINUTES = 8.0
ITEM = "sofa"
VIEWS = (0, 6, 7)


@dataclass(frozen=True)
class Effort:
    """How much is done: vertices judged, rounds timed, every how many-eth layer, until when.

    ``deadline`` is a time of ``time.monotonic``; what would start later is left out, and named.
    """

    vertices: int = VERTICES
    rounds: int = ROUNDS
    every: int = 1
    deadline: float = float("inf")

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self.deadline


@dataclass(frozen=True)
class LayerResult:
    """A layer alone on what the run recorded: its greatest and its RMS error, in roundings."""

    tap: str
    roundings: float
    rms: float | None
    rms_limit: float | None
    within: bool


def seeded_images() -> np.ndarray:
    """Images (3, 224, 224, 3) in [0, 1]: a disc with smooth waves of colour on white, in each view.

    Drawn and not read, because a machine with a GPU may have nothing that decodes a PNG.
    """
    random = np.random.default_rng(0)
    h, w = np.meshgrid(np.linspace(-1, 1, 224), np.linspace(-1, 1, 224), indexing="ij")
    images = np.ones((3, 224, 224, 3))
    for view in range(3):
        waves = random.uniform(2, 9, (3, 4, 2)), random.uniform(0, 2 * np.pi, (3, 4))
        phases = waves[0] @ np.stack([h, w]).reshape(2, -1) + waves[1][..., None]
        colours = (0.5 + 0.12 * np.sin(phases).sum(axis=1)).reshape(3, 224, 224)
        disc = (h - random.uniform(-0.2, 0.2)) ** 2 + (w - random.uniform(-0.2, 0.2)) ** 2 < 0.5
        images[view][disc] = colours[:, disc].T
    return images.astype(np.float32)


def stage_inputs(mesh: np.ndarray | None) -> dict[str, Any]:
    """What a backend is given: seeded images, the demo's cameras and ground truth, our template."""
    item, template = demo_item_path(ITEM), build_template()
    table = np.loadtxt(item / "rendering" / "rendering_metadata.txt", dtype=np.float32)
    cameras = table[list(VIEWS)]
    return {
        "images": seeded_images(),
        "cameras": cameras,
        "mesh": template.coordinates if mesh is None else mesh,
        "template": template,
        "hypotheses": build_hypotheses(),
        "ground_truth": load_ground_truth(item / "model_normal.xyz", cameras[0]),
    }


def context_of(stage: str, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Context:
    """What layers read beside activations."""
    arrays = {name: inputs[name] for name in ("images", "cameras", "mesh")}
    arrays["hypotheses/offsets"] = inputs["hypotheses"].offsets
    arrays["hypotheses/supports"] = inputs["hypotheses"].supports
    for level, pair in enumerate(inputs["template"].supports, start=1):
        for number, matrix in enumerate(pair):
            arrays[f"template/support_{level}_{number}/indices"] = matrix.indices
            arrays[f"template/support_{level}_{number}/values"] = matrix.values
    for level, pairs in enumerate(inputs["template"].unpooling, start=1):
        arrays[f"template/unpooling_{level}"] = pairs
    return Context.of(stage, arrays, weights)


class Kept:
    """Keeps what a run computes: whole where the block's mesh, else at the first vertices.

    Attributes:
        taps: activations by name, of as many vertices as are judged.
        meshes: the blocks' output meshes.
        shapes: of the whole activations.
    """

    def __init__(self, stage: str, vertices: int) -> None:
        self.taps: dict[str, np.ndarray] = {}
        self.meshes: list[np.ndarray] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._rows = network_of(stage).rows_per_vertex
        self._blocks, self._vertices = network_of(stage).meshes, vertices

    def tap(self, name: str, value: Tensor) -> None:
        """Take an activation; see ``torch_impl.listening.Listener``."""
        self.shapes[name] = tuple(value.shape)
        if name in self._blocks:
            self.meshes.append(as_array(value).astype(np.float32))
        each = self._rows(name)
        self.taps[name] = as_array(value if each is None else value[: self._vertices * each]).copy()


def run(
    backend: TorchBackend, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray],
    way: Way, vertices: int,
) -> Kept:  # fmt: skip
    """All activations of a forward pass; of the refine stage's blocks those at some vertices."""
    network, kept = backend.load(weights), Kept(backend.stage, vertices)
    with torch.no_grad(), way():
        backend.forward(network, inputs, kept)
    return kept


def judged(
    stage: str, context: Context, taps: Mapping[str, np.ndarray], effort: Effort
) -> Iterator[LayerResult]:
    """Every layer alone on the run's own inputs, in the run's own precision."""
    for row in network_of(stage).taps[:: effort.every]:
        squares = MeanSquare(tests_of(stage), sharing_of(row, context))
        worst = 0.0
        for part_worst, part_squares in in_parallel(
            lambda part, row=row: _part(row, part, context, taps),  # type: ignore[misc]
            parts_of(row, [slice(0, effort.vertices)]),
        ):
            worst = max(worst, part_worst)
            squares.join(part_squares)
        within = worst <= confidence(stage) and squares.within
        yield LayerResult(row.name, worst, squares.root, squares.limit, within)


def _part(
    row: TapRow, part: Part, context: Context, taps: Mapping[str, np.ndarray]
) -> tuple[float, MeanSquare]:
    rows = network_of(row.stage).rows_per_vertex
    parents = {
        name: cut(
            given if (given := context.given(name)) is not None else taps[name], rows(name), part
        )
        for name in row.parents
    }
    with np.errstate(all="ignore"):
        seen = cut(taps[row.name], row.rows_per_vertex, part)
        local = local_error(row, parents, context, seen, "float32")
        squares = MeanSquare(tests_of(row.stage), sharing_of(row, context))
        # One run alone: its errors have its own roundings, and nothing of a second run's.
        squares.add(local.error, local.alone)
    return local.roundings(confidence(row.stage)), squares


def _judged_way(
    backend: TorchBackend, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray],
    way: Way, context: Context, effort: Effort,
) -> dict[str, Any]:  # fmt: skip
    """One way to run, as JSON's own types."""
    if effort.over:
        return {"cannot_run": "left out, for the time was up"}
    try:
        kept = run(backend, inputs, weights, way, effort.vertices)
    except RuntimeError as error:  # what the device has no kernel for
        return {"cannot_run": str(error).splitlines()[0]}
    layers = list(judged(backend.stage, context, kept.taps, effort))
    beyond = [layer for layer in layers if not layer.within]
    return {
        "layers": len(layers),
        "beyond_rounding": len(beyond),
        "first_beyond": beyond[0].tap if beyond else None,
        "greatest_roundings": max(layer.roundings for layer in layers),
        "greatest_rms": max(layer.rms or 0.0 for layer in layers),
        "taps": [asdict(layer) for layer in layers],
    }


def measure(device: str, effort: Effort) -> dict[str, Any]:
    """Everything, as JSON's own types."""
    start = time.monotonic()
    cuda = torch.device(device).type == "cuda"
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "item": ITEM,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "stages": {},
    }
    mesh = None
    for stage in STAGES:
        inputs, weights = stage_inputs(mesh), seeded_weights(stage)
        backend = TorchBackend(stage, "float32", device)
        context = context_of(stage, inputs, weights)
        kept, again = (
            run(backend, inputs, weights, full_precision, effort.vertices) for _ in range(2)
        )
        found["stages"][stage] = {
            "ways": {
                name: _judged_way(backend, inputs, weights, way, context, effort)
                for name, way in ways(device).items()
            },
            "same_bits_twice": all(
                np.array_equal(again.taps[name], value, equal_nan=True)
                for name, value in kept.taps.items()
            ),
            "waits_for_the_device": synchronises(backend, inputs, weights),
            "seconds": timings(
                backend,
                inputs,
                weights,
                kept.meshes,
                kept.shapes,
                effort.rounds,
                lambda: effort.over,
            ),
        }
        mesh = kept.meshes[-1]
    found["minutes"] = (time.monotonic() - start) / 60
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write ``gpu.json`` and ``gpu.md``."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="a device of PyTorch's; a GPU where there is one",
    )
    parser.add_argument("--out", type=Path, required=True, help="gpu.json and gpu.md go there")
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES - 1.0,
        help="nothing is begun after so many minutes, and what is left out is named; the default, "
        f"%(default)g, ends within {MINUTES:g}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few vertices, every twentieth layer, one round"
    )
    given = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * given.minutes
    effort = Effort(4, 1, 20, deadline) if given.quick else Effort(deadline=deadline)
    found = measure(given.device, effort)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.json").write_text(json.dumps(found, indent=1, default=float) + "\n")
    (given.out / "gpu.md").write_text(page(found) + "\n", encoding="utf-8")
    print(page(found))  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
