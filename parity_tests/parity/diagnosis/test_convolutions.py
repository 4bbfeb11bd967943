"""Convolutions of images with one thing wrong, computed by torch, and what is said of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from parity.diagnosis.diagnosis import diagnose

Tensor = torch.Tensor
SIZE = 16


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    pads: tuple[int, int] = (0, 1),
    mode: str = "constant",
    stride: int = 2,
) -> Tensor:
    padded = F.pad(x, (*pads, *pads), mode=mode)
    return F.conv2d(padded, kernel, bias, stride)


def half(x: Tensor) -> Tensor:
    return x.to(torch.float16).to(x.dtype)


FAULTS: dict[str, tuple[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    "symmetric pads": ("padding", lambda x, k, b: convolve(x, k, b, (1, 1))[..., :8, :8].relu()),
    "replicated border": ("padding", lambda x, k, b: convolve(x, k, b, mode="replicate").relu()),
    "no bias": ("bias", lambda x, k, _: convolve(x, k, None).relu()),
    "bias twice": ("bias", lambda x, k, b: convolve(x, k, 2 * b).relu()),
    "no ReLU": ("activation", lambda x, k, b: convolve(x, k, b)),
    "leaky ReLU": ("activation", lambda x, k, b: F.leaky_relu(convolve(x, k, b), 0.01)),
    "flipped kernel": ("index order", lambda x, k, b: convolve(x, k.flip(2, 3), b).relu()),
    "height and width": (
        "weights transposed",
        lambda x, k, b: convolve(x, k.transpose(2, 3), b).relu(),
    ),
    "inputs reversed": ("channel order", lambda x, k, b: convolve(x.flip(1), k, b).relu()),
    "outputs shuffled": (
        "channel order",
        lambda x, k, b: convolve(x, k, b).relu()[:, [3, 1, 0, 2, *range(4, 32)][::-1]],
    ),
    "views swapped": ("view order", lambda x, k, b: convolve(x[[0, 2, 1]], k, b).relu()),
    "half input": ("precision", lambda x, k, b: convolve(half(x), k, b).relu()),
    "half kernel": ("precision", lambda x, k, b: convolve(x, half(k), b).relu()),
    "scaled": ("constant", lambda x, k, b: (convolve(x, k, None) * 0.9 + b[:, None, None]).relu()),
}


@pytest.fixture
def layer(context, tap, rng):
    """conv2d_3, 3×3 at stride 2, on 16×16: its row, context, input and torch arguments."""
    found = context("coarse", "cnn.conv2d_3")
    row = tap("coarse", "cnn.conv2d_3", (3, SIZE // 2, SIZE // 2, 32))
    x = rng.random((3, SIZE, SIZE, 16))
    variables = found.variables(row)
    given = (
        torch.from_numpy(x).permute(0, 3, 1, 2),
        torch.from_numpy(variables["weight"]).permute(3, 2, 0, 1),
        torch.from_numpy(variables["bias"]),
    )
    return row, found, {row.parents[0]: x}, given


def last(tensor: Tensor) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


def test_a_right_layer_has_no_diagnosis(layer):
    row, context, parents, (x, kernel, bias) = layer
    assert diagnose(row, parents, context, last(convolve(x, kernel, bias).relu())) is None


@pytest.mark.parametrize("name", FAULTS)
def test_the_operand_is_named_and_confirmed(name, layer):
    row, context, parents, given = layer
    operand, function = FAULTS[name]
    found = diagnose(row, parents, context, last(function(*given)))
    assert found is not None
    assert (found.operand, found.confirmed) == (operand, True), found
    assert "putting back the official" in found.explanation


def test_other_weights_are_not_taken_for_a_known_fault(layer, rng):
    row, context, parents, (x, kernel, bias) = layer
    other = kernel + 1e-3 * torch.from_numpy(rng.normal(size=kernel.shape))
    found = diagnose(row, parents, context, last(convolve(x, other, bias).relu()))
    assert found is None or not found.confirmed


def test_an_error_at_the_border_only_points_to_padding(layer):
    row, context, parents, (x, kernel, bias) = layer
    observed = last(convolve(x, kernel, bias).relu()).copy()
    observed[:, -1] += 0.01
    found = diagnose(row, parents, context, observed)
    # Of eight rows none lies three from both borders, so that a wider map is needed to say so.
    assert found is None or not found.confirmed


def test_an_image_made_by_another_rule_is_found_by_solving_for_it(context, tap, rng):
    found = context("coarse", "cnn.conv2d_1")
    row = tap("coarse", "cnn.conv2d_1", (3, SIZE, SIZE, 16))
    variables = found.variables(row)
    x = rng.random((3, SIZE, SIZE, 3))
    other = x + 0.1 * rng.normal(size=x.shape)
    observed = convolve(
        torch.from_numpy(other).permute(0, 3, 1, 2),
        torch.from_numpy(variables["weight"]).permute(3, 2, 0, 1),
        torch.from_numpy(variables["bias"]),
        (1, 1),
        stride=1,
    ).relu()
    said = diagnose(row, {row.parents[0]: x}, found, last(observed))
    assert said is not None
    assert (said.operand, said.confirmed) == ("image", True), said
