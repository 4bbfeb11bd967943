from dataclasses import replace

import numpy as np
import pytest
import torch

from inputs.ground_truth import GroundTruth
from inputs.sampling import step_draws
from network.weights import WEIGHTS
from torch_impl.backend import factory
from torch_impl.losses import LossWeights
from torch_impl.training import Adam, Trainer, TrainingSettings, TrainingState
from weight_conversion.errors import InputError

RATE = 3e-4
CNN_KEYS = [row.key for row in WEIGHTS["coarse"] if row.torch_key.startswith("cnn.")]


def trainer(small_inputs, seeded, stage="coarse", dtype="float32", **settings) -> Trainer:
    settings = TrainingSettings(**{"learning_rate": RATE, "frozen_cnn": True, **settings})
    return Trainer(factory(stage, dtype), small_inputs[stage], seeded[stage], settings)


def tensorflow_adam(w, gradients, rate, dtype):
    """The update as TensorFlow's kernel orders it, in NumPy."""
    rate, beta_1, beta_2, epsilon = (dtype(np.float32(x)) for x in (rate, 0.9, 0.999, 1e-8))
    m = v = np.zeros_like(w)
    power_1, power_2 = beta_1, beta_2
    for g in gradients:
        alpha = rate * np.sqrt(1 - power_2) / (1 - power_1)
        m = m + (g - m) * (1 - beta_1)
        v = v + (g * g - v) * (1 - beta_2)
        w = w - (m * alpha) / (np.sqrt(v) + epsilon)
        power_1, power_2 = power_1 * beta_1, power_2 * beta_2
    return w, m, v


def gradients_of_all_sizes(dtype) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.integers(-12, 4, 60)
    return random.standard_normal(60).astype(dtype), (
        random.standard_normal((12, 60)) * sizes
    ).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_the_update_is_tensorflows(dtype):
    start, gradients = gradients_of_all_sizes(dtype)
    variable = torch.tensor(start)
    adam = Adam([variable], RATE)
    for gradient in gradients:
        adam.update([torch.tensor(gradient)])
    w, m, v = tensorflow_adam(start, gradients, RATE, dtype)
    tolerance = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(adam.first_moments[0], m, rtol=tolerance, atol=tolerance * 1e-12)
    np.testing.assert_allclose(adam.second_moments[0], v, rtol=tolerance, atol=0)
    np.testing.assert_allclose(variable.numpy() - start, w - start, rtol=0, atol=tolerance)


def test_torchs_own_update_is_another():
    start, gradients = gradients_of_all_sizes(np.float64)
    ours, theirs = (torch.tensor(start) for _ in range(2))
    adam = Adam([ours], RATE)
    other = torch.optim.Adam([theirs.requires_grad_()], lr=RATE)
    for gradient in gradients:
        adam.update([torch.tensor(gradient)])
        theirs.grad = torch.tensor(gradient)
        other.step()
    small = np.abs(gradients).max(axis=0) < 1e-7
    moved = np.abs((theirs - ours).detach().numpy()) / RATE
    assert moved[small].max() > 0.1
    assert moved[np.abs(gradients).max(axis=0) > 1].max() < 1e-3


def test_a_variable_without_gradient_stays():
    still, moving = torch.ones(3), torch.ones(3)
    Adam([still, moving], RATE).update([None, torch.ones(3)])
    assert still.tolist() == [1, 1, 1]
    assert moving.numpy() == pytest.approx(1 - RATE, rel=1e-5)


@pytest.fixture(scope="module")
def trained(small_inputs, seeded):
    """Four steps in one go: their losses and the state after them."""
    uninterrupted = trainer(small_inputs, seeded)
    steps = [uninterrupted.step() for _ in range(4)]
    return steps, uninterrupted.state()


def assert_same(one: TrainingState, other: TrainingState) -> None:
    assert (one.step, one.beta_powers) == (other.step, other.beta_powers)
    for name in ("weights", "first_moments", "second_moments"):
        for key, array in getattr(one, name).items():
            np.testing.assert_array_equal(array, getattr(other, name)[key], err_msg=key)


def test_a_resumed_training_is_the_uninterrupted_one(trained, small_inputs, seeded):
    first = trainer(small_inputs, seeded)
    first.step()
    first.step()
    state = first.state()
    first.step()  # what happens after the copy does not reach it
    other_start = {key: array + 1 for key, array in seeded["coarse"].items()}
    second = trainer(small_inputs, {"coarse": other_start})
    second.restore(state)
    resumed = [second.step(), second.step()]
    steps, final = trained
    assert [step.number for step in resumed] == [3, 4]
    assert [step.losses for step in resumed] == [step.losses for step in steps[2:]]
    assert_same(second.state(), final)


def test_the_loss_falls(small_inputs, seeded):
    training = trainer(small_inputs, seeded, learning_rate=1e-5)
    totals = [training.step().losses["total"] for _ in range(3)]
    assert totals[-1] < totals[0]


def test_a_step_is_the_backends_gradient(trained, small_inputs, seeded):
    steps, _ = trained
    backend = factory("coarse", "float32")
    inputs = {**small_inputs["coarse"], "samples": steps[0].samples}
    found = backend.evaluate(inputs, seeded["coarse"], term="total")
    assert steps[0].losses == found.losses
    one = trainer(small_inputs, seeded)
    one.step()
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_2_layer_2_vars/weights_1:0"
    gradient = found.gradients[key]
    expected, m, _ = tensorflow_adam(seeded["coarse"][key], [gradient], RATE, np.float32)
    state = one.state()
    np.testing.assert_allclose(state.weights[key], expected, rtol=1e-6)
    scale = np.abs(m).max()
    np.testing.assert_allclose(state.first_moments[key], m, rtol=0, atol=1e-5 * scale)


def test_a_frozen_encoder_is_neither_trained_nor_run_again(small_inputs, seeded):
    training = trainer(small_inputs, seeded)
    calls = []
    training._network.cnn.register_forward_pre_hook(lambda *_: calls.append(1))
    training.step()
    training.step()
    state = training.state()
    assert len(calls) == 1
    for row in WEIGHTS["coarse"]:
        frozen = row.key in CNN_KEYS
        assert (state.weights[row.key] == seeded["coarse"][row.key]).all() == frozen
        assert (state.first_moments[row.key] == 0).all() == frozen
        assert (state.second_moments[row.key] == 0).all() == frozen


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_all_is_trained_by_default(stage, small_inputs, seeded):
    training = trainer(small_inputs, seeded, stage, frozen_cnn=False)
    training.step()
    weights = training.state().weights
    same = {key for key, array in weights.items() if (array == seeded[stage][key]).all()}
    # Nothing reaches the biases of the convolutions that the refine stage does not use.
    unused = {f"meshnet/cnn/conv2d_{number}/b:0" for number in range(9, 19)}
    assert same == (set() if stage == "coarse" else unused)


def test_points_are_drawn_by_seed_and_step(trained, small_inputs, seeded):
    steps, _ = trained
    for step in steps:
        draws = step_draws("coarse", 0, step.number)
        np.testing.assert_array_equal(step.samples["r1_2"], draws[1].r1)
    other = trainer(small_inputs, seeded, seed=1).step()
    assert (other.samples["r1_1"] != steps[0].samples["r1_1"]).any()
    assert other.losses["edge_3"] == steps[0].losses["edge_3"]
    given = {**small_inputs["coarse"], "samples": steps[0].samples}
    held = trainer({"coarse": given}, seeded)
    for _ in range(2):
        assert held.step().samples is steps[0].samples
    assert trainer(small_inputs, seeded).step(other.samples).losses == other.losses


def test_steps_yield_states(trained, small_inputs, seeded):
    settings = TrainingSettings(RATE, frozen_cnn=True)
    found = list(
        factory("coarse").steps(small_inputs["coarse"], seeded["coarse"], 2, settings=settings)
    )
    assert [step.number for step, _ in found] == [state.step for _, state in found] == [1, 2]
    assert [step.losses for step, _ in found] == [step.losses for step in trained[0][:2]]
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_1_layer_1_vars/weights_0:0"
    assert (found[0][1].weights[key] != found[1][1].weights[key]).any()


def test_one_variable_of_the_state(small_inputs, seeded):
    training = trainer(small_inputs, seeded)
    training.step()
    state = training.state()
    parts = (state.weights, state.first_moments, state.second_moments)
    for row in WEIGHTS["coarse"]:
        found = training.variable(row.key)
        for array, part in zip(found, parts, strict=True):
            np.testing.assert_array_equal(array, part[row.key], err_msg=row.key)
    found[0][...] = 7  # a copy
    assert not (training.variable(row.key)[0] == 7).any()


def test_the_mesh_is_the_one_before_the_update(trained, small_inputs, seeded):
    training = trainer(small_inputs, seeded)
    before = training.predict()
    np.testing.assert_array_equal(training.step().mesh, before)
    assert (training.predict() != before).any()
    np.testing.assert_array_equal(trained[0][1].mesh, training.step().mesh)


def test_loss_weights_are_taken(trained, small_inputs, seeded):
    settings = {"loss_weights": LossWeights(move=0.0)}
    step = trainer(small_inputs, seeded, **settings).step()
    assert step.losses["move_1"] == 0
    assert step.losses["chamfer_1"] == trained[0][0].losses["chamfer_1"]


def test_the_given_weights_are_not_changed(small_inputs, seeded):
    copies = {key: array.copy() for key, array in seeded["coarse"].items()}
    trainer(small_inputs, {"coarse": copies}, frozen_cnn=False).step()
    for key, array in seeded["coarse"].items():
        np.testing.assert_array_equal(copies[key], array, err_msg=key)


def test_a_training_that_diverges_says_so(trained, small_inputs, seeded):
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk3_15_layer_47_vars/bias:0"
    weights = {**seeded["coarse"], key: np.full(3, 3e38, np.float32)}
    inputs = {**small_inputs["coarse"], "samples": trained[0][0].samples}
    training = trainer({"coarse": inputs}, {"coarse": weights})
    with pytest.raises(
        InputError, match=r"^step 1: the total loss is (inf|nan); expected a finite"
    ):
        training.step()
    assert training.taken == 0


KEY = "meshnetmvp2m/cnn/conv2d_3/b:0"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda arrays: arrays.pop(KEY),
            f"^training state: no weight of {KEY}; expected one a var",
        ),
        (
            lambda arrays: arrays.update({KEY: np.zeros(1, np.float32)}),
            r"weight of \S+: float32 of shape \(1,\); expected float32 of shape \(32,\)",
        ),
        (
            lambda arrays: arrays.update({KEY: np.zeros(32)}),
            r"weight of \S+: float64 of shape \(32,\); expected float32",
        ),
    ],
    ids=["missing", "shape", "precision"],
)
def test_states_that_do_not_fit_are_refused(spoil, message, trained, small_inputs, seeded):
    _, state = trained
    weights = dict(state.weights)
    spoil(weights)
    training = trainer(small_inputs, seeded)
    with pytest.raises(InputError, match=message):
        training.restore(replace(state, weights=weights))
    kept = training.state()
    assert kept.step == 0
    np.testing.assert_array_equal(kept.weights[KEY], seeded["coarse"][KEY])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, r"^learning rate: 0.0; expected a positive number"),
        ({"learning_rate": float("nan")}, r"^learning rate: nan"),
        ({"seed": -1}, r"^seed: -1; expected a number from 0 up"),
    ],
    ids=["no rate", "NaN", "seed"],
)
def test_settings_that_are_none_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**settings)


def test_ground_truth_without_normals_trains_on_the_other_terms(small_inputs, seeded, trained):
    bare = GroundTruth(small_inputs["coarse"]["ground_truth"].points, None)
    inputs = {"coarse": {**small_inputs["coarse"], "ground_truth": bare}}
    losses, with_normals = trainer(inputs, seeded).step().losses, trained[0][0].losses
    normals = {"normal_1", "normal_2", "normal_3"}
    assert losses == {
        name: value if name != "total" else losses["total"]
        for name, value in with_normals.items()
        if name not in normals
    }
    expected = with_normals["total"] - sum(with_normals[name] for name in normals)
    assert losses["total"] == pytest.approx(expected, rel=1e-6)
