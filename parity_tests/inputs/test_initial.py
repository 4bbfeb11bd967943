import numpy as np
import pytest

from inputs.initial import initial_weights
from network.layout import Layout
from network.weights import WEIGHTS
from weight_conversion.errors import InputError

# Constants of the official graphs' initialisers, as exported.
LIMITS = {
    ("coarse", "meshnetmvp2m/cnn/conv2d_1/W:0"): 0.3333333432674408,
    ("coarse", "meshnetmvp2m/cnn/conv2d_12/W:0"): 0.03061862103641033,
    ("coarse", "meshnetmvp2m/pixel2mesh/graph_conv_blk1_1_layer_1_vars/weights_0:0"): 0.04417261,
    ("coarse", "meshnetmvp2m/pixel2mesh/graph_conv_blk1_14_layer_14_vars/weights_1:0"): 0.1754116,
    (
        "refine",
        "meshnet/pixel2mesh/graph_drb_blk1_layer_2/localgconv_1_vars/weights_0:0",
    ): 0.106298804,
    (
        "refine",
        "meshnet/pixel2mesh/graph_drb_blk1_layer_2/localgconv_6_vars/weights_1:0",
    ): 0.17631812,
}


@pytest.fixture(scope="module", params=["coarse", "refine"])
def drawn(request):
    return request.param, initial_weights(request.param, 0)


def test_every_variable_is_drawn_in_its_shape(drawn):
    stage, weights = drawn
    assert {key: array.shape for key, array in weights.items()} == {
        row.key: row.shape for row in WEIGHTS[stage]
    }
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}


def test_biases_are_zero_and_nothing_else_is(drawn):
    stage, weights = drawn
    for row in WEIGHTS[stage]:
        assert (weights[row.key] == 0).all() == (row.layout is Layout.VECTOR)


@pytest.mark.parametrize(("which", "limit"), LIMITS.items(), ids=lambda item: str(item)[-24:])
def test_limits_are_the_official_ones(which, limit):
    stage, key = which
    values = initial_weights(stage, 1)[key]
    assert np.abs(values).max() <= np.float32(limit)
    # Uniform: the greatest is near the limit, the variance a third of its square.
    assert np.abs(values).max() > 0.95 * limit
    assert values.std() == pytest.approx(limit / np.sqrt(3), rel=0.15)
    assert abs(values.mean()) < 4 * limit / np.sqrt(values.size)


def test_variables_differ_from_each_other_and_by_seed():
    first, other = initial_weights("refine", 0), initial_weights("refine", 1)
    key = "meshnet/pixel2mesh/graph_drb_blk1_layer_2/localgconv_{}_vars/weights_{}:0"
    assert (first[key.format(2, 0)] != first[key.format(2, 1)]).mean() > 0.99
    assert (first[key.format(2, 0)] != first[key.format(3, 0)]).mean() > 0.99
    assert (first[key.format(2, 0)] != other[key.format(2, 0)]).mean() > 0.99
    again = initial_weights("refine", 0)
    np.testing.assert_array_equal(first[key.format(2, 0)], again[key.format(2, 0)])


def test_the_refine_stage_starts_from_the_trained_encoder():
    coarse = initial_weights("coarse", 5)
    found = initial_weights("refine", 0, cnn=coarse)
    drawn = initial_weights("refine", 0)
    for row in WEIGHTS["refine"]:
        if row.torch_key.startswith("cnn."):
            theirs = coarse[row.key.replace("meshnet/", "meshnetmvp2m/")]
            np.testing.assert_array_equal(found[row.key], theirs)
        else:
            np.testing.assert_array_equal(found[row.key], drawn[row.key])


def test_weights_without_an_encoder_are_refused():
    with pytest.raises(
        InputError, match=r"^coarse weights: no variable meshnetmvp2m/cnn/conv2d_1/W"
    ):
        initial_weights("refine", 0, cnn={})
    coarse = initial_weights("coarse")
    coarse["meshnetmvp2m/cnn/conv2d_1/b:0"] = np.zeros(1, np.float32)
    with pytest.raises(InputError, match=r"conv2d_1/b:0: shape \(1,\); expected \(16,\)"):
        initial_weights("refine", 0, cnn=coarse)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match=r"^seed: -1; expected a number from 0 up"):
        initial_weights("coarse", -1)
