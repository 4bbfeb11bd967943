"""What a stage costs on a device, beside the device's own products."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu_ways import Way, by_cudnn
from inputs.sampling import samples_on, step_draws
from network.registry import network_of
from torch_impl.backend import TorchBackend
from torch_impl.coarse import CNN_MAPS as COARSE_MAPS
from torch_impl.precision import full_precision
from torch_impl.refine import CNN_MAPS as REFINE_MAPS
from torch_impl.training import Trainer

TIMED = {
    "forward": "forward pass",
    "floor": "its products alone",
    "forward_plain": "forward pass without cuDNN",
    "gradients": "loss and all gradients, without cuDNN",
    "step": "training step, without cuDNN",
}
"""What is timed, and what the page calls it."""


def seconds(work: Callable[[], Any], device: str, rounds: int) -> float:
    """The median time of some work, the device waited for; a first round is not counted."""
    cuda = torch.device(device).type == "cuda"
    found = []
    for number in range(rounds + 1):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        if number or rounds == 1:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def floor(backend: TorchBackend, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[], None]:
    """The products of a forward pass alone, on random data.

    They are each convolution that it needs, view by view, and one [rows, C_in] × [C_in, 2·C_out]
    product for each graph convolution.
    """
    stage, device = backend.stage, backend.device
    maps, views = (COARSE_MAPS, 1) if stage == "coarse" else (REFINE_MAPS, 3)
    variables = network_of(stage).variables_by_key
    convolutions: list[tuple[Tensor, Tensor, int]] = []
    products: list[tuple[Tensor, Tensor, Tensor]] = []
    size = 224
    for row in network_of(stage).taps:
        if row.layer == "image_convolution":
            kernel = torch.rand(variables[row.variables["weight"]].torch_shape, device=device)
            stride = int(row.settings["stride"])
            if len(convolutions) < maps[-1] * views:
                image = torch.rand(1, kernel.shape[1], size, size, device=device)
                convolutions += [(image, kernel, stride)] * views
            size //= stride
        elif "weights_0" in row.variables:
            channels_in, channels_out = variables[row.variables["weights_0"]].shape
            rows = int(np.prod(shapes[row.name][:-1]))
            x, weight = torch.rand(rows, channels_in), torch.rand(channels_in, 2 * channels_out)
            out = torch.empty(rows, 2 * channels_out, device=device)
            products.append((x.to(device), weight.to(device), out))

    def work() -> None:
        with torch.no_grad():
            for image, kernel, stride in convolutions:
                F.conv2d(image, kernel, stride=stride, padding=kernel.shape[-1] // 2)
            for x, weight, out in products:
                torch.mm(x, weight, out=out)

    return work


def timings(
    backend: TorchBackend, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray],
    meshes: Sequence[np.ndarray], shapes: Mapping[str, tuple[int, ...]], rounds: int,
    over: Callable[[], bool],
) -> dict[str, float]:  # fmt: skip
    """Seconds of a forward pass, of its products alone, of loss and all gradients, of a step.

    All in float32, by the names of ``TIMED``; what would begin once it is ``over`` is left out.
    ``forward`` and ``floor`` by cuDNN where there is one, ``forward_plain``, ``gradients`` and
    ``step`` as the project runs, without it. ``meshes`` are the blocks' outputs, ``shapes`` those
    of all activations.
    """
    network, feeds = backend.load(weights), backend.feeds(inputs)
    template = inputs["template"]
    samples = samples_on(backend.stage, template, meshes, step_draws(backend.stage, 0, 0))
    given = {**inputs, "samples": samples}
    bare = floor(backend, shapes)

    def forward() -> None:
        with torch.no_grad():
            network(*feeds)

    few = max(rounds // 2, 1)
    trainer = Trainer(backend, given, weights)
    works: tuple[tuple[str, Callable[[], Any], Way, int], ...] = (
        ("forward", forward, lambda: by_cudnn(full_precision), rounds),
        ("floor", bare, lambda: by_cudnn(full_precision), rounds),
        ("forward_plain", forward, full_precision, rounds),
        ("gradients", lambda: backend.gradients(given, weights), full_precision, few),
        ("step", trainer.step, full_precision, few),
    )
    found = {}
    for name, work, way, times in works:
        if not over():
            with way():
                found[name] = seconds(work, str(backend.device), times)
    return found


def synchronises(
    backend: TorchBackend, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]
) -> str:
    """Whether the forward pass waits for the device: "no", or what PyTorch says."""
    if backend.device.type != "cuda":
        return "not asked"
    network, feeds = backend.load(weights), backend.feeds(inputs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.no_grad(), full_precision():
            network(*feeds)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "no"
