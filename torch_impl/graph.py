"""Graph convolutions over a whole mesh and over the local graph of each vertex's hypotheses."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Support = tuple[Tensor | None, Tensor | None]
"""The two matrices S_0, S_1 of a graph, each (V, V), sparse or dense, or None for the identity."""

VERTICES_AT_ONCE = 128
"""Vertices whose 43 hypotheses pass through a local convolution together.

Their intermediate products (128·43 rows of 384 float32, 8 MB) stay in the cache and in memory the
allocator hands out again; whole-mesh products would be mapped and zeroed afresh every time, which
costs as much as the arithmetic. Nothing mixes between vertices, so the result is the same.
"""

VERTICES_FORGOTTEN = 640
"""Vertices whose features are computed together, and again on the way back."""


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
        weights = torch.cat([self.weights_0, self.weights_1], dim=1)

        def convolve(part: Tensor) -> Tensor:
            first, second = (part @ weights).chunk(2, dim=2)
            result = (mix(support[0], first) + mix(support[1], second)).add_(self.bias)
            return result.relu_() if relu else result

        return by_vertices(convolve, x)


def mix(matrix: Tensor | None, x: Tensor) -> Tensor:
    """``matrix`` times features (…, V, C); the identity costs nothing."""
    return x if matrix is None else matrix @ x


def by_vertices(function: Callable[[Tensor], Tensor], x: Tensor, forget: bool = False) -> Tensor:
    """Apply ``function``, which mixes nothing between vertices, to some vertices at a time.

    With gradients wanted it is applied to all at once, which autograd handles better than slices;
    or, to ``forget`` what it computes on the way, to a few slices that are computed again on the
    way back.
    """
    if torch.is_grad_enabled():
        if not forget:
            return function(x)
        parts = x.split(VERTICES_FORGOTTEN)
        return torch.cat([checkpoint(function, part, use_reentrant=False) for part in parts])
    first = function(x[:VERTICES_AT_ONCE])
    result = first.new_empty((x.shape[0], *first.shape[1:]))
    result[:VERTICES_AT_ONCE] = first
    for start in range(VERTICES_AT_ONCE, x.shape[0], VERTICES_AT_ONCE):
        stop = start + VERTICES_AT_ONCE
        result[start:stop] = function(x[start:stop])
    return result


def unpool(x: Tensor, pairs: Tensor) -> Tensor:
    """Put a vertex on every edge: features (V, C) and pairs (E, 2) to (V + E, C).

    The parents come first, then the mean of each edge's ends in the order of ``pairs``.
    """
    return torch.cat([x, 0.5 * x[pairs].sum(dim=1)], dim=0)
