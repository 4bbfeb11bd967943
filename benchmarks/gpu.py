"""Both stages on a GPU, judged layer by layer: ``python -m benchmarks.gpu --out DIR``.

It needs PyTorch and the project's core alone. Each stage runs on the device with seeded weights,
and every layer is held against its own evaluation in float64 on the processor, with the bounds of
``docs/verdict.md``: once as the project runs it, and once each with TF32 products, bfloat16 and
float16 autocast, which must be named. Then forward pass, losses with all gradients, and a training
step are timed beside the device's own matrix products. Nothing here was recorded by TensorFlow: the
page says what the run computes, not how another run differs from it.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inputs.demo import demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.sampling import samples_on, step_draws
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
from torch_impl.backend import factory

VERTICES = 137
"""Vertices of the refine stage whose layers are judged: nothing mixes between vertices there."""
ROUNDS = 7


@dataclass(frozen=True)
class LayerResult:
    """A layer alone on what the run recorded: its greatest and its RMS error, in roundings."""

    tap: str
    roundings: float
    rms: float | None
    rms_limit: float | None
    within: bool


def stage_inputs(mesh: np.ndarray | None, item: Path) -> dict[str, Any]:
    """What a backend is given: the demo's item, the project's template and hypotheses."""
    loaded, template = load_item(item), build_template()
    return {
        "images": loaded.images,
        "cameras": loaded.cameras,
        "mesh": template.coordinates if mesh is None else mesh,
        "template": template,
        "hypotheses": build_hypotheses(),
        "ground_truth": load_ground_truth(item / "model_normal.xyz", loaded.cameras[0]),
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


def taps_of(
    stage: str, device: str, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray],
    vertices: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """All activations of a run; of the refine stage's blocks those at the first vertices."""
    rows = {row.name: row for row in network_of(stage).taps}
    found: dict[str, np.ndarray] = {}

    def take(name: str, value: np.ndarray) -> None:
        each = rows[name].rows_per_vertex
        found[name] = np.array(value if each is None else value[: vertices * each])

    factory(stage, "float32", device).run(inputs, weights, take)
    return found


def judged(
    stage: str, context: Context, taps: Mapping[str, np.ndarray], vertices: int
) -> Iterator[LayerResult]:
    """Every layer alone on the run's own inputs, in the run's own precision."""
    for row in network_of(stage).taps:
        squares = MeanSquare(tests_of(stage), sharing_of(row, context))
        worst = 0.0
        for part_worst, part_squares in in_parallel(
            lambda part, row=row: _part(row, part, context, taps),  # type: ignore[misc]
            parts_of(row, vertices),
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
        squares.add(local.error, local.alone, local.alone)
    return local.roundings(confidence(row.stage)), squares


@contextmanager
def narrow_products() -> Iterator[None]:
    """TF32 where the device has it, whatever the project asks for."""
    import torch_impl.backend

    backend: Any = torch_impl.backend
    asked = backend.full_precision
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    backend.full_precision = nullcontext
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        backend.full_precision = asked
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def variants(device: str) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    """Ways to run: as the project does, and three that are less precise."""
    kind = torch.device(device).type
    return {
        "float32": nullcontext,
        "TF32": narrow_products,
        "bfloat16 autocast": lambda: torch.autocast(kind, torch.bfloat16),
        "float16 autocast": lambda: torch.autocast(kind, torch.float16),
    }


def seconds(work: Callable[[], Any], device: str, rounds: int) -> float:
    """The median time of some work, the device waited for."""
    cuda = torch.device(device).type == "cuda"
    found = []
    for number in range(rounds + 2):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        if number >= 2:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def timings(
    stage: str, device: str, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray],
    blocks: list[np.ndarray], rounds: int,
) -> dict[str, float]:  # fmt: skip
    """Seconds of a forward pass, of loss and all gradients, of the bare products of its graph."""
    backend = factory(stage, "float32", device)
    network = backend.load(weights)
    feeds = backend.feeds(inputs)
    samples = samples_on(stage, inputs["template"], blocks, step_draws(stage, 0, 0))
    given = {**inputs, "samples": samples}

    def forward() -> None:
        with torch.no_grad():
            network(*feeds)

    def products() -> None:
        for x, weight, out in bare:
            torch.matmul(x, weight, out=out)

    bare = []
    for row in network_of(stage).taps:
        if "weights_0" in row.variables:
            channels = network_of(stage).variables_by_key[row.variables["weights_0"]].shape
            rows = int(np.prod(row.shape[:-1]))
            shapes = (rows, channels[0]), (channels[0], 2 * channels[1]), (rows, 2 * channels[1])
            bare.append([torch.randn(shape, device=device) for shape in shapes])
    return {
        "forward": seconds(forward, device, rounds),
        "gradients": seconds(
            lambda: backend.gradients(given, weights), device, max(rounds // 2, 1)
        ),
        "graph_products": seconds(products, device, rounds),
    }


def synchronises(
    stage: str, device: str, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> str:
    """Whether the forward pass waits for the device: "no", or what PyTorch says."""
    if torch.device(device).type != "cuda":
        return "not asked"
    backend = factory(stage, "float32", device)
    network, feeds = backend.load(weights), backend.feeds(inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad():
            network(*feeds)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "no"


def measure(device: str, vertices: int, rounds: int, quick: bool) -> dict[str, Any]:
    """Everything, as JSON's own types."""
    cuda = torch.device(device).type == "cuda"
    found: dict[str, Any] = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "stages": {},
    }
    mesh = None
    for stage in STAGES:
        inputs = stage_inputs(mesh, demo_item_path("sofa"))
        weights = seeded_weights(stage)
        context = context_of(stage, inputs, weights)
        ways: dict[str, Any] = {}
        taps: dict[str, np.ndarray] = {}
        for name, way in variants(device).items():
            try:
                with way():
                    run = taps_of(stage, device, inputs, weights, vertices)
            except RuntimeError as error:  # what the device has no kernel for
                ways[name] = {"cannot_run": str(error).splitlines()[0]}
                continue
            taps = taps or run
            layers = list(judged(stage, context, run, vertices))
            beyond = [layer for layer in layers if not layer.within]
            ways[name] = {
                "layers": len(layers),
                "beyond_rounding": len(beyond),
                "first_beyond": beyond[0].tap if beyond else None,
                "greatest_roundings": max(layer.roundings for layer in layers),
                "greatest_rms": max(layer.rms or 0.0 for layer in layers),
                "taps": [vars(layer) for layer in layers],
            }
            if quick:
                break
        again = taps_of(stage, device, inputs, weights, vertices)
        whole: dict[str, np.ndarray] = {}
        factory(stage, "float32", device).run(
            inputs,
            weights,
            lambda tap, value, whole=whole, stage=stage: (  # type: ignore[misc]
                whole.update({tap: np.array(value)}) if tap in network_of(stage).meshes else None
            ),
        )
        blocks = [whole[tap] for tap in network_of(stage).meshes]
        mesh = blocks[-1].astype(np.float32)
        found["stages"][stage] = {
            "ways": ways,
            "same_bits_twice": all(
                np.array_equal(again[name], value, equal_nan=True) for name, value in taps.items()
            ),
            "waits_for_the_device": synchronises(stage, device, inputs, weights),
            "seconds": timings(stage, device, inputs, weights, blocks, rounds),
        }
    return found


def page(found: Mapping[str, Any]) -> str:
    """The result in Markdown."""
    lines = [
        f"# Both stages on {found['device']}",
        "",
        f"{found['date']}, PyTorch {found['torch']}, CUDA {found['cuda']}. Seeded weights, the",
        "demo's sofa. Each layer is held against its own evaluation in float64 on the processor,",
        "in the run's own precision; of the refine stage at its first vertices.",
        "",
    ]
    for stage, result in found["stages"].items():
        lines += [
            f"## {stage}",
            "",
            "| run | layers | beyond rounding | first | greatest error | greatest RMS |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name, way in result["ways"].items():
            if "cannot_run" in way:
                lines.append(f"| {name} | cannot run: {way['cannot_run']} | | | | |")
                continue
            lines.append(
                f"| {name} | {way['layers']} | {way['beyond_rounding']} | "
                f"{way['first_beyond'] or 'none'} | {way['greatest_roundings']:.3g} | "
                f"{way['greatest_rms']:.3g} |"
            )
        times = result["seconds"]
        lines += [
            "",
            f"The same bits twice: {'yes' if result['same_bits_twice'] else 'no'}. The forward",
            f"pass waits for the device: {result['waits_for_the_device']}.",
            "",
            f"Forward {times['forward'] * 1e3:.1f} ms, loss and all gradients "
            f"{times['gradients'] * 1e3:.1f} ms; the bare products of the graph convolutions "
            f"{times['graph_products'] * 1e3:.1f} ms.",
            "",
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write ``gpu.json`` and ``gpu.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="Few vertices, one way, one round.")
    arguments = parser.parse_args()
    vertices, rounds = (4, 1) if arguments.quick else (VERTICES, ROUNDS)
    found = measure(arguments.device, vertices, rounds, arguments.quick)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(found, indent=1, default=float) + "\n")
    (arguments.out / "gpu.md").write_text(page(found) + "\n", encoding="utf-8")
    print(page(found))  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
