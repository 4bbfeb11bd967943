from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tf_reference.parameters import checked_weights, network_inputs, network_weights
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

Of = Callable[[str], dict[str, Any]]
KEY = "meshnet/cnn/conv2d_1/W:0"


def test_float64_holds_float32_values(inputs_of: Of, weights: Of) -> None:
    given = inputs_of("refine") | {"cameras": np.full((3, 5), 0.1)}
    inputs = network_inputs("refine", given, tf.float64)
    assert inputs.cameras.dtype == tf.float64
    assert inputs.cameras.numpy()[0, 0] == np.float64(np.float32(0.1))
    wide = network_weights("refine", weights("refine"), tf.float64)
    assert wide["cnn.conv2d_1.weight"].dtype == tf.float64
    assert np.array_equal(wide["cnn.conv2d_1.weight"].numpy(), weights("refine")[KEY])


@pytest.mark.parametrize(
    ("stage", "name", "value", "message"),
    [
        ("coarse", "images", None, "inputs/images: missing"),
        ("coarse", "images", np.zeros((3, 137, 137, 3)), r"shape \(3, 137, 137, 3\)"),
        ("coarse", "cameras", np.zeros((2, 5)), "inputs/cameras: shape"),
        ("coarse", "cameras", [["a"] * 5] * 3, "inputs/cameras: not an array of numbers"),
        ("coarse", "mesh", np.zeros((2466, 3)), r"inputs/mesh: .* expected an array of 156 x 3"),
        ("refine", "mesh", np.zeros((156, 3)), r"inputs/mesh: .* expected an array of 2466 x 3"),
        ("coarse", "template", "sphere", "inputs/template: str; expected a Template"),
        ("refine", "hypotheses", None, "inputs/hypotheses: missing"),
        ("refine", "hypotheses", 3, "inputs/hypotheses: int; expected Hypotheses"),
    ],
)
def test_bad_inputs(inputs_of: Of, stage: str, name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network_inputs(stage, inputs_of(stage) | {name: value}, tf.float32)


@pytest.mark.parametrize(("stage", "name"), [("coarse", "hypotheses"), ("refine", "template")])
def test_what_a_stage_does_not_read_may_be_missing(inputs_of: Of, stage: str, name: str) -> None:
    given = inputs_of(stage)
    del given[name]
    network_inputs(stage, given, tf.float32)


def test_a_missing_variable_is_named(weights: Of) -> None:
    given = {key: array for key, array in weights("refine").items() if key != KEY}
    with pytest.raises(InputError, match=rf"1 of the refine stage's variables .*such as {KEY}"):
        checked_weights("refine", given)


def test_an_unknown_variable_is_named(weights: Of) -> None:
    with pytest.raises(InputError, match=r"1 variables .* does not have, such as beta1_power"):
        checked_weights("refine", weights("refine") | {"beta1_power": np.zeros(())})


def test_the_other_stages_weights_are_refused(weights: Of) -> None:
    with pytest.raises(InputError, match=r"165 of the coarse stage's variables are missing"):
        checked_weights("coarse", weights("refine"))


def test_a_broadcastable_shape_is_refused(weights: Of) -> None:
    with pytest.raises(InputError, match=rf"weights/{KEY}: shape \(1, 1, 3, 16\)"):
        checked_weights("refine", weights("refine") | {KEY: np.zeros((1, 1, 3, 16))})
