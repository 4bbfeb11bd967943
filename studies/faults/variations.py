"""Other ways of computing the same function: order of sums, memory layout, settings, autograd."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inputs.template import SparseMatrix
from studies.faults import convolutions, graphs
from studies.faults.convolutions import same_pads
from studies.faults.injection import Around, Injection, Inputs, every_layer, replaced, swapped
from studies.faults.places import image_layer
from torch_impl import graph
from torch_impl.backend import TorchBackend
from torch_impl.cnn import CONVOLUTIONS, SameConv2d
from torch_impl.graph import GraphConvolution, Support, mix
from torch_impl.nearest import Targets


def setting(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Injection:
    """A setting of torch's that is put back afterwards."""

    @contextmanager
    def around() -> Iterator[None]:
        kept = read()
        write(value)
        try:
            yield
        finally:
            write(kept)

    return Injection(around=(around,))


def threads(count: int) -> Injection:
    """So many threads within an operation."""
    return setting(torch.get_num_threads, torch.set_num_threads, count)


def without_onednn() -> Injection:
    """Torch's own convolutions instead of oneDNN's."""
    switch: Any = torch.backends.mkldnn
    # Not its context manager, which also sets flags that only other processors know.
    return setting(lambda: switch.enabled, lambda on: switch.set_flags(_enabled=on), False)


def with_gradients() -> Injection:
    """Forward runs with gradients recorded."""

    def edit(network: Any) -> None:
        network.forward = torch.enable_grad()(network.forward)

    return Injection(network=edit)


def every_convolution(function: Callable[[SameConv2d, Tensor], Tensor]) -> Injection:
    """All convolutions computed by ``function``."""
    return convolutions.convolution(function)


def channels_last(layer: SameConv2d, x: Tensor) -> Tensor:
    """Input and kernel with their channels last in memory."""
    kernel = layer.weight.contiguous(memory_format=torch.channels_last)
    given = x.contiguous(memory_format=torch.channels_last)
    return convolutions.convolved(layer, given, kernel=kernel)


def not_contiguous(layer: SameConv2d, x: Tensor) -> Tensor:
    """An input whose rows are apart in memory."""
    apart = torch.empty(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)[..., ::2]
    return convolutions.convolved(layer, apart.copy_(x))


def unfolded(layer: SameConv2d, x: Tensor) -> Tensor:
    """A product of the kernel with the windows of the input."""
    before, after = same_pads(layer)
    padded = F.pad(x, (before, after, before, after))
    size, stride = int(layer.kernel_size[0]), int(layer.stride[0])
    windows = F.unfold(padded, size, stride=stride)
    result = layer.weight.flatten(1) @ windows + layer.bias[:, None]  # type: ignore[index]
    side = x.shape[2] // stride
    return result.unflatten(2, (side, side)).relu()


def channels_permuted(layer: SameConv2d, x: Tensor) -> Tensor:
    """Input channels summed in another order."""
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
    return convolutions.convolved(layer, x[:, order], kernel=layer.weight[:, order])


def channels_split(layer: SameConv2d, x: Tensor) -> Tensor:
    """The sums over two halves of the input channels, added."""
    half = x.shape[1] // 2

    def part(channels: slice) -> Tensor:
        return convolutions.convolved(
            layer, x[:, channels], kernel=layer.weight[:, channels], bias=False,
            rectify=lambda value: value,
        )  # fmt: skip

    bias = layer.bias[:, None, None]  # type: ignore[index]
    return (part(slice(0, half)) + part(slice(half, None)) + bias).relu()


def bias_afterwards(layer: SameConv2d, x: Tensor) -> Tensor:
    """The bias added when the sum is complete."""
    found = convolutions.convolved(layer, x, bias=False, rectify=lambda value: value)
    return (found + layer.bias[:, None, None]).relu()  # type: ignore[index]


def window_by_window(layer: SameConv2d, x: Tensor) -> Tensor:
    """One product a place of the window, added up from the last to the first."""
    before, after = same_pads(layer)
    padded = F.pad(x, (before, after, before, after))
    size, stride = int(layer.kernel_size[0]), int(layer.stride[0])
    side = x.shape[2] // stride
    found = layer.bias[:, None, None].expand(-1, side, side)[None]  # type: ignore[index]
    for row in reversed(range(size)):
        for column in reversed(range(size)):
            seen = padded[
                :, :, row : row + side * stride : stride, column : column + side * stride : stride
            ]
            found = found + torch.einsum("oc,nchw->nohw", layer.weight[:, :, row, column], seen)
    return found.relu()


def strided_as_dense(layer: SameConv2d, x: Tensor) -> Tensor:
    """Stride 2 as every second output of a dense convolution; see ``convolutions.odd_rows``."""
    if int(layer.stride[0]) == 1:
        return convolutions.convolved(layer, x)
    return convolutions.odd_rows(layer, x)


def views_together() -> Injection:
    """The three views convolved as one batch."""

    def change(network: Any) -> None:
        def forward(images: Tensor, wanted: tuple[int, ...], views: int, listen: Any = None) -> Any:
            x = images.permute(0, 3, 1, 2)
            maps = []
            for number in range(1, len(CONVOLUTIONS) + 1):
                x = network.cnn.get_submodule(f"conv2d_{number}")(x)
                if listen is not None:
                    listen.tap(image_layer(number), x.permute(0, 2, 3, 1))
                if number in wanted:
                    maps.append(x[:views].permute(0, 2, 3, 1))
            return maps

        network.cnn.forward = forward

    return Injection(network=change)


def every_graph_convolution(function: graphs.Layer) -> Injection:
    """All graph convolutions computed by ``function``."""
    return every_layer(graphs.making(function), GraphConvolution)


def matrices_apart(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """One product a support."""
    return graphs.summed(layer, x, support, relu)


def supports_first(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """(S_k X) W_k in place of S_k (X W_k)."""
    result = mix(support[0], x) @ layer.weights_0 + mix(support[1], x) @ layer.weights_1
    return _finished(layer, result, relu)


def einsum(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Products by einsum."""
    products = (torch.einsum("...vc,cd->...vd", x, w) for w in (layer.weights_0, layer.weights_1))
    first, second = products
    return _finished(layer, mix(support[0], first) + mix(support[1], second), relu)


def inputs_permuted(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Input channels summed in another order."""
    order = torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(0))
    first, second = (x[..., order] @ w[order] for w in (layer.weights_0, layer.weights_1))
    return _finished(layer, mix(support[0], first) + mix(support[1], second), relu)


def products_split(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Sums over three parts of the input channels, added."""
    parts = torch.arange(x.shape[-1]).chunk(3)
    first, second = (
        sum((x[..., part] @ w[part] for part in parts[1:]), x[..., parts[0]] @ w[parts[0]])
        for w in (layer.weights_0, layer.weights_1)
    )
    return _finished(layer, mix(support[0], first) + mix(support[1], second), relu)


def bias_first(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Sums that begin with the bias: b + S_0 X W_0 by addmm, then the second support's."""
    rows = mix(support[0], x).flatten(0, -2)
    first = torch.addmm(layer.bias, rows, layer.weights_0).unflatten(0, x.shape[:-1])
    result = first + mix(support[1], x @ layer.weights_1)
    return result.relu() if relu else result


def dense_supports(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Supports as dense matrices, the identity too."""
    size = x.shape[-2]
    dense = [
        torch.eye(size, dtype=x.dtype) if each is None
        else each.to_dense() if each.is_sparse else each
        for each in support
    ]  # fmt: skip
    return graphs.summed(layer, x, (dense[0], dense[1]), relu)


def compressed_supports(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
    """Sparse supports by compressed rows in place of coordinates."""
    with warnings.catch_warnings():
        # That this kind of matrix is new in torch; it is old enough here.
        warnings.simplefilter("ignore")
        rows = [
            each.to_sparse_csr() if each is not None and each.is_sparse else each
            for each in support
        ]
    return graphs.summed(layer, x, (rows[0], rows[1]), relu)


def _finished(layer: GraphConvolution, result: Tensor, relu: bool) -> Tensor:
    result = result + layer.bias
    return result.relu() if relu else result


def vertices_at_once(count: int) -> Injection:
    """The refine stage a few vertices at a time."""
    return Injection(around=(lambda: swapped(graph, "VERTICES_AT_ONCE", lambda _: count),))


def supports_shuffled() -> Injection:
    """The template's sparse values stored in another order."""

    def shuffle(matrix: SparseMatrix) -> SparseMatrix:
        order = np.random.default_rng(0).permutation(len(matrix.values))
        return replace(matrix, indices=matrix.indices[order], values=matrix.values[order])

    def change(_: str, inputs: Inputs) -> Inputs:
        template = inputs["template"]
        supports = tuple((shuffle(first), shuffle(second)) for first, second in template.supports)
        return {**inputs, "template": replace(template, supports=supports)}

    return Injection(inputs=change)


def pairs_turned() -> Injection:
    """The two ends of every edge named in the other order.

    The new vertex is half the sum of both, and a sum of two numbers does not depend on their
    order, in floating point either: the same bits.
    """

    def change(_: str, inputs: Inputs) -> Inputs:
        template = inputs["template"]
        turned = tuple(np.ascontiguousarray(pairs[:, ::-1]) for pairs in template.unpooling)
        return {**inputs, "template": replace(template, unpooling=turned)}

    return Injection(inputs=change)


def strided_arrays() -> Injection:
    """Inputs as views with gaps in memory."""

    def change(_: str, inputs: Inputs) -> Inputs:
        def apart(array: np.ndarray) -> np.ndarray:
            found = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::2]
            found[...] = array
            return found

        return {**inputs, **{name: apart(inputs[name]) for name in ("images", "cameras", "mesh")}}

    return Injection(inputs=change)


def column_major() -> Injection:
    """Weights in Fortran's order."""
    return Injection(
        weights=lambda _, weights: {key: np.asfortranarray(each) for key, each in weights.items()}
    )


def widened_arrays() -> Injection:
    """Inputs given as float64 that hold float32 numbers."""

    def change(_: str, inputs: Inputs) -> Inputs:
        names = ("images", "cameras", "mesh")
        return {**inputs, **{name: inputs[name].astype(np.float64) for name in names}}

    return Injection(inputs=change)


def compare_all(self: Targets, queries: Tensor) -> Tensor:
    """Nearest neighbours by holding every point against every other."""
    return self._compare_all(queries.detach())


def searched_directly() -> Injection:
    """No tree in the search for nearest neighbours."""
    return Injection(around=(lambda: swapped(Targets, "nearest", lambda _: compare_all),))


def reversed_pairs() -> Around:
    """Means over edges taken from the last to the first."""

    def make(function: Any) -> Any:
        return lambda vertices, pairs, *rest: function(vertices, pairs.flip(0), *rest)

    return lambda: replaced("losses.edge_length", make)


class Twice(TorchBackend):
    """A backend that has already run, unheard, when it is listened to."""

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        super().run(inputs, weights, None)
        return super().run(inputs, weights, listen)


class Alone(TorchBackend):
    """A backend that is run again for every tenth tap, all others unwanted."""

    PARTS = 3

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        taken: dict[str, np.ndarray] = {}
        order: list[str] = []

        class Some:
            """Wants a third of the taps."""

            def __init__(self, part: int) -> None:
                self._part, self._seen = part, -1

            def __call__(self, tap: str, value: np.ndarray) -> None:
                self._seen += 1
                if self._seen % Alone.PARTS == self._part:
                    taken[tap] = np.array(value)
                if self._part == 0:
                    order.append(tap)

        for part in range(self.PARTS):
            mesh = super().run(inputs, weights, Some(part))
        for tap in order:
            if listen is not None:
                listen(tap, taken[tap])
        return mesh


def compiled(compiler: str, *names: str) -> Injection:
    """The named graph convolutions as one function, compiled by ``compiler``."""
    compiled_once: list[Any] = []

    def function(layer: GraphConvolution, x: Tensor, support: Support, relu: bool) -> Tensor:
        assert support[0] is None, "a first support that is not the identity"
        with warnings.catch_warnings():
            # The compiler's own modules warn of one another.
            warnings.simplefilter("ignore")
            if not compiled_once:
                compiled_once.append(torch.compile(_summed, backend=compiler, dynamic=False))
            given = (x, support[1], layer.weights_0, layer.weights_1, layer.bias)
            result: Tensor = compiled_once[0](*given)
        return result.relu() if relu else result

    return graphs.computed(function, *names)


def _summed(x: Tensor, matrix: Tensor, first: Tensor, second: Tensor, bias: Tensor) -> Tensor:
    return x @ first + matrix @ (x @ second) + bias
