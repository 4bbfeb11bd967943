"""Graph convolutions, sums, scores and moves with one thing wrong, and what is said of them."""

from collections.abc import Callable

import numpy as np
import pytest

from parity.diagnosis.diagnosis import diagnose

Array = np.ndarray


def half(x: Array) -> Array:
    # By way of float32, as torch does it.
    return x.astype(np.float32).astype(np.float16).astype(np.float64)


def summed(x: Array, s: Array, w0: Array, w1: Array, b: Array, relu: bool = True) -> Array:
    value = x @ w0 + s @ (x @ w1) + b
    return np.maximum(value, 0.0) if relu else value


def unscaled(s: Array) -> Array:
    """A Laplacian of the same shape: its diagonal is 1."""
    return (s + np.eye(len(s))) * 0.9


def row_normalised(s: Array) -> Array:
    linked = (s - np.diag(np.diag(s))) != 0
    return linked / linked.sum(axis=1, keepdims=True)


FAULTS: dict[str, tuple[str, Callable[..., Array]]] = {
    "no bias": ("bias", lambda x, s, v, w, b: summed(x, s, v, w, 0 * b)),
    "bias three times": ("bias", lambda x, s, v, w, b: summed(x, s, v, w, 3 * b)),
    "bias first": ("bias", lambda x, s, v, w, b: np.maximum(x @ v + s @ (x @ w + b), 0)),
    "no ReLU": ("activation", lambda *given: summed(*given, relu=False)),
    "matrices swapped": ("support", lambda x, s, v, w, b: summed(x, s, w, v, b)),
    "second left out": ("support", lambda x, s, v, w, b: summed(x, 0 * s, v, w, b)),
    "unscaled": ("support", lambda x, s, v, w, b: summed(x, unscaled(s), v, w, b)),
    "row normalised": ("support", lambda x, s, v, w, b: summed(x, row_normalised(s), v, w, b)),
    "no loops": ("support", lambda x, s, v, w, b: summed(x, s - np.diag(np.diag(s)), v, w, b)),
    "averaged": ("reduction", lambda x, s, v, w, b: summed(x, s, v / 2, w / 2, b)),
    "first transposed": ("weights transposed", lambda x, s, v, w, b: summed(x, s, v.T, w, b)),
    "half features": ("precision", lambda x, s, v, w, b: summed(half(x), s, v, w, b)),
    "half weights": ("precision", lambda x, s, v, w, b: summed(x, s, half(v), half(w), b)),
    "outputs reversed": ("channel order", lambda *given: summed(*given)[..., ::-1]),
}
LAYERS = {
    "coarse": ("graph_conv_blk1_3_layer_3", "graph_conv_blk1_5_layer_5", (156, 192)),
    "refine": (
        "graph_drb_blk1_layer_2.localgconv_2",
        "graph_drb_blk1_layer_2.localgconv_4",
        (9, 43, 192),
    ),
}


@pytest.fixture(params=LAYERS)
def layer(request, context, tap, rng):
    """Row, context, parents, the variables of the layer and of another one of the same shape."""
    name, other, shape = LAYERS[request.param]
    row, found = tap(request.param, name), context(request.param, name, other)
    x = rng.random(shape)
    second = found.supports[0][1]
    dense = second.toarray() if hasattr(second, "toarray") else second
    pairs = (found.variables(tap(request.param, module)) for module in (name, other))
    variables = [(each["weights_0"], each["weights_1"], each["bias"]) for each in pairs]
    return row, found, {row.parents[0]: x}, (x, dense), variables


def test_a_right_layer_has_no_diagnosis(layer):
    row, context, parents, given, (own, _) = layer
    assert diagnose(row, parents, context, summed(*given, *own)) is None


@pytest.mark.parametrize("name", FAULTS)
def test_the_operand_is_named_and_confirmed(name, layer):
    row, context, parents, given, (own, _) = layer
    operand, function = FAULTS[name]
    found = diagnose(row, parents, context, function(*given, *own))
    assert found is not None
    assert (found.operand, found.confirmed) == (operand, True), found


def test_weights_of_another_layer_are_recognised(layer):
    row, context, parents, given, (_, other) = layer
    found = diagnose(row, parents, context, summed(*given, *other))
    assert found is not None
    assert (found.operand, found.confirmed) == ("weights of another layer", True)


def test_what_cannot_be_told_apart_is_not_confirmed(layer):
    row, context, parents, (x, dense), ((first, second, bias), _) = layer
    # Of features that are zero only the bias is left, whatever is done to the supports.
    nothing = {row.parents[0]: 0.0 * x}
    found = diagnose(row, nothing, context, summed(0.0 * x, dense, first, second, 0 * bias))
    assert found is not None and not found.confirmed
    broken = summed(x, dense, first, second, bias) + 1e-3 * np.sin(np.arange(x.size)).reshape(
        x.shape
    )
    unknown = diagnose(row, parents, context, broken)
    assert unknown is None or not unknown.confirmed


def test_residuals(context, tap, rng):
    row, found = tap("coarse", "graph_conv_blk1_5_layer_5.residual"), context("coarse")
    x, r, first = (rng.random((156, 192)) for _ in range(3))
    parents = dict(zip(row.parents, (x, r), strict=True))
    others = {"graph_conv_blk1_1_layer_1": first}
    assert diagnose(row, parents, found, (x + r) / 2) is None
    for observed in (x + r, x, 0.25 * x + 0.75 * r, (x + first) / 2):
        said = diagnose(row, parents, found, observed, others=others)
        assert said is not None and (said.operand, said.confirmed) == ("residual", True)
    # Of a tap that is not at hand nothing is known, and nothing is said.
    assert diagnose(row, parents, found, (x + first) / 2) is None


SCORES: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "vertices": ("reduction", lambda x: np.exp(x) / np.exp(x).sum(axis=0)),
    "no exponential": ("reduction", lambda x: x / x.sum(axis=1, keepdims=True)),
    "temperature": (
        "constant",
        lambda x: np.exp(2.5 * x) / np.exp(2.5 * x).sum(axis=1, keepdims=True),
    ),
}


@pytest.mark.parametrize("name", SCORES)
def test_scores(name, context, tap, rng):
    row, found = tap("refine", "graph_drb_blk1_layer_2.score"), context("refine")
    x = rng.random((11, 43, 1)) * 3
    operand, function = SCORES[name]
    # Without taking the maximum away it is the same function.
    right = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    assert diagnose(row, {row.parents[0]: x}, found, right) is None
    said = diagnose(row, {row.parents[0]: x}, found, function(x))
    assert said is not None and (said.operand, said.confirmed) == (operand, True)


def test_hypotheses_and_moves(context, tap, rng):
    found = context("refine")
    offsets, mesh = found.offsets, rng.normal(size=(11, 3))
    row = tap("refine", "graph_sample_hypothesis_1_layer_0")
    parents = {row.parents[0]: mesh}
    assert diagnose(row, parents, found, mesh[:, None] + offsets) is None
    cases = {
        "hypothesis order": (offsets[1:], np.roll(offsets, -1, 0)),
        "constant": (1.5 * offsets,),
    }
    for operand, given in cases.items():
        for points in given:
            said = diagnose(row, parents, found, mesh[:, None] + points)
            assert said is not None and (said.operand, said.confirmed) == (operand, True)
    row = tap("refine", "graph_drb_blk1_layer_2")
    score = rng.random((11, 43, 1))
    score /= score.sum(axis=1, keepdims=True)
    way, both = (score * offsets).sum(axis=1), dict(zip(row.parents, (score, mesh), strict=True))
    assert diagnose(row, both, found, way + mesh) is None
    for operand, observed in (("constant", mesh - way), ("missing term", way)):
        said = diagnose(row, both, found, observed)
        assert said is not None and (said.operand, said.confirmed) == (operand, True)


def test_unpooling(context, tap, rng):
    row, found = tap("coarse", "graph_pool_1to2_layer_16"), context("coarse")
    x = rng.normal(size=(156, 3075))
    ends = x[found.unpooling[0]]
    parents = {row.parents[0]: x}
    right = np.concatenate([x, ends.mean(axis=1)])
    assert diagnose(row, parents, found, right) is None
    for operand, observed in (
        ("index order", np.concatenate([ends.mean(axis=1), x])),
        ("reduction", np.concatenate([x, ends.sum(axis=1)])),
        ("reduction", np.concatenate([x, ends[:, 1]])),
    ):
        said = diagnose(row, parents, found, observed)
        assert said is not None and (said.operand, said.confirmed) == (operand, True)


def test_one_entry_of_a_support_is_found_by_solving_for_it(layer):
    row, context, parents, (x, dense), (own, _) = layer
    if row.stage == "refine":
        pytest.skip("there every vertex has the same support: all of its rows are wrong")
    other = dense.copy()
    other[7, 8] = 0.0
    found = diagnose(row, parents, context, summed(x, other, *own))
    assert found is not None
    assert (found.operand, found.confirmed) == ("support", True), found
    assert "[7, 8] 0 instead of" in found.explanation


def test_weights_are_found_by_solving_for_them(layer):
    row, context, parents, (x, dense), ((first, second, bias), _) = layer
    if row.stage == "coarse":
        pytest.skip("156 vertices say too little about 192 weights a channel")
    other = second.copy()
    other[3, 5] = np.nextafter(np.float32(other[3, 5]), np.float32(2))
    found = diagnose(row, parents, context, summed(x, dense, first, other, bias))
    assert found is not None
    assert (found.operand, found.confirmed) == ("weights", True), found
    assert "1 of 36864 numbers of weights_1 others, at [3, 5]" in found.explanation


def test_one_index_is_found_by_trying_all(context, tap, rng):
    row, found = tap("coarse", "graph_pool_1to2_layer_16"), context("coarse")
    x = rng.normal(size=(156, 3075))
    pairs = found.unpooling[0].copy()
    pairs[40, 1] = 9
    observed = np.concatenate([x, x[pairs].mean(axis=1)])
    said = diagnose(row, {row.parents[0]: x}, found, observed)
    assert said is not None
    assert (said.operand, said.confirmed) == ("index order", True), said
    assert "9 instead of 41 at [40, 1] of pairs" in said.explanation


def test_dropout_is_hinted_at(layer, rng):
    row, context, parents, given, (own, _) = layer
    right = summed(*given, *own)
    kept = rng.random(right.shape) < 0.8
    found = diagnose(row, parents, context, right * kept / 0.8)
    assert found is not None
    assert (found.operand, found.confirmed) == ("dropout", False), found


def test_last_bits_of_weights_are_not_taken_for_a_bias(layer, rng):
    row, context, parents, (x, dense), ((first, second, bias), _) = layer
    some = rng.random(second.shape) < 0.01
    moved = np.nextafter(second.astype(np.float32), np.float32(2)).astype(np.float64)
    found = diagnose(
        row, parents, context, summed(x, dense, first, np.where(some, moved, second), bias)
    )
    assert found is None or found.operand == "weights"
