"""The training deviations of the study, and its interventions, as changes of a network and a run.

Every change acts on objects of one run, or on names that are put back when the run's block ends.
Nothing of ``torch_impl`` is changed for anybody else.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

import torch_impl.coarse
from inputs.levelled import level_rows
from inputs.template import SparseMatrix
from torch_impl.cnn import CONVOLUTIONS, PerceptualCNN
from torch_impl.coarse import Coarse
from torch_impl.graph import GraphConvolution


def graph_convolutions(network: Coarse) -> dict[str, GraphConvolution]:
    """The graph convolutions by their official names, in the order of the layers."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, GraphConvolution)
    }


def coordinate_layers(network: Coarse) -> dict[str, GraphConvolution]:
    """The last graph convolution of each block, whose output is absolute coordinates."""
    return {
        name: layer
        for name, layer in graph_convolutions(network).items()
        if layer.bias.shape == (3,)
    }


def remove_biases(network: Coarse) -> None:
    """No graph convolution adds a bias: all are zero, and stay so."""
    for layer in graph_convolutions(network).values():
        with torch.no_grad():
            layer.bias.zero_()
        layer.bias.requires_grad_(False)


def start_at_centre(network: Coarse, mesh: Tensor) -> None:
    """The coordinate layers' biases begin at the middle of the initial mesh (V, 3), not at 0."""
    for layer in coordinate_layers(network).values():
        with torch.no_grad():
            layer.bias.copy_(mesh.mean(dim=0))


def start_smooth(network: Coarse) -> None:
    """Graph convolutions begin as W₀ − W₁ and 0 in place of W₀ and W₁.

    On a regular mesh a constant passes through S₁ as its negative, so that features which do not
    vary come out of X W₀ + S₁ X W₁ as before; but nothing in the layer knows a degree to begin
    with. The function is the official one.
    """
    for layer in graph_convolutions(network).values():
        with torch.no_grad():
            layer.weights_0.sub_(layer.weights_1)
            layer.weights_1.zero_()


def pad_symmetrically(cnn: PerceptualCNN) -> None:
    """Stride-2 convolutions padded alike on both sides: (1, 1) and (2, 2)."""
    for number, spec in enumerate(CONVOLUTIONS, start=1):
        layer = cnn.get_submodule(f"conv2d_{number}")
        if spec.stride == 2:
            # Both are plain numbers of the layer, and as types torch's modules say Tensor.
            layer.before = layer.after = spec.kernel // 2  # type: ignore[assignment]


def rows_levelled(support: Tensor) -> Tensor:
    """A sparse support (V, V) with its diagonal changed so that every row sums to −1."""
    support = support.coalesce()
    rows, columns = support.shape
    matrix = SparseMatrix(
        support.indices().T.cpu().numpy(), support.values().cpu().numpy(), (rows, columns)
    )
    found = level_rows(matrix)
    return torch.sparse_coo_tensor(
        torch.from_numpy(found.indices.T.copy()),
        torch.from_numpy(found.values),
        support.shape,
        device=support.device,
        check_invariants=True,
    ).coalesce()


@contextmanager
def convolving(change: Callable[[str, Tensor], Tensor], network: Coarse) -> Iterator[None]:
    """Pass the second support of every graph convolution through ``change(layer, support)``."""
    handles = []
    for name, layer in graph_convolutions(network).items():

        def before(
            _: Any, arguments: tuple[Any, ...], options: dict[str, Any], name: str = name
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            x, (first, second) = arguments
            return (x, (first, change(name, second))), options

        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Levelled:
    """Levels the rows of the support of some layers; each support once, and keeps it."""

    def __init__(self, layers: frozenset[str]) -> None:
        self._layers = layers
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, layer: str, support: Tensor) -> Tensor:
        if layer not in self._layers:
            return support
        if id(support) not in self._known:
            # The original is kept too, so that its id stays its own.
            self._known[id(support)] = (support, rows_levelled(support))
        return self._known[id(support)][1]


@contextmanager
def names_replaced(module: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Names of a module mean something else while the block runs."""
    kept = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


@contextmanager
def half_camera() -> Iterator[None]:
    """World coordinates pass through float16 on their way to the pixels."""
    from torch_impl.projection import CENTRE, FOCAL, LAST_PIXEL, camera_frames

    def pixels(points: Tensor, cameras: Tensor) -> Tensor:
        position, rotation = camera_frames(cameras)
        world = (points @ torch.linalg.inv(rotation[0].T) + position[0]).half().to(points.dtype)
        x, y, z = ((world - position[:, None]) @ rotation.transpose(1, 2)).unbind(dim=2)
        at = torch.stack([FOCAL * (-y / -z) + CENTRE, FOCAL * (x / -z) + CENTRE], dim=2)
        return at.clamp(0.0, LAST_PIXEL)

    with names_replaced(torch_impl.coarse, {"pixels": pixels}):
        yield


@contextmanager
def autocast_cnn(cnn: PerceptualCNN) -> Iterator[None]:
    """Convolutions in half precision, and the statistics over views too.

    Kernels, inputs and outputs are rounded to float16 and multiplied in float32, as tensor cores
    do; the CPU has no fast half-precision convolution.
    """
    from torch_impl.projection import view_statistics

    handles = []
    for layer in cnn.children():
        handles.append(layer.register_forward_pre_hook(lambda _, given: (_half(given[0]),)))
        handles.append(layer.register_forward_hook(lambda _, __, result: _half(result)))

    def in_half(features: Tensor) -> Tensor:
        return _half(view_statistics(_half(features)))

    try:
        with names_replaced(torch_impl.coarse, {"view_statistics": in_half}):
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Half(torch.autograd.Function):
    """Rounding to float16, of the gradient too."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        return value.half().to(value.dtype)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        # Gradient scaling keeps small gradients from vanishing in float16; it is not modelled.
        return gradients[0]


def _half(value: Tensor) -> Tensor:
    result: Tensor = _Half.apply(value)
    return result
