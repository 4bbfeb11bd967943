"""Graph convolutions over a whole mesh and over the local graph of each vertex's hypotheses."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Support = tuple[Tensor | None, Tensor | None]
"""The two matrices S_0, S_1 of a graph, each (V, V), sparse or dense, or None for the identity."""

VERTICES_AT_ONCE = 64
"""Vertices whose 43 hypotheses pass through a block of the refine stage together.

Their intermediate products (64·43 rows of 384 float32, 4 MB) stay in the cache and in memory that
the allocator hands out again; whole-mesh products would be mapped and zeroed afresh every time,
which costs more than the arithmetic. Nothing mixes between vertices, so the result is the same.
"""


class GraphConvolution(nn.Module):
    """Σ_k S_k (X W_k) + b over the two supports of a graph, as the official layer orders it."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weights_0 = nn.Parameter(torch.empty(channels_in, channels_out))
        self.weights_1 = nn.Parameter(torch.empty(channels_in, channels_out))
        self.bias = nn.Parameter(torch.empty(channels_out))

    def forward(self, x: Tensor, support: Support, relu: bool = True) -> Tensor:
        """Map features (V, C_in) to (V, C_out)."""
        products = x @ torch.cat([self.weights_0, self.weights_1], dim=1)
        first, second = products.chunk(2, dim=1)
        result = mix(support[0], first) + mix(support[1], second) + self.bias
        return result.relu() if relu else result


class LocalGraphConvolution(GraphConvolution):
    """The same sum over the 43 hypotheses of each vertex, a ReLU always after it."""

    def forward(self, x: Tensor, support: Support, relu: bool = True) -> Tensor:
        """Map features (V, 43, C_in) to (V, 43, C_out)."""
        matrix = support[1]
        assert matrix is not None, "hypotheses that are joined to nothing"

        def convolve(x: Tensor) -> Tensor:
            first, second = (
                (x.flatten(0, 1) @ weights).unflatten(0, x.shape[:2])
                for weights in (self.weights_0, self.weights_1)
            )
            # Sum and product in one pass and in place: what goes to memory costs as much. Autocast
            # passes by what is in place, so that the support takes the products' type here.
            again = matrix.to(second.dtype).expand(len(x), -1, -1)
            mixed = mix(support[0], first).baddbmm_(again, second)
            result = mixed.add_(self.bias)
            return result.relu_() if relu else result

        return by_vertices(convolve, x)


def mix(matrix: Tensor | None, x: Tensor) -> Tensor:
    """``matrix`` times features (…, V, C); the identity costs nothing."""
    if matrix is None:
        return x
    if matrix.is_sparse and torch.is_autocast_enabled(x.device.type):
        # CUDA has no kernel for a sparse product in bfloat16: under autocast it stays in the
        # supports' own type, and what it gives has that type.
        with torch.autocast(x.device.type, enabled=False):
            return matrix @ x.to(matrix.dtype)
    return matrix @ x


def vertex_slices(vertices: int) -> list[slice]:
    """Slices of the vertices to compute one after the other, where nothing mixes between them."""
    starts = range(0, vertices, VERTICES_AT_ONCE)
    return [slice(start, min(start + VERTICES_AT_ONCE, vertices)) for start in starts]


def by_vertices(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Apply ``function``, which mixes nothing between vertices, to some of them at a time.

    The vertices are the first axis of every input and of the result. Whole meshes and slices of
    them pass through here in the same slices, so that both have the same bits.
    """
    # Autograd keeps every intermediate product anyway, and would put a result together anew for
    # each slice that is written into it.
    grad = torch.is_grad_enabled()
    slices = [slice(0, len(inputs[0]))] if grad else vertex_slices(len(inputs[0]))
    first = function(*(each[slices[0]] for each in inputs))
    if len(slices) == 1:
        return first
    result = first.new_empty((len(inputs[0]), *first.shape[1:]))
    result[slices[0]] = first
    for part in slices[1:]:
        result[part] = function(*(each[part] for each in inputs))
    return result


def unpool(x: Tensor, pairs: Tensor) -> Tensor:
    """Put a vertex on every edge: features (V, C) and pairs (E, 2) to (V + E, C).

    The parents come first, then the mean of each edge's ends in the order of ``pairs``.
    """
    first, second = pairs.unbind(dim=1)
    return torch.cat([x, 0.5 * (x[first] + x[second])], dim=0)
