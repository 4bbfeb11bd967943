"""Faults of graph convolutions, residuals and unpooling, in both stages."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from network.registry import network_of
from studies.faults.convolutions import through
from studies.faults.injection import Arrays, Forward, Injection, Make, layers, replacing
from torch_impl.coarse import LAYERS, layer_name
from torch_impl.graph import GraphConvolution, Support, mix
from torch_impl.listening import Listener, tell

Layer = Callable[[GraphConvolution, Tensor, Support, bool], Tensor]


def summed(
    layer: GraphConvolution, x: Tensor, support: Support, relu: bool, *, bias: float = 1.0,
    first: float = 1.0, second: float = 1.0,
) -> Tensor:  # fmt: skip
    """Σ_k S_k (X W_k) + b with factors for its parts: (…, V, C_in) to (…, V, C_out)."""
    result = first * mix(support[0], x @ layer.weights_0)
    result = result + second * mix(support[1], x @ layer.weights_1)
    result = result + bias * layer.bias
    return result.relu() if relu else result


def no_bias(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The bias left out."""
    return summed(layer, x, support, relu, bias=0.0)


def bias_twice(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The bias added once a support."""
    return summed(layer, x, support, relu, bias=2.0)


def bias_mixed(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The bias added before the second support is applied, as a layer of the library's would."""
    second = mix(support[1], x @ layer.weights_1 + layer.bias)
    result = mix(support[0], x @ layer.weights_0) + second
    return result.relu() if relu else result


def no_second(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The identity support alone."""
    return summed(layer, x, support, relu, second=0.0)


def averaged(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The supports averaged instead of added."""
    return summed(layer, x, support, relu, first=0.5, second=0.5)


def supports_swapped(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Each support with the matrix of the other."""
    return summed(layer, x, (support[1], support[0]), relu)


def identity(layer: GraphConvolution, x: Tensor, support: Support, _: bool) -> Tensor:
    """No ReLU."""
    return summed(layer, x, support, False)


def rectified(layer: GraphConvolution, x: Tensor, support: Support, _: bool) -> Tensor:
    """A ReLU, also where none belongs."""
    return summed(layer, x, support, True)


def leaky(layer: GraphConvolution, x: Tensor, support: Support, _: bool) -> Tensor:
    """A ReLU that lets a hundredth of what is negative through."""
    return F.leaky_relu(summed(layer, x, support, False), 0.01)


def half_input(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Features read as float16."""
    return summed(layer, through(torch.float16)(x), support, relu)


def autocast(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """The two products with the weights in bfloat16 where the run is in float32."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        products = [(x @ weight).to(x.dtype) for weight in (layer.weights_0, layer.weights_1)]
    result = mix(support[0], products[0]) + mix(support[1], products[1]) + layer.bias
    return result.relu() if relu else result


def detached(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """No gradient to the input."""
    return summed(layer, x.detach(), support, relu)


def straight_through(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """A ReLU whose gradient is that of the identity."""
    value = summed(layer, x, support, False)
    return value + (value.relu() - value).detach() if relu else value


def computed(function: Layer, *names: str) -> Injection:
    """The named layers computed by ``function``."""
    return layers(making(function), *names)


def making(function: Layer) -> Make:
    """A layer's ``forward`` that is ``function`` of the layer."""

    def make(layer: GraphConvolution, _: Forward) -> Forward:
        def forward(x: Tensor, support: Support, relu: bool = True) -> Tensor:
            return function(layer, x, support, relu)

        return forward

    return make


def transposed(name: str, kind: str) -> Injection:
    """A square matrix of a layer loaded with its axes swapped."""

    def change(stage: str, weights: Arrays) -> Arrays:
        key = variable_key(stage, name, kind)
        return {**weights, key: weights[key].T.copy()}

    return Injection(weights=change)


def matrices_swapped(name: str) -> Injection:
    """The matrices of a layer's two supports loaded into each other's place."""

    def change(stage: str, weights: Arrays) -> Arrays:
        first, second = (variable_key(stage, name, f"weights_{k}") for k in (0, 1))
        return {**weights, first: weights[second], second: weights[first]}

    return Injection(weights=change)


def variable_key(stage: str, name: str, kind: str) -> str:
    """The checkpoint key of a layer's ``weights_0``, ``weights_1`` or ``bias``."""
    return network_of(stage).row(name).variables[kind]


def unpooled(join: Callable[[Tensor, Tensor], Tensor], vertices: int) -> Injection:
    """Another unpooling of the level with so many vertices.

    ``join`` is given the parents (V, C) and the ends (E, 2, C) of their edges.
    """

    def make(unpool: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda x, pairs: join(x, x[pairs]) if len(x) == vertices else unpool(x, pairs)

    return replacing("graph.unpool", make)


def residuals(join: Callable[[Tensor, Tensor, Tensor], Tensor], block: int, at: int) -> Injection:
    """Another residual of the coarse stage.

    ``join`` is given a layer's output, the previous residual and the block's first output, each
    (V, 192), and makes the residual of layer ``at`` (counted from 0 in its block).
    """

    def edit(network: Any) -> None:
        kept = network._deform

        def deform(
            number: int, features: Tensor, support: Support, listen: Listener | None
        ) -> tuple[Tensor, Tensor]:
            if number != block:
                found: tuple[Tensor, Tensor] = kept(number, features, support, listen)
                return found
            return _deformed(network, number, features, support, listen, join, at)

        network._deform = deform

    return Injection(network=edit)


def _deformed(
    network: Any,
    block: int,
    features: Tensor,
    support: Support,
    listen: Listener | None,
    join: Callable[[Tensor, Tensor, Tensor], Tensor],
    at: int,
) -> tuple[Tensor, Tensor]:
    first = x = residual = network.get_submodule(layer_name(block, 0))(features, support)
    tell(listen, layer_name(block, 0), x)
    last = LAYERS[block] - 1
    for index in range(1, last):
        name = layer_name(block, index)
        x = network.get_submodule(name)(x, support)
        tell(listen, name, x)
        if index % 2 == 0:
            x = join(x, residual, first) if index == at else (x + residual) * 0.5
            residual = x
            tell(listen, f"{name}.residual", x)
    coordinates = network.get_submodule(layer_name(block, last))(x, support, relu=False)
    tell(listen, layer_name(block, last), coordinates)
    return residual, coordinates
