"""Where faults are put: the official network's layers by kind and place, not by name."""

from network.registry import network_of
from network.weights import STAGES

FIRST, LAST = STAGES
"""The stage that moves a mesh block by block, and the one that chooses among hypotheses."""


def nth(stage: str, layer: str, number: int) -> str:
    """The tap that the layer of a kind computes, counted from 0 over the stage."""
    return network_of(stage).of_layer(layer)[number].name


def image_layer(number: int) -> str:
    """A convolution of the image network, counted from 1, the same in both stages."""
    return network_of(FIRST).maps[number - 1].name


def local(number: int) -> str:
    """A graph convolution among hypotheses, counted from 1 over both blocks."""
    return nth(LAST, "local_graph_convolution", number - 1)


def residual_after(layer: str) -> str:
    """The sum that a layer's output goes into."""
    return next(row.name for row in network_of(FIRST).consumers[layer] if row.is_sum)


def projection(stage: str) -> str:
    """A stage's first projection, which every fault between vertices and features reaches first."""
    return next(row.name for row in network_of(stage).taps if row.is_projection)


def block_end(block: int) -> str:
    """The displaced mesh of a block of hypotheses, counted from 1."""
    return network_of(LAST).meshes[block - 1]
