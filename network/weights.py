"""The table of variables: official checkpoint key, graph node, state-dict key, shape, layout.

The rows stand in the order of the network, bottom up. Shapes are the checkpoint's. The names on
the left (keys ending in a literal ``:0``, a scope ``meshnetmvp2m`` whose nodes are ``meshnet``)
are those of the exported TensorFlow 1.12 graphs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from network.layout import Layout

# Kernel size and channels out of the 18 convolutions; the first one reads 3 channels (B, G, R).
_CNN: tuple[tuple[int, int], ...] = (
    *((3, 16), (3, 16)),
    *((3, 32), (3, 32), (3, 32)),
    *((3, 64), (3, 64), (3, 64)),
    *((3, 128), (3, 128), (3, 128)),
    *((5, 256), (3, 256), (3, 256)),
    *((5, 512), (3, 512), (3, 512), (3, 512)),
)
# Block, its first layer's number, its number of graph convolutions, the channels it reads:
# 3 coordinates and 3 statistics of 960 map channels, in blocks 2 and 3 also 192 hidden ones.
_COARSE_BLOCKS = ((1, 1, 14, 2883), (2, 17, 14, 3075), (3, 33, 15, 3075))
# Layer name of a refine block and the number of its first local graph convolution.
_REFINE_BLOCKS = (("graph_drb_blk1_layer_2", 1), ("graph_drb_blk2_layer_5", 7))
# Channels in and out of its six convolutions: 3 coordinates and 3 statistics of 112, at the end
# one score.
_REFINE_CHANNELS = ((339, 192), (192, 192), (192, 192), (192, 192), (192, 192), (192, 1))
_HIDDEN = 192


@dataclass(frozen=True)
class WeightRow:
    """One variable.

    Attributes:
        stage: the network's name.
        key: name in the official checkpoint, such as ``meshnet/cnn/conv2d_1/W:0``.
        node: name of the variable's node in the exported graph.
        torch_key: name in the state dict.
        shape: shape in the checkpoint.
        layout: how the checkpoint's axes and the state dict's belong together.
    """

    stage: str
    key: str
    node: str
    torch_key: str
    shape: tuple[int, ...]
    layout: Layout

    @property
    def torch_shape(self) -> tuple[int, ...]:
        return self.layout.torch_shape(self.shape)


def _row(
    stage: str, path: str, torch_key: str, shape: tuple[int, ...], layout: Layout
) -> WeightRow:
    # Both graphs call their scope "meshnet"; the coarse one was saved under another name.
    scope = {"coarse": "meshnetmvp2m", "refine": "meshnet"}[stage]
    return WeightRow(stage, f"{scope}/{path}:0", f"meshnet/{path}", torch_key, shape, layout)


def _convolution(
    stage: str, number: int, size: int, channels_in: int, channels_out: int
) -> Iterator[WeightRow]:
    """The weight and bias of an image convolution."""
    path, module = f"cnn/conv2d_{number}", f"cnn.conv2d_{number}"
    kernel = (size, size, channels_in, channels_out)
    yield _row(stage, f"{path}/W", f"{module}.weight", kernel, Layout.CONV)
    yield _row(stage, f"{path}/b", f"{module}.bias", (channels_out,), Layout.VECTOR)


def _graph_convolution(
    stage: str, layer: str, channels_in: int, channels_out: int
) -> Iterator[WeightRow]:
    """The two supports' matrices and the bias of a graph convolution, ``layer`` with slashes."""
    path, module = f"pixel2mesh/{layer}_vars", layer.replace("/", ".")
    for support in ("weights_0", "weights_1"):
        shape = (channels_in, channels_out)
        yield _row(stage, f"{path}/{support}", f"{module}.{support}", shape, Layout.MATRIX)
    yield _row(stage, f"{path}/bias", f"{module}.bias", (channels_out,), Layout.VECTOR)


def _cnn(stage: str) -> Iterator[WeightRow]:
    channels = 3
    for number, (size, channels_out) in enumerate(_CNN, start=1):
        yield from _convolution(stage, number, size, channels, channels_out)
        channels = channels_out


def _coarse() -> Iterator[WeightRow]:
    yield from _cnn("coarse")
    for block, first, count, channels in _COARSE_BLOCKS:
        for index in range(count):
            layer = f"graph_conv_blk{block}_{index + 1}_layer_{first + index}"
            channels_in = channels if index == 0 else _HIDDEN
            channels_out = 3 if index == count - 1 else _HIDDEN
            yield from _graph_convolution("coarse", layer, channels_in, channels_out)


def _refine() -> Iterator[WeightRow]:
    yield from _cnn("refine")
    for block, first in _REFINE_BLOCKS:
        for number, (channels_in, channels_out) in enumerate(_REFINE_CHANNELS, start=first):
            layer = f"{block}/localgconv_{number}"
            yield from _graph_convolution("refine", layer, channels_in, channels_out)


WEIGHTS: dict[str, tuple[WeightRow, ...]] = {"coarse": tuple(_coarse()), "refine": tuple(_refine())}
"""The variables of each stage, in the order of the network."""

STAGES: tuple[str, ...] = tuple(WEIGHTS)
"""The names of the two stages."""
