"""Faults of the image network: padding, stride, kernels, channels, activation, precision."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from network.registry import network_of
from studies.faults.injection import Arrays, Forward, Injection, Make, layers
from studies.faults.places import FIRST, image_layer
from torch_impl.cnn import SameConv2d

Edit = Callable[[Tensor], Tensor]


def convolved(
    layer: SameConv2d,
    x: Tensor,
    *,
    pads: tuple[int, int] | None = None,
    mode: str = "constant",
    kernel: Tensor | None = None,
    bias: bool = True,
    rectify: Edit = torch.relu,
) -> Tensor:
    """One convolution of the network, (views, C_in, H, W) to (views, C_out, H', W').

    Args:
        layer: holds weight, bias, kernel size and stride.
        x: its input.
        pads: rows and columns added before and after; TensorFlow's SAME by default.
        mode: what they hold, as ``torch.nn.functional.pad`` names it.
        kernel: another kernel than the layer's.
        bias: whether it is added.
        rectify: what follows.
    """
    before, after = same_pads(layer) if pads is None else pads
    padded = F.pad(x, (before, after, before, after), mode=mode)
    kernel = layer.weight if kernel is None else kernel
    stride = int(layer.stride[0])
    return rectify(F.conv2d(padded, kernel, layer.bias if bias else None, stride))


def same_pads(layer: SameConv2d) -> tuple[int, int]:
    """What TensorFlow's SAME adds before and after, on even sizes."""
    half = int(layer.kernel_size[0]) // 2
    return (half, half) if int(layer.stride[0]) == 1 else (half - 1, half)


def _making(function: Callable[[SameConv2d, Tensor], Tensor]) -> Make:
    def make(layer: SameConv2d, _: Forward) -> Forward:
        return lambda x: function(layer, x)

    return make


def _wrapping(before: Edit | None = None, after: Edit | None = None) -> Make:
    def make(_: SameConv2d, forward: Forward) -> Forward:
        def wrapped(x: Tensor) -> Tensor:
            result: Tensor = forward(x if before is None else before(x))
            return result if after is None else after(result)

        return wrapped

    return make


def symmetric(layer: SameConv2d, x: Tensor) -> Tensor:
    """Padded by half the kernel on every side, at stride 2 too."""
    half = int(layer.kernel_size[0]) // 2
    return convolved(layer, x, pads=(half, half))


def reversed_pads(layer: SameConv2d, x: Tensor) -> Tensor:
    """What SAME adds after is added before, and the other way round."""
    before, after = same_pads(layer)
    return convolved(layer, x, pads=(after, before))


def replicated(layer: SameConv2d, x: Tensor) -> Tensor:
    """Padded with the border's values."""
    return convolved(layer, x, mode="replicate")


def odd_rows(layer: SameConv2d, x: Tensor) -> Tensor:
    """Stride 2 as every second output of a dense convolution, the first one left out.

    Output i of SAME at stride 2 is centred on 2i + 1, for 3×3 kernels (0 before, 1 after) as for
    5×5 ones (1 and 2): these are the odd outputs of the dense convolution.
    """
    half = int(layer.kernel_size[0]) // 2
    padded = F.pad(x, (half, half, half, half))
    return torch.relu(F.conv2d(padded, layer.weight, layer.bias)[..., 1::2, 1::2])


def flipped(layer: SameConv2d, x: Tensor) -> Tensor:
    """The kernel turned by half a turn: a convolution, where networks correlate."""
    return convolved(layer, x, kernel=layer.weight.flip(2, 3))


def without_bias(layer: SameConv2d, x: Tensor) -> Tensor:
    """The bias left out."""
    return convolved(layer, x, bias=False)


def without_relu(layer: SameConv2d, x: Tensor) -> Tensor:
    """The ReLU left out."""
    return convolved(layer, x, rectify=lambda value: value)


def leaky(layer: SameConv2d, x: Tensor) -> Tensor:
    """A ReLU that lets a hundredth of what is negative through."""
    return convolved(layer, x, rectify=lambda value: F.leaky_relu(value, 0.01))


def autocast(layer: SameConv2d, x: Tensor) -> Tensor:
    """In bfloat16 where the run is in float32, back in float32 at the end, as mixed precision."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        return convolved(layer, x).to(x.dtype)


def ten_bits(x: Tensor) -> Tensor:
    """Float32 numbers with ten bits after the leading one, as TF32 reads them."""
    if x.dtype != torch.float32:
        return x
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def tensor_float(layer: SameConv2d, x: Tensor) -> Tensor:
    """Input and kernel rounded to ten bits, as TF32 does; float64 is left alone."""
    return convolved(layer, ten_bits(x), kernel=ten_bits(layer.weight))


def through(dtype: torch.dtype) -> Edit:
    """An explicit cast to a narrower type and back, in any precision of the run."""
    return lambda value: value.to(dtype).to(value.dtype)


def half_kernel(layer: SameConv2d, x: Tensor) -> Tensor:
    """The kernel kept in float16."""
    return convolved(layer, x, kernel=through(torch.float16)(layer.weight))


def straight_through(layer: SameConv2d, x: Tensor) -> Tensor:
    """A ReLU whose gradient is that of the identity."""
    value = convolved(layer, x, rectify=lambda result: result)
    return value + (value.relu() - value).detach()


def detached(layer: SameConv2d, x: Tensor) -> Tensor:
    """No gradient to the input."""
    return convolved(layer, x.detach())


def convolution(function: Callable[[SameConv2d, Tensor], Tensor], *numbers: int) -> Injection:
    """The numbered convolutions computed by ``function``; all of them if none are given."""
    numbers = numbers or tuple(range(1, 1 + len(network_of(FIRST).maps)))
    return layers(_making(function), *map(image_layer, numbers))


def output_channels(edit: Edit, number: int) -> Injection:
    """An edit of one convolution's output (views, C, H, W)."""
    return layers(_wrapping(after=edit), image_layer(number))


def input_channels(edit: Edit, number: int) -> Injection:
    """An edit of one convolution's input (views, C, H, W)."""
    return layers(_wrapping(before=edit), image_layer(number))


def kernel_axes(number: int, axes: tuple[int, int, int, int]) -> Injection:
    """A kernel read with its axes (height, width, in, out) in another order of equal shape."""

    def change(stage: str, weights: Arrays) -> Arrays:
        key = kernel_key(stage, number)
        transposed = weights[key].transpose(axes).copy()
        assert transposed.shape == weights[key].shape, "a transpose that a loader would refuse"
        return {**weights, key: transposed}

    return Injection(weights=change)


def kernel_key(stage: str, number: int) -> str:
    """The checkpoint key of a convolution's kernel."""
    return network_of(stage).maps[number - 1].variables["weight"]


def averaged_rows(layer: SameConv2d, x: Tensor) -> Tensor:
    """Stride 2 as the mean of two by two outputs of a dense convolution."""
    half = int(layer.kernel_size[0]) // 2
    padded = F.pad(x, (half, half, half, half))
    return F.avg_pool2d(torch.relu(F.conv2d(padded, layer.weight, layer.bias)), 2)
