"""Which kind of layer computes a tap, and which variables it reads."""

from enum import Enum, auto

from network.taps import TapRow
from network.weights import WEIGHTS


class Kind(Enum):
    """The kinds of layers that both stages are made of."""

    IMAGE_CONVOLUTION = auto()
    PROJECTION = auto()
    CONCATENATION = auto()
    UNPOOLING = auto()
    GRAPH_CONVOLUTION = auto()
    HALVED_SUM = auto()
    HYPOTHESES = auto()
    LOCAL_CONVOLUTION = auto()
    PLAIN_SUM = auto()
    SOFTMAX = auto()
    MOVED = auto()


CONVOLUTIONS = (Kind.IMAGE_CONVOLUTION, Kind.GRAPH_CONVOLUTION, Kind.LOCAL_CONVOLUTION)
"""The kinds that have variables."""


def kind_of(row: TapRow) -> Kind:
    """The kind of a tap's layer."""
    name, last = row.name, row.name.rsplit(".", 1)[-1]
    if name.startswith("cnn."):
        return Kind.IMAGE_CONVOLUTION
    if last == "concat":
        return Kind.CONCATENATION
    if name.startswith(("graph_proj", "graph_localproj")):
        return Kind.PROJECTION
    if name.startswith("graph_pool"):
        return Kind.UNPOOLING
    if last == "residual":
        return Kind.HALVED_SUM
    if last.startswith("residual_"):
        return Kind.PLAIN_SUM
    if name.startswith("graph_sample_hypothesis"):
        return Kind.HYPOTHESES
    if last == "score":
        return Kind.SOFTMAX
    if last.startswith("localgconv_"):
        return Kind.LOCAL_CONVOLUTION
    return Kind.GRAPH_CONVOLUTION if row.stage == "coarse" else Kind.MOVED


def variables_of(row: TapRow) -> dict[str, str]:
    """A layer's variables: the last part of the state-dict key to the checkpoint key."""
    if kind_of(row) not in CONVOLUTIONS:
        return {}
    prefix = f"{row.module}."
    return {
        each.torch_key.removeprefix(prefix): each.key
        for each in WEIGHTS[row.stage]
        if each.torch_key.startswith(prefix)
    }
