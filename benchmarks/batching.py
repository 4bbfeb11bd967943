"""What several items a forward pass would save in PyTorch, as ratios printed as JSON.

``python -m benchmarks.batching`` times the two parts that take nearly all of a coarse pass, the
image encoder on the one view an item that is read and a graph convolution on the finest mesh, for
several items together and one after the other, by turns, on one thread. The network itself takes
one item a pass: the official one reads all views from the maps of the first image of a pass.
"""

import json
import time
from collections.abc import Callable
from statistics import median

import click

from benchmarks.forward import measure, ratio  # before torch: commands settle how threads wait

# isort: split
import torch
from torch import Tensor

from inputs.seeded import seeded_weights
from inputs.template import build_template
from torch_impl.backend import TorchBackend
from torch_impl.coarse import CNN_MAPS, Coarse
from torch_impl.graph import GraphConvolution, Support

FINEST = 2
"""The level of the mesh in the last block, where most products are."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--items", default=4, show_default=True, type=click.IntRange(2))
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
def main(items: int, rounds: int) -> None:
    """Time ITEMS items together and one by one."""
    torch.set_num_threads(1)
    backend = TorchBackend("coarse", "float32", "cpu")
    network = backend.load(seeded_weights("coarse"))
    assert isinstance(network, Coarse)
    support = backend.coarse_graph(build_template()).supports[FINEST]
    with torch.inference_mode():
        found = {
            "encoder": _ratio(encoder(network, items), rounds),
            "graph convolution": _ratio(convolution(network, support, items), rounds),
        }
    click.echo(json.dumps({"items": items, "rounds": rounds, "one_by_one_over_together": found}))


One = Callable[[], list[Tensor]]
All = Callable[[], Tensor]


def encoder(network: Coarse, items: int) -> tuple[One, All]:
    """Item by item, and all together: of each item one view is read."""
    images = torch.rand(items, 224, 224, 3, dtype=next(network.parameters()).dtype)
    last = max(CNN_MAPS)

    def together() -> Tensor:
        maps = images.permute(0, 3, 1, 2).contiguous()
        for number in range(1, last + 1):
            maps = network.cnn.get_submodule(f"conv2d_{number}")(maps)
        return maps.permute(0, 2, 3, 1)

    def one_by_one() -> list[Tensor]:
        return [network.encode(image)[-1][0] for image in images.split(1)]

    return one_by_one, together


def convolution(network: Coarse, support: Support, items: int) -> tuple[One, All]:
    """The same for a graph convolution of hidden channels; every item has the same graph."""
    layer = network.get_submodule("graph_conv_blk3_2_layer_34")
    assert isinstance(layer, GraphConvolution)
    first, second = support
    assert second is not None
    vertices = len(second)
    width = layer.weights_0.shape[0]
    features = torch.rand(items, vertices, width, dtype=layer.weights_0.dtype)

    def together() -> Tensor:
        products = features @ torch.cat([layer.weights_0, layer.weights_1], dim=1)
        own, others = products.chunk(2, dim=2)
        # One sparse product mixes the vertices of all items, whose channels stand side by side.
        beside = others.transpose(0, 1).reshape(vertices, -1)
        mixed = (second @ beside).reshape(vertices, items, -1).transpose(0, 1)
        return (own + mixed + layer.bias).relu_()

    def one_by_one() -> list[Tensor]:
        return [layer(each, (first, second)) for each in features]

    return one_by_one, together


def _ratio(both: tuple[One, All], rounds: int) -> dict[str, float | None]:
    """Median seconds of the processor of either way, by turns, and the median of their ratios."""
    alone, together = "one_by_one_s", "together_s"
    seconds = measure(dict(zip((alone, together), both, strict=True)), rounds, time.process_time)
    return {
        **{name: median(each) for name, each in seconds.items()},
        "ratio": ratio(seconds, alone, together),
    }


if __name__ == "__main__":
    main()
