"""Every layer's vector–Jacobian product against central differences, and against autograd."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from network.taps import TapRow
from parity.oracle.confidence import backward_arithmetic_of
from parity.oracle.context import Context
from parity.oracle.number import Number
from parity.oracle.walk import handed_back
from parity_tests.parity.layers import KINDS, forward
from torch_impl.cnn import ConvSpec, SameConv2d
from torch_impl.graph import GraphConvolution, LocalGraphConvolution, unpool
from torch_impl.projection import (
    bilinear_corners,
    bilinear_features,
    nearest_cells,
    nearest_features,
    pixels,
    view_statistics,
    with_border,
)

STEP = 1e-6
Tensor = torch.Tensor


def passed(
    row: TapRow, values: list[np.ndarray], out: np.ndarray, gradient: np.ndarray, context: Context
) -> dict[str, Number]:
    """What the layer hands back, by the names of its program's inputs."""
    parents = dict(zip(row.parents, values, strict=True))
    return handed_back(row, parents, out, gradient, context, "float64")


def directional(
    kind: str, make: Callable, number: int | None, key: str | None = None
) -> tuple[float, float]:
    """A directional derivative of Σ gradient·output, by differences and by the VJP."""
    row, values, context = make(kind)
    draw = np.random.default_rng(7)
    if "projection" in kind:
        # Where views tie the maximum has no derivative.
        values[1:] = [draw.normal(size=each.shape) for each in values[1:]]
    out = forward(row, values, context)
    gradient = draw.normal(size=out.shape)
    back = passed(row, values, out, gradient, context)

    def at(step: float) -> float:
        if key is None:
            changed = [v + step * way if n == number else v for n, v in enumerate(values)]
            return float((gradient * forward(row, changed, context)).sum())
        moved = context.with_weights({key: context.weights[key] + step * way})
        return float((gradient * forward(row, values, moved)).sum())

    if key is None:
        found = back[row.program.activations[number]]
        way = draw.normal(size=values[number].shape)
    else:
        found = back[{full: short for short, full in row.variables.items()}[key]]
        way = draw.normal(size=context.weights[key].shape)
    # So short a step that hardly a ReLU or pixel is decided otherwise on the way.
    way /= np.linalg.norm(way)
    return (at(STEP) - at(-STEP)) / (2 * STEP), float((found.value.reshape(way.shape) * way).sum())


PARENTS = [
    pytest.param(kind, number, id=f"{kind}-{number}")
    for kind, count in {
        **dict.fromkeys(KINDS, 1),
        "halved residual": 2,
        "residual": 2,
        "concatenation": 2,
        "moved vertex": 2,
        "nearest projection": 5,
        "bilinear projection": 4,
    }.items()
    for number in range(count)
]


@pytest.mark.parametrize(("kind", "number"), PARENTS)
def test_inputs_by_central_differences(kind: str, number: int, make: Callable) -> None:
    differences, back = directional(kind, make, number)
    assert back == pytest.approx(differences, rel=1e-5, abs=1e-6)
    assert abs(back) > 1e-3


@pytest.mark.parametrize(
    "kind", ["image convolution", "image convolution, 5×5", "graph convolution", "coordinates",
             "local convolution"],
)  # fmt: skip
def test_variables_by_central_differences(kind: str, make: Callable) -> None:
    row, _, _ = make(kind)
    for key in row.variables.values():
        differences, back = directional(kind, make, None, key)
        assert back == pytest.approx(differences, rel=1e-5, abs=1e-6), key


def in_torch(kind: str, row: Any, context: Any) -> tuple[Callable[..., Tensor], list[Tensor]]:
    """The layer as ``torch_impl`` has it, and its parameters in the order of ``variables_of``."""
    variables = context.variables(row) if row.variables else {}
    given = {name: torch.tensor(value) for name, value in variables.items()}
    if kind.startswith("image"):
        kernel = given["weight"]
        size, _, channels, width = kernel.shape
        stride = 2 if "stride" in kind or "5×5" in kind else 1
        module: Any = SameConv2d(ConvSpec(channels, width, size, stride)).double()
        module.weight.data = kernel.permute(3, 2, 0, 1).contiguous()
        module.bias.data = given["bias"]
        return (
            lambda x: module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1),
            [module.weight, module.bias],
        )
    if row.variables:
        local = kind == "local convolution"
        weights = given["weights_0"]
        module = (LocalGraphConvolution if local else GraphConvolution)(*weights.shape).double()
        for name, value in given.items():
            getattr(module, name).data = value
        pair = context.supports[0]
        dense = torch.tensor(pair[1] if local else pair[1].toarray())
        options = {} if local else {"relu": kind != "coordinates"}
        return lambda x: module(x, (None, dense), **options), [
            module.weights_0, module.weights_1, module.bias,
        ]  # fmt: skip
    cameras, offsets = torch.tensor(context.cameras), torch.tensor(context.offsets)

    def nearest(points: Tensor, *maps: Tensor) -> Tensor:
        cells = nearest_cells(pixels(points, cameras))
        first = [each[:1] for each in maps]
        return torch.cat([points, view_statistics(nearest_features(first, cells))], dim=1)

    def bilinear(points: Tensor, *maps: Tensor) -> Tensor:
        flat = points.flatten(0, 1)
        at = pixels(flat, cameras)
        bordered = [with_border(each) for each in maps]
        read = bilinear_features(bordered, at, bilinear_corners(at))
        return torch.cat([flat, view_statistics(read)], dim=1)

    others = {
        "nearest projection": nearest,
        "bilinear projection": bilinear,
        "halved residual": lambda a, b: (a + b) * 0.5,
        "residual": lambda a, b: a + b,
        "concatenation": lambda a, b: torch.cat([a, b], dim=1),
        "unpooling": lambda x: unpool(x, torch.tensor(context.unpooling[0])),
        "hypotheses": lambda x: x[:, None] + offsets,
        "softmax": lambda x: x.softmax(dim=1),
        "moved vertex": lambda score, mesh: (score * offsets).sum(dim=1) + mesh,
    }
    return others[kind], []


def limit_of(found: Number, stage: str) -> np.ndarray:
    limit = backward_arithmetic_of(stage, "float64").limit(found) + found.undecided
    return np.broadcast_to(limit, found.value.shape)


def assert_rounds(found: Number, seen: np.ndarray, stage: str) -> None:
    away = np.abs(found.value - seen.reshape(found.value.shape))
    limit = limit_of(found, stage)
    assert (away <= limit).all()
    # A limit that is as large as the gradient would say nothing.
    assert np.median(limit) <= 1e-9 * np.abs(found.value).max()


@pytest.mark.parametrize("kind", KINDS)
def test_autograd_only_rounds(kind: str, make: Callable) -> None:
    row, values, context = make(kind)
    compute, parameters = in_torch(kind, row, context)
    inputs = [torch.tensor(value, requires_grad=True) for value in values]
    result = compute(*inputs)
    gradient = np.random.default_rng(3).normal(size=tuple(result.shape))
    result.backward(torch.tensor(gradient))
    out = result.detach().numpy()
    back = passed(row, values, out, gradient, context)
    for tensor, name in zip(inputs, row.program.activations, strict=True):
        assert_rounds(back[name], tensor.grad.numpy(), row.stage)
    for parameter, short in zip(parameters, row.variables, strict=True):
        seen = parameter.grad
        seen = seen.permute(2, 3, 1, 0) if seen.ndim == 4 else seen
        assert_rounds(back[short], seen.numpy(), row.stage)


@pytest.mark.parametrize("kind", KINDS)
def test_one_element_a_little_off_is_no_rounding(kind: str, make: Callable) -> None:
    row, values, context = make(kind)
    out = forward(row, values, context)
    gradient = np.random.default_rng(3).normal(size=out.shape)
    back = passed(row, values, out, gradient, context)
    for found in (back[name] for name in row.program.activations):
        limit = limit_of(found, row.stage)
        place = np.unravel_index(np.abs(found.value).argmax(), found.value.shape)
        assert limit[place] < 1e-8 * abs(found.value[place])


def test_a_gradient_of_nothing_hands_back_nothing(make: Callable) -> None:
    row, values, context = make("graph convolution")
    out = forward(row, values, context)
    back = passed(row, values, out, np.zeros_like(out), context)
    assert not any(found.value.any() for found in back.values())
    assert not any(limit_of(found, "coarse").any() for found in back.values())
