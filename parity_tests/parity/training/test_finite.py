"""The layer or variable at which a run stops being finite."""

import numpy as np

from inputs.demo import demo_item_path
from inputs.hypotheses import build_hypotheses
from inputs.initial import initial_weights
from inputs.item import load_item
from inputs.template import build_template
from parity.traces.record import RunInputs
from parity.training.finite import first_not_finite

LAYER = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_5_layer_5_vars/weights_0:0"
ENCODER_BIAS = "meshnetmvp2m/cnn/conv2d_3/b:0"


def test_the_first_layer_that_is_not_finite_is_named() -> None:
    template = build_template()
    item = load_item(demo_item_path("plane"))
    inputs = RunInputs("coarse", item, template.coordinates, template, build_hypotheses())
    given = {key: np.array(value) for key, value in initial_weights("coarse", 0).items()}
    assert first_not_finite("torch", "cpu", inputs, given) == (
        "all layers are finite, so that it is the loss of their meshes"
    )
    given[LAYER][:] = 3e38
    assert first_not_finite("torch", "cpu", inputs, given) == (
        "graph_conv_blk1_5_layer_5 is the first layer that gives what is no finite number"
    )
    given[ENCODER_BIAS][0] = np.nan
    assert ENCODER_BIAS in first_not_finite("torch", "cpu", inputs, given)
