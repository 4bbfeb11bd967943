"""The official function's quirks, each shown on the network itself, in both implementations."""

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from inputs.item import Item
from parity.traces.backends import BackendChoice
from parity.traces.record import predict
from parity_tests.network.cases import Case, Pairs
from parity_tests.tf_reference.few import FEW, few_vertices
from weight_conversion.formats import WeightSet

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

BACKENDS = ("torch", "tf")
CASE = Case("tf", "torch", "sofa")
LEVELS = (slice(0, 16), slice(16, 48), slice(48, 112))
"""Channels of the three maps among the 112 of a statistic."""


class Heard:
    """Takes the taps it wants."""

    def __init__(self, *taps: str) -> None:
        self._wanted = taps
        self.taps: dict[str, np.ndarray] = {}

    def wants(self, tap: str) -> bool:
        return tap in self._wanted

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if tap in self._wanted:
            self.taps[tap] = np.array(value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_images_of_views_1_and_2_do_not_reach_the_coarse_mesh(
    backend: str, pairs: Pairs, weights: Callable[[str], WeightSet]
) -> None:
    inputs = pairs.inputs(CASE, "coarse")
    images = inputs.item.images.copy()
    images[1:] = np.random.default_rng(0).random(images[1:].shape, dtype=np.float32)
    changed = replace(inputs, item=Item("changed", images, inputs.item.cameras))
    mesh = predict(BackendChoice(backend), inputs, weights("coarse"))
    assert np.array_equal(mesh, predict(BackendChoice(backend), changed, weights("coarse")))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["image of view 0", "camera of view 1"])
def test_what_does_reach_the_coarse_mesh(
    what: str, backend: str, pairs: Pairs, weights: Callable[[str], WeightSet]
) -> None:
    inputs = pairs.inputs(CASE, "coarse")
    images, cameras = inputs.item.images.copy(), inputs.item.cameras.copy()
    if what == "image of view 0":
        images[0] = images[0][::-1]
    else:
        cameras[1, 0] += 20
    changed = replace(inputs, item=Item("changed", images, cameras))
    mesh = predict(BackendChoice(backend), inputs, weights("coarse"))
    assert not np.allclose(mesh, predict(BackendChoice(backend), changed, weights("coarse")))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_feature_at_an_exact_integer_pixel_vanishes(
    backend: str, pairs: Pairs, weights: Callable[[str], WeightSet]
) -> None:
    """A camera on an axis at distance 1 computes without rounding, so pixels can be exact."""
    inputs = pairs.inputs(CASE, "refine")
    cameras = np.tile(np.array([0, 0, 0, 1, 25], np.float32), (3, 1))
    # In view 0's frame the pixel is 112 - 248 y / -z and 112 + 248 x / -z: eighths give integers.
    mesh = inputs.mesh.copy()
    mesh[0] = (0.125, 0.25, -1.0)  # w = 143, h = 50
    mesh[1] = (0.125, 0.0625, -1.0)  # w = 143 again, h = 96.5
    mesh[2] = (0.0625, 0.0625, -1.0)  # w = 127.5, h = 96.5: nothing exact
    changed = replace(inputs, mesh=mesh, item=Item("exact", inputs.item.images, cameras))
    tap = "graph_localproj_1_layer_1"
    heard = Heard(tap)
    backend_object = BackendChoice(backend).make("refine", "float32", "cpu")
    with few_vertices(changed.mapping()) as given:
        backend_object.run(given, weights("refine").arrays, heard)
    features = heard.taps[tap].reshape(FEW, 43, 339)[:, 0, 3:]
    # Of each vertex and level, whether h or w is exact there: 50, 25 and 12.5; 143, 71.5, 35.75.
    vanishes = {0: (True, True, False), 1: (True, False, False), 2: (False, False, False)}
    for vertex, by_level in vanishes.items():
        for level, expected in zip(LEVELS, by_level, strict=True):
            maximum, mean, deviation = (features[vertex, start:][level] for start in (0, 112, 224))
            assert maximum.any() != expected, (vertex, level)
            assert mean.any() != expected, (vertex, level)
            assert np.allclose(deviation, 1e-3) == expected, (vertex, level)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_listening_does_not_disturb(
    stage: str, backend: str, pairs: Pairs, weights: Callable[[str], WeightSet]
) -> None:
    inputs = pairs.inputs(CASE, stage).mapping()
    backend_object = BackendChoice(backend).make(stage, "float32", "cpu")

    def listen(_tap: str, _value: np.ndarray) -> None:
        pass

    with few_vertices(inputs) if stage == "refine" else nullcontext(inputs) as given:
        silent = backend_object.run(given, weights(stage).arrays, None)
        heard = backend_object.run(given, weights(stage).arrays, listen)
    assert np.array_equal(silent, heard)
