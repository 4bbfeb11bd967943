"""Mutations of layers, by rule: every operator on an operand, applied to a layer it fits.

A rule does not choose its layer: the layers it fits are gone through in a fixed stride, so that
the mutations of all rules spread over the depth of both stages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from network.registry import network_of
from network.taps import TapRow
from network.weights import STAGES
from studies.faults import convolutions, graphs
from studies.faults.convolutions import convolution
from studies.faults.fault import Fault
from studies.faults.graphs import computed
from studies.faults.injection import Injection

STRIDE = 7
"""Between the layers of one rule and the next, among those that the rule fits."""


@dataclass(frozen=True)
class Rule:
    """An operator on an operand of one layer.

    Attributes:
        name: operator and operand.
        description: what is done.
        operand: the term for what is wrong.
        inject: the stage's name and a layer's to the injection.
        fits: the kind of layers, a key of ``LAYERS_OF``.
        stages: where it is applied, to one layer each.
        dtype: the precision in which it shows.
        small: whether it belongs to the small form.
    """

    name: str
    description: str
    operand: str
    inject: Callable[[str, str], Injection]
    fits: str
    stages: Sequence[str]
    dtype: str = "float64"
    small: bool = False


def _convolutions(stage: str, stride: int | None = None, square: bool = False) -> list[str]:
    """Convolutions of the image network, as far as maps are projected.

    What is wrong behind the last of these changes nothing but taps.
    """
    network = network_of(stage)
    last = network.maps.index(network.projected[-1])
    return [
        row.name
        for row in network.maps[: last + 1]
        if stride in (None, row.settings["stride"]) and (not square or _is_square(stage, row))
    ]


def _graph(stage: str, square: bool = False) -> list[str]:
    """Hidden graph convolutions."""
    rows = network_of(stage).of_layer("graph_convolution", "local_graph_convolution")
    # The last one of a block of hypotheses gives a single score.
    hidden = [row for row in rows if row.shape[-1] > 1]
    return [row.name for row in hidden if not square or _is_square(stage, row)]


def _is_square(stage: str, row: TapRow) -> bool:
    """Whether a layer has as many channels in as out."""
    variables = network_of(stage).variables_by_key
    matrix = next(key for key in row.variables.values() if len(variables[key].shape) > 1)
    *_, channels_in, channels_out = variables[matrix].shape
    return channels_in == channels_out


LAYERS_OF: dict[str, Callable[[str], list[str]]] = {
    "strided": lambda stage: _convolutions(stage, stride=2),
    "dense": lambda stage: _convolutions(stage, stride=1),
    "convolution": _convolutions,
    "square convolution": lambda stage: _convolutions(stage, square=True),
    "hidden": _graph,
    "square": lambda stage: _graph(stage, square=True),
    "coordinates": lambda stage: [row.name for row in network_of(stage).of_layer("coordinates")],
}
"""The layers of a stage that a kind of rule fits, in the order of the network."""


def _number(layer: str) -> int:
    return int(layer.rpartition("_")[2])


def _conv(function: Callable[..., object]) -> Callable[[str, str], Injection]:
    return lambda _, layer: convolution(function, _number(layer))  # type: ignore[arg-type]


def _computed(function: graphs.Layer) -> Callable[[str, str], Injection]:
    return lambda _, layer: computed(function, layer)


BOTH, COARSE, REFINE = STAGES, STAGES[:1], STAGES[1:]

RULES: tuple[Rule, ...] = (
    Rule("pad.reverse", "SAME pads before instead of after", "padding",
         _conv(convolutions.reversed_pads), "strided", BOTH),
    Rule("pad.replicate", "padded with the border's values instead of zeros", "padding",
         _conv(convolutions.replicated), "dense", COARSE),
    Rule("stride.average", "two by two outputs averaged instead of one taken", "stride",
         _conv(convolutions.averaged_rows), "strided", REFINE),
    Rule("transpose.height_width", "kernel's height and width swapped", "weights transposed",
         lambda _, layer: convolutions.kernel_axes(_number(layer), (1, 0, 2, 3)),
         "convolution", BOTH, small=True),
    Rule("transpose.in_out", "kernel's input and output channels swapped", "weights transposed",
         lambda _, layer: convolutions.kernel_axes(_number(layer), (0, 1, 3, 2)),
         "square convolution", REFINE),
    Rule("order.flip_kernel", "convolved instead of correlated", "index order",
         _conv(convolutions.flipped), "convolution", COARSE),
    Rule("drop.kernel_bias", "bias of a convolution not added", "bias",
         _conv(convolutions.without_bias), "convolution", REFINE),
    Rule("swap.output_channels", "output channels turned by one", "channel order",
         lambda _, layer: convolutions.output_channels(
             lambda x: x.roll(1, dims=1), _number(layer)), "convolution", COARSE),
    Rule("swap.input_channels", "input channels in reverse", "channel order",
         lambda _, layer: convolutions.input_channels(lambda x: x.flip(1), _number(layer)),
         "square convolution", REFINE),
    Rule("drop.relu", "convolution without ReLU", "activation",
         _conv(convolutions.without_relu), "convolution", COARSE),
    Rule("constant.leaky_relu", "ReLU that leaks a hundredth", "activation",
         _conv(convolutions.leaky), "convolution", REFINE),
    Rule("precision.half_kernel", "kernel kept in float16", "precision",
         _conv(convolutions.half_kernel), "convolution", COARSE),
    Rule("precision.tensor_float", "convolution in TF32", "precision",
         _conv(convolutions.tensor_float), "convolution", REFINE, dtype="float32"),
    Rule("swap.supports", "the two supports swapped", "support",
         _computed(graphs.supports_swapped), "hidden", BOTH),
    Rule("drop.second_support", "the second support's product left out", "support",
         _computed(graphs.no_second), "hidden", COARSE),
    Rule("reduction.mean_of_supports", "products averaged instead of added", "reduction",
         _computed(graphs.averaged), "hidden", REFINE),
    Rule("transpose.weights_0", "first matrix transposed", "weights transposed",
         lambda _, layer: graphs.transposed(layer, "weights_0"), "square", COARSE),
    Rule("transpose.weights_1", "second matrix transposed", "weights transposed",
         lambda _, layer: graphs.transposed(layer, "weights_1"), "square", REFINE),
    Rule("swap.matrices", "the two supports' matrices swapped", "support",
         lambda _, layer: graphs.matrices_swapped(layer), "hidden", BOTH),
    Rule("drop.graph_bias", "bias of one graph convolution not added", "bias",
         _computed(graphs.no_bias), "hidden", REFINE),
    Rule("constant.double_bias", "bias added once a support", "bias",
         _computed(graphs.bias_twice), "hidden", COARSE),
    Rule("order.bias_before_support", "bias added before the second support", "bias",
         _computed(graphs.bias_mixed), "hidden", REFINE),
    Rule("drop.graph_relu", "hidden graph convolution without ReLU", "activation",
         _computed(graphs.identity), "hidden", COARSE),
    Rule("add.relu", "ReLU on coordinates", "activation",
         _computed(graphs.rectified), "coordinates", COARSE, small=True),
    Rule("constant.leaky_graph_relu", "ReLU that leaks a hundredth", "activation",
         _computed(graphs.leaky), "hidden", REFINE),
    Rule("precision.half_features", "features read as float16", "precision",
         _computed(graphs.half_input), "hidden", COARSE),
    Rule("precision.autocast_graph", "products in bfloat16 under mixed precision", "precision",
         _computed(graphs.autocast), "hidden", REFINE, dtype="float32"),
)  # fmt: skip


def layer_mutations() -> list[Fault]:
    """The faults that the rules make, in the order of the rules."""
    found = []
    for number, rule in enumerate(RULES):
        for stage in rule.stages:
            layers = LAYERS_OF[rule.fits](stage)
            layer = layers[(STRIDE * number + len(layers) // 2) % len(layers)]
            short = layer.rpartition(".")[2]
            found.append(
                Fault(
                    id=f"{rule.name}.{stage}.{short}",
                    description=rule.description,
                    part="cnn" if network_of(stage).row(layer).is_map else "gcn",
                    operand=rule.operand,
                    shows_in=("forward",),
                    probe="plane",
                    expected={stage: layer},
                    source=rule.name,
                    injection=rule.inject(stage, layer),
                    dtype=rule.dtype,
                    small=rule.small,
                )
            )
    return found
