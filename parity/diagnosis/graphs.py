"""Counterfactuals of graph convolutions, on a mesh and over hypotheses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from parity.diagnosis.variant import (
    NARROWER,
    Part,
    Question,
    Variant,
    fitted,
    layers_alike,
    narrowed,
    narrowed_result,
    same_order,
    telling_channels,
)
from parity.oracle.layers.rounding import Evaluated

Matrix: TypeAlias = sp.csr_array | np.ndarray
LEVEL = {156: 0, 618: 1, 2466: 2}
LEAK = 0.01


@dataclass(frozen=True, eq=False)
class GraphLayer:
    """Σ_k S_k (X W_k) + b with everything that may be wrong about it.

    Attributes:
        x: (..., V, C_in).
        supports: pair of (V, V).
        weights: pair of (C_in, C_out).
        bias: (C_out,).
        slope: of the activation where its argument is negative; 1 for none.
        factors: of the two products, of X W_1 without a support, and of the bias.
        bias_mixed: whether the bias passes through the second support too.
        narrow: the type that products with the weights are rounded to.
        narrow_result: the type that the result is rounded to.
        seen: what the features go through before anything else.
    """

    x: np.ndarray
    supports: tuple[Matrix, Matrix]
    weights: tuple[np.ndarray, np.ndarray]
    bias: np.ndarray
    slope: float
    factors: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 1.0)
    bias_mixed: bool = False
    narrow: str = ""
    narrow_result: str = ""
    seen: Callable[[np.ndarray], np.ndarray] = lambda x: x

    def parts(self, part: Part) -> list[np.ndarray]:
        """S_0 X W_0, S_1 X W_1, X W_1 and the bias, each of the output's shape."""
        x = self.seen(part.of_rows(self.x) if self.x.ndim == 3 else self.x)
        first, second = (x @ weight[:, part.chosen_columns] for weight in self.weights)
        bias = np.broadcast_to(self.bias[part.chosen_columns], first.shape)
        return [self.supports[0] @ first, self.supports[1] @ second, second, bias]

    def __call__(self, question: Question, part: Part) -> Evaluated:
        """The vertices (refine stage) and the channels that a part has."""
        # The refine stage mixes hypotheses and not vertices, the coarse stage vertices.
        x = self.seen(part.of_rows(self.x) if self.x.ndim == 3 else self.x)
        a, b, d, c = self.factors
        bias = self.bias[part.chosen_columns]
        value = c * np.broadcast_to(bias, (*x.shape[:-1], len(bias)))
        magnitude = np.abs(value).astype(np.float32)
        fixed = np.zeros(value.shape)
        positive = np.abs(x).astype(np.float32)
        for support, weight, factor in zip(self.supports, self.weights, (a, b), strict=True):
            chosen = weight[:, part.chosen_columns]
            product = x @ chosen
            size = positive @ np.abs(chosen).astype(np.float32)
            if self.narrow:
                terms = np.float32(np.sqrt(x.shape[-1] + 2))
                rounded = narrowed_result(Evaluated(product, size * terms), self.narrow, question)
                product = rounded.value
                if rounded.fixed is not None:
                    fixed = fixed + abs(factor) * (abs(support) @ rounded.fixed)
                size = np.abs(product).astype(np.float32)
            value = value + factor * (support @ product)
            magnitude = magnitude + abs(factor) * (abs(support) @ size)
            if support is self.supports[1] and d:
                value, magnitude = value + d * product, magnitude + abs(d) * size
            if support is self.supports[1] and self.bias_mixed:
                spread = support @ np.ones(support.shape[0])
                value = value + (spread[:, None] - 1.0) * bias
                magnitude = magnitude + np.abs(spread)[:, None] * np.abs(bias)
        longest = max(int((each != 0).sum(axis=1).max()) for each in self.supports)
        unit = magnitude * np.sqrt(x.shape[-1] + longest + 4)
        value = np.where(value > 0, value, self.slope * value)
        found = Evaluated(value, unit.astype(np.float32), fixed)
        if self.narrow_result:
            return narrowed_result(found, self.narrow_result, question)
        return found


def official(question: Question) -> GraphLayer:
    """The layer as it should be."""
    (x,), row = question.inputs, question.row
    variables = question.context.variables(row)
    local = row.stage == "refine"
    if local and x.ndim == 2:
        x = x.reshape(-1, row.shape[1], x.shape[-1])
    supports = question.context.supports[0 if local else LEVEL[row.shape[0]]]
    slope = 1.0 if not local and row.shape[-1] == 3 else 0.0
    weights = variables["weights_0"], variables["weights_1"]
    return GraphLayer(x, supports, weights, variables["bias"], slope)


def variants(question: Question) -> Iterator[Variant]:
    """Everything that can be changed about one graph convolution, most usual first."""
    layer = official(question)
    for operand, change, changed in _enumerated(layer):
        yield Variant(operand, change, partial(changed, question))
    yield from _fitted(question, layer)
    yield Variant("channel order", "output channels in another order",
                  partial(_permuted, question, layer))  # fmt: skip
    for name, other in layers_alike(question, "weights_0"):
        changed = replace(layer, weights=(other["weights_0"], other["weights_1"]),
                          bias=other["bias"])  # fmt: skip
        yield Variant("weights of another layer", f"the weights of {name}",
                      partial(changed, question))  # fmt: skip


def _enumerated(layer: GraphLayer) -> Iterator[tuple[str, str, GraphLayer]]:
    if layer.slope == 1.0:
        yield "activation", "a ReLU", replace(layer, slope=0.0)
    else:
        yield "activation", "no ReLU", replace(layer, slope=1.0)
    yield "activation", f"a ReLU that leaks {LEAK}", replace(layer, slope=LEAK)
    yield "bias", "no bias", replace(layer, factors=(1.0, 1.0, 0.0, 0.0))
    yield "bias", "the bias added before the second support", replace(layer, bias_mixed=True)
    (first, second), (w0, w1) = layer.supports, layer.weights
    yield "support", "the supports' matrices swapped", replace(layer, weights=(w1, w0))
    yield "support", "the second support left out", replace(layer, factors=(1.0, 0.0, 0.0, 1.0))
    yield "support", "the first support left out", replace(layer, factors=(0.0, 1.0, 0.0, 1.0))
    for name, other in _other_supports(second):
        yield "support", f"{name} for the second support", replace(layer, supports=(first, other))
    if w0.shape[0] == w0.shape[1]:
        for name, pair in (("first matrix", (w0.T, w1)), ("second matrix", (w0, w1.T)),
                           ("both matrices", (w0.T, w1.T))):  # fmt: skip
            yield "weights transposed", f"the {name} transposed", replace(layer, weights=pair)
    yield ("weights of another layer", "the first matrix for both supports",
           replace(layer, weights=(w0, w0)))  # fmt: skip
    yield ("weights of another layer", "the second matrix for both supports",
           replace(layer, weights=(w1, w1)))  # fmt: skip
    channels = layer.x.shape[-1]
    third = 3 if channels in (2883, 3075, 339) else 0
    yield "channel order", "input channels reversed", replace(layer, seen=lambda x: x[..., ::-1])
    if third:
        turned = partial(np.roll, shift=-third, axis=-1)
        yield "channel order", "coordinates behind the features", replace(layer, seen=turned)
    for kind in NARROWER:
        seen = partial(narrowed, kind=kind)
        weights = narrowed(w0, kind), narrowed(w1, kind)
        for name, changed in (
            (f"the input rounded to {kind}", replace(layer, seen=seen)),
            (f"the weights rounded to {kind}", replace(layer, weights=weights)),
            (f"input and weights rounded to {kind}", replace(layer, seen=seen, weights=weights)),
            (f"products in {kind}", replace(layer, seen=seen, weights=weights, narrow=kind)),
            (f"the result rounded to {kind}", replace(layer, narrow_result=kind)),
        ):
            yield "precision", name, changed


def _other_supports(second: Matrix) -> Iterator[tuple[str, Matrix]]:
    matrix = sp.csr_array(second)
    kept = (lambda found: found) if sp.issparse(second) else (lambda found: found.toarray())
    loops = sp.dia_array((np.ones((1, matrix.shape[0])), [0]), shape=matrix.shape).tocsr()
    diagonal = sp.dia_array((matrix.diagonal()[None], [0]), shape=matrix.shape).tocsr()
    beside = sp.csr_array(matrix - diagonal)
    beside.eliminate_zeros()
    linked = sp.csr_array((np.ones_like(beside.data), beside.indices, beside.indptr), beside.shape)
    degree = np.asarray(linked.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(len(degree)), np.diff(linked.indptr))

    def over(divisor: np.ndarray) -> sp.csr_array:
        return sp.csr_array((linked.data / divisor, linked.indices, linked.indptr), linked.shape)

    normal = over(np.sqrt(degree[rows] * degree[linked.indices]))
    # Off the diagonal the scaled Laplacian is −2/λmax times the normalised adjacency matrix.
    scale = float(np.abs(beside.data).sum() / normal.data.sum())
    with_loops = sp.csr_array(linked + loops)
    at = np.repeat(np.arange(len(degree)), np.diff(with_loops.indptr))
    size = np.sqrt((degree[at] + 1.0) * (degree[with_loops.indices] + 1.0))
    spread = sp.csr_array((with_loops.data / size, with_loops.indices, with_loops.indptr))
    yield "no diagonal", kept(beside)
    yield "the Laplacian, not scaled,", kept(sp.csr_array((matrix + loops) / scale))
    yield "the adjacency matrix", kept(linked)
    yield "the adjacency matrix, rows normalised,", kept(over(degree[rows]))
    yield "the normalised adjacency matrix", kept(normal)
    yield "the normalised adjacency matrix with loops", kept(spread)
    yield "its transpose", kept(sp.csr_array(matrix.T))
    yield "its negative", kept(-matrix)


def _fitted(question: Question, layer: GraphLayer) -> Iterator[Variant]:
    """Factors of the products and the bias, fitted where the activation lets them be seen."""
    observed = question.observed
    whole = (*layer.x.shape[:-1], len(layer.bias))
    if observed.shape != whole:
        return
    rows = np.arange(min(len(observed), 64)) if layer.x.ndim == 3 else None
    columns = telling_channels(observed, layer.bias)
    part = Part(rows, columns)
    seen = part.of(observed)
    on = seen > 0 if layer.slope == 0.0 else np.isfinite(seen)
    parts = [each[on] for each in layer.parts(part)]
    for names in ((0, 1, 3), (0, 1, 2, 3)):
        found = fitted([parts[index] for index in names], seen[on])
        # Without a share of the fourth part this is the first fit again.
        if found is None or (len(names) == 4 and found[2] == 0.0):
            continue
        factors = np.array([0.0, 0.0, 0.0, 0.0])
        factors[list(names)] = found
        if tuple(factors) != (1.0, 1.0, 0.0, 1.0):
            a, b, d, c = (float(each) for each in factors)
            operand = _operand(a, b, d)
            change = f"the products times {a:.4g} and {b:.4g}, the bias times {c:.4g}" + (
                f" and {d:.4g} of the second matrix's product without a support" if d else ""
            )
            changed = replace(layer, factors=(a, b, d, c))
            yield Variant(operand, change, partial(changed, question), True)


def _operand(a: float, b: float, d: float) -> str:
    if (a, b, d) == (1.0, 1.0, 0.0):
        return "bias"
    # Both products halved is a mean in place of a sum; one of them changed is its support.
    return "reduction" if a == b and d == 0.0 else "support"


def _permuted(question: Question, layer: GraphLayer, part: Part) -> Evaluated:
    """Output channels in another order, found by looking for every observed one."""
    rows = Part(rows=part.rows)
    full = layer(question, rows)
    channels = full.value.shape[-1]
    seen = rows.of(question.observed)
    if seen.shape != full.value.shape:
        return Evaluated(np.zeros(0), np.zeros(0, np.float32))
    limit = full.limit(question.row.stage, question.dtype)
    order = same_order(seen.reshape(-1, channels), full.value.reshape(-1, channels),
                       float(limit.max(initial=0.0)))  # fmt: skip
    if order is None or np.array_equal(order, np.arange(channels)):
        return Evaluated(np.zeros(0), np.zeros(0, np.float32))
    columns = order[part.chosen_columns]
    return Evaluated(full.value[..., columns], full.unit[..., columns])
