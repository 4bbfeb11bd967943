from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import tf_reference.training as training
from network.weights import WEIGHTS
from tf_reference.backend import factory
from tf_reference.gradients import LossAndGradients
from tf_reference.runtime import tf
from tf_reference.training import Adam, AdamState
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]
KEY = "meshnet/pixel2mesh/graph_drb_blk1_layer_2/localgconv_6_vars/bias:0"
OTHER = "meshnet/cnn/conv2d_1/b:0"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss Σ (w - 1)² / 2 of all variables, so that a step costs nothing."""

    def fake(stage: str, inputs: Any, weights: Mapping[str, Any], *_: Any) -> LossAndGradients:
        assert inputs.mesh.shape[0] == 2466
        gradients = {name: value - 1 for name, value in weights.items()}
        total = tf.add_n([tf.reduce_sum(tf.square(each)) / 2 for each in gradients.values()])
        assert len(gradients) == len(WEIGHTS[stage])
        return LossAndGradients({"total": total}, gradients)

    monkeypatch.setattr(training, "stage_gradients", fake)


def adam(w: np.ndarray, steps: int, lr: float, dtype: Any) -> np.ndarray:
    """TensorFlow 1's Adam on the loss of ``quick``."""
    lr, beta1, beta2, epsilon = (dtype(np.float32(x)) for x in (lr, 0.9, 0.999, 1e-8))
    w, m, v = w.astype(dtype), np.zeros_like(w, dtype), np.zeros_like(w, dtype)
    for step in range(1, steps + 1):
        g = w - 1
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        rate = lr * np.sqrt(1 - beta2**step) / (1 - beta1**step)
        w = w - rate * m / (np.sqrt(v) + epsilon)
    return w


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-6), ("float64", 1e-13)])
def test_adam(measured_inputs: Of, weights: Of, dtype: str, limit: float) -> None:
    backend = factory("refine", dtype, "cpu")
    start = weights("refine")
    found = backend.steps(measured_inputs("refine"), start, AdamState(), 5, lr=1e-3)
    real = np.dtype(dtype).type
    for key in (KEY, OTHER):
        expected = adam(start[key], 5, 1e-3, real)
        np.testing.assert_allclose(found.weights[key], expected, rtol=limit, atol=limit / 30)
        assert found.weights[key].dtype == real
    totals = [terms["total"] for terms in found.losses]
    assert len(totals) == 5
    assert totals == sorted(totals, reverse=True)
    assert found.state.taken == 5


@pytest.mark.usefixtures("quick")
def test_epsilon_stands_outside_the_bias_correction(measured_inputs: Of, weights: Of) -> None:
    # At a gradient of 1e-8 the two forms of Adam differ by a factor of about 16 in step 1.
    start = {**weights("refine"), KEY: np.array([1 + 1e-8])}
    backend = factory("refine", "float64", "cpu")
    found = backend.steps(measured_inputs("refine"), start, AdamState(), 1, lr=1.0)
    g = 1e-8
    expected = 1 + g - np.sqrt(1e-3) / 0.1 * (0.1 * g) / (np.sqrt(1e-3) * g + 1e-8)
    assert found.weights[KEY][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("quick")
def test_steps_can_be_taken_in_parts(measured_inputs: Of, weights: Of) -> None:
    backend, inputs = factory("refine", "float32", "cpu"), measured_inputs("refine")
    whole = backend.steps(inputs, weights("refine"), AdamState(), 4, lr=1e-2)
    half = backend.steps(inputs, weights("refine"), AdamState(), 2, lr=1e-2)
    rest = backend.steps(inputs, half.weights, half.state, 2, lr=1e-2)
    assert rest.state.taken == 4
    for key, array in whole.weights.items():
        assert np.array_equal(rest.weights[key], array)


@pytest.mark.usefixtures("quick")
def test_frozen_variables_keep_their_values(measured_inputs: Of, weights: Of) -> None:
    backend = factory("refine", "float32", "cpu")
    found = backend.steps(
        measured_inputs("refine"), weights("refine"), AdamState(), 1, frozen=[OTHER]
    )
    assert np.array_equal(found.weights[OTHER], weights("refine")[OTHER])
    assert not np.array_equal(found.weights[KEY], weights("refine")[KEY])


@pytest.mark.usefixtures("quick")
def test_each_step_draws_its_own_samples(measured_inputs: Of, weights: Of) -> None:
    inputs, asked = measured_inputs("refine"), []

    def samples(step: int) -> dict[str, np.ndarray]:
        asked.append(step)
        return drawn

    drawn = inputs.pop("samples")
    state = AdamState(taken=7)
    factory("refine", "float32", "cpu").steps(inputs, weights("refine"), state, 2, samples=samples)
    assert asked == [8, 9]


@pytest.mark.parametrize(
    ("state", "frozen", "message"),
    [
        (AdamState(), ["nose"], "training: no variable nose; expected the refine stage's"),
        (AdamState(1, {"nose": np.zeros(1)}, {}), [], "training: no variable nose"),
        (AdamState(1, {KEY: np.zeros(2)}, {}), [], rf"state/{KEY}: shape \(2,\)"),
    ],
)
def test_bad_state(
    measured_inputs: Of, weights: Of, state: AdamState, frozen: list[str], message: str
) -> None:
    backend = factory("refine", "float32", "cpu")
    with pytest.raises(InputError, match=message):
        backend.steps(measured_inputs("refine"), weights("refine"), state, 1, frozen=frozen)


def test_official_hyperparameters() -> None:
    assert Adam() == Adam(lr=1e-5, beta1=0.9, beta2=0.999, epsilon=1e-8)


def test_a_step_of_the_network_lowers_the_loss(measured_inputs: Of, weights: Of) -> None:
    backend, inputs = factory("coarse", "float32", "cpu"), measured_inputs("coarse")
    found = backend.steps(inputs, weights("coarse"), AdamState(), 2)
    assert all(
        not np.array_equal(found.weights[key], array) for key, array in weights("coarse").items()
    )
    assert found.losses[1]["total"] < found.losses[0]["total"]
