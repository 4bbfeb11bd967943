"""The gradients against finite differences, and the chunked ones against the unchunked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from tf_reference.gradients import MESH, meshes_before, stage_gradients, stage_losses
from tf_reference.listening import SILENCE
from tf_reference.losses import loss_terms
from tf_reference.measured import Measured, Surface
from tf_reference.parameters import Level, NetworkInputs, Weights, network_inputs
from tf_reference.refine import refine
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]
Case = tuple[NetworkInputs, Weights, Measured]
VERTICES = 21
"""Enough for chunks of 8, the last of which is not full."""
CHANNELS = 4
HIDDEN = 6


def thin_weights(stage: str) -> Weights:
    """All variables of a stage in float64, with few channels: a whole network in milliseconds."""
    random = np.random.default_rng(4)
    projected = {"coarse": (8, 11, 14, 18), "refine": (2, 5, 8)}[stage]
    features = 3 + 3 * CHANNELS * len(projected)
    thin = {3: 3, 1: 1, 192: HIDDEN, 2883: features, 3075: features + HIDDEN, 339: features}
    weights = {}
    for row in WEIGHTS[stage]:
        if not row.torch_key.startswith("cnn."):
            shape = tuple(thin[length] for length in row.shape)
        elif len(row.shape) == 4:
            first = row.torch_key == "cnn.conv2d_1.weight"
            shape = (*row.shape[:2], 3 if first else CHANNELS, CHANNELS)
        else:
            shape = (CHANNELS,)
        spread = 1 / float(np.sqrt(np.prod(shape[:-1]))) if len(shape) > 1 else 0.1
        array = random.normal(0, spread, shape)
        if shape == (3,) and not row.torch_key.startswith("cnn."):
            array += [0, 0, -0.9]
        weights[row.torch_key] = tf.constant(array)
    return weights


def _surface(random: np.random.Generator, vertices: int) -> Surface:
    neighbours = random.integers(0, vertices + 1, (vertices, 8)).astype(np.int32)
    return Surface(
        edges=random.integers(0, vertices, (50, 2)).astype(np.int32),
        neighbours=neighbours,
        degrees=np.maximum((neighbours < vertices).sum(axis=1), 1).astype(np.int32),
        triangles=random.integers(0, vertices, (30, 3)).astype(np.int32),
        r1=random.random((30, 1), np.float32),
        r2=random.random((30, 1), np.float32),
    )


def _measured(random: np.random.Generator, vertices: list[int]) -> Measured:
    normals = random.normal(size=(40, 3)).astype(np.float32)
    points = (random.normal(0, 0.2, (40, 3)) - [0, 0, 0.8]).astype(np.float32)
    return Measured(points, normals, tuple(_surface(random, count) for count in vertices))


@pytest.fixture(scope="module")
def small_refine(inputs_of: Of) -> Case:
    """The refine stage on a mesh of few vertices, in float64."""
    inputs = network_inputs("refine", inputs_of("refine"), tf.float64)
    inputs = replace(inputs, mesh=inputs.mesh[:VERTICES])
    measured = _measured(np.random.default_rng(2), [VERTICES, VERTICES])
    return inputs, thin_weights("refine"), measured


@pytest.fixture(scope="module")
def small_coarse(inputs_of: Of) -> Case:
    """The coarse stage on meshes of 6, 11 and 21 vertices, in float64."""
    random = np.random.default_rng(3)
    inputs = network_inputs("coarse", inputs_of("coarse"), tf.float64)
    counts, levels = [6, 11, 21], []
    for count, after in zip(counts, [*counts[1:], None], strict=True):
        dense = random.normal(0, 0.5, (2, count, count)) * (random.random((2, count, count)) < 0.4)
        supports = tuple(tf.sparse.from_dense(tf.constant(each)) for each in dense)
        pairs = None if after is None else random.integers(0, count, (after - count, 2))
        levels.append(Level(supports, None if pairs is None else tf.constant(pairs, tf.int32)))
    inputs = replace(inputs, mesh=inputs.mesh[:6], levels=tuple(levels))
    return inputs, thin_weights("coarse"), _measured(random, counts)


@pytest.mark.parametrize("term", ["total", "chamfer_2", "decay"])
def test_chunked_refine_gradients_are_those_of_one_tape(
    small_refine: Case, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    inputs, weights, measured = small_refine
    monkeypatch.setattr("tf_reference.gradients._VERTICES_AT_ONCE", 8)
    found = stage_gradients("refine", inputs, weights, measured, term)
    sources = [*weights.values(), inputs.mesh]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        meshes = refine(inputs, weights, SILENCE)
        befores = meshes_before("refine", inputs, meshes)
        terms = loss_terms("refine", befores, meshes, measured, weights)
    expected = tape.gradient(terms[term], sources, unconnected_gradients="zero")
    # A bias before the softmax cancels unless a logit is clipped: it has no scale of its own.
    scale = max(float(tf.reduce_max(tf.abs(each))) for each in expected)
    assert list(found.gradients) == [*weights, MESH]
    for name, each in zip(found.gradients, expected, strict=True):
        limit = 1e-10 * max(float(tf.reduce_max(tf.abs(each))), 1e-5 * scale)
        difference = float(tf.reduce_max(tf.abs(found.gradients[name] - each)))
        assert difference <= limit, f"{name}: {difference} over {limit}"
    assert {name: float(value) for name, value in found.terms.items()} == pytest.approx(
        {name: float(value) for name, value in terms.items()}, rel=1e-12
    )


def test_refine_decay_reaches_the_image_kernels_alone(small_refine: Case) -> None:
    found = stage_gradients("refine", *small_refine, "decay").gradients
    reached = {name for name, gradient in found.items() if np.abs(gradient).max() > 0}
    assert reached == {f"cnn.conv2d_{number}.weight" for number in range(1, 19)}


def test_refine_move_of_block_1_does_not_reach_block_2(small_refine: Case) -> None:
    found = stage_gradients("refine", *small_refine, "move_1").gradients
    assert not any(np.abs(gradient).max() > 0 for name, gradient in found.items() if "blk2" in name)
    assert np.abs(found["graph_drb_blk1_layer_2.localgconv_1.weights_0"]).max() > 0


def test_convolutions_9_to_18_do_not_reach_the_refine_output(small_refine: Case) -> None:
    found = stage_gradients("refine", *small_refine, "chamfer_2").gradients
    for number in range(1, 19):
        for part in ("weight", "bias"):
            reached = np.abs(found[f"cnn.conv2d_{number}.{part}"]).max() > 0
            assert reached == (number <= 8)


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_gradients_are_difference_quotients(stage: str, request: pytest.FixtureRequest) -> None:
    """Along the gradient itself."""
    inputs, weights, measured = request.getfixturevalue(f"small_{stage}")
    found = stage_gradients(stage, inputs, weights, measured, "total").gradients
    square = sum(float(tf.reduce_sum(tf.square(each))) for each in found.values())
    step = 1e-7 / np.sqrt(square)
    sides = []
    for sign in (1, -1):
        moved = {name: value + sign * step * found[name] for name, value in weights.items()}
        elsewhere = replace(inputs, mesh=inputs.mesh + sign * step * found[MESH])
        terms = stage_losses(stage, elsewhere, moved, measured)
        sides.append(float(terms["total"]))
    assert (sides[0] - sides[1]) / (2 * step) == pytest.approx(square, rel=1e-4)


def test_every_coarse_variable_is_reached(small_coarse: Case) -> None:
    found = stage_gradients("coarse", *small_coarse, "total").gradients
    assert list(found) == [*small_coarse[1], MESH]
    assert not [name for name, gradient in found.items() if not np.abs(gradient).max() > 0]


def test_the_coarse_mesh_is_reached_through_the_regularisers(small_coarse: Case) -> None:
    by_move = stage_gradients("coarse", *small_coarse, "move_1").gradients[MESH]
    assert by_move.shape == (6, 3)
    assert np.abs(by_move).max() > 0
    by_decay = stage_gradients("coarse", *small_coarse, "decay").gradients[MESH]
    assert not np.abs(by_decay).max() > 0


def test_an_unknown_term(small_refine: Case) -> None:
    with pytest.raises(InputError, match=r"term: 'chamfer_3'; expected one of chamfer_1, .*total"):
        stage_gradients("refine", *small_refine, "chamfer_3")
