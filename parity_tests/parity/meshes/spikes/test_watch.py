"""What is seen of a training run's mesh, and what a person is told of it."""

import re

import numpy as np
import pytest

from inputs.initial import initial_weights
from inputs.template import Template, build_template
from network.registry import network_of
from parity.meshes.spikes.residuals import degree_displacement
from parity.meshes.spikes.topology import REGULAR
from parity.meshes.spikes.watch import Watch

GRAPH_BIAS = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_1_layer_1_vars/bias:0"
ENCODER_BIAS = "meshnetmvp2m/cnn/conv2d_3/b:0"


@pytest.fixture(scope="module")
def template() -> Template:
    return build_template()


def watch(template: Template, frozen: bool = True) -> tuple[Watch, np.ndarray]:
    """A watch, and the template's finest mesh in front of the camera."""
    faces = template.faces[2]
    found = Watch("coarse", faces, frozen)
    mesh = found.topology.unpooled(np.asarray(template.coordinates, np.float64))
    return found, mesh


def weights() -> dict[str, np.ndarray]:
    """All biases away from zero."""
    found = {key: np.array(value) for key, value in initial_weights("coarse", 0).items()}
    for row in network_of("coarse").variables:
        if row.torch_key.endswith(".bias"):
            found[row.key][:] = 0.01
    return found


def in_the_mode(mesh: np.ndarray, template: Template, strength: float) -> np.ndarray:
    found, _ = watch(template)
    return mesh + strength * degree_displacement(mesh, found.topology)


def test_a_smooth_mesh_has_no_spikes_and_no_mode(template: Template) -> None:
    found, mesh = watch(template)
    seen, residuals, told = found.look(50, mesh, weights())
    assert (seen.step, seen.spikes, told) == (50, 0, [])
    assert abs(seen.mode_strength) < 0.1
    assert not residuals.spiky.any()
    assert tuple(vars(seen)) == ("step", "spikes", "irregular_spikes", "mode_strength")


def test_a_mode_that_grows_is_told_once(template: Template) -> None:
    found, mesh = watch(template)
    told = [
        found.look(step, in_the_mode(mesh, template, strength), weights())[2]
        for step, strength in ((50, 0.3), (100, 1.0), (150, 1.5))
    ]
    assert told[0] == told[2] == []
    irregular = int((found.topology.degrees != REGULAR).sum())
    (line,) = told[1]
    assert line.startswith("step 100: ") and f"of the {irregular} vertices" in line
    assert re.search(r"strength 0\.9\d, 0\.2\d at step 50; .* \(docs/spikes\.md\)", line)


def test_a_mode_that_is_there_at_the_first_look_has_grown_from_none(template: Template) -> None:
    found, mesh = watch(template)
    for step, strength, lines in ((50, 1.2, 1), (100, 1.0, 0)):
        seen, _, told = found.look(step, in_the_mode(mesh, template, strength), weights())
        assert len(told) == lines
        assert all("0.00 at step 0" in line for line in told)
        assert seen.mode_strength == pytest.approx(strength, abs=0.1)
        assert seen.irregular_spikes > 0


@pytest.mark.parametrize(("key", "frozen", "told"), [
    (GRAPH_BIAS, True, True), (GRAPH_BIAS, False, True),
    (ENCODER_BIAS, True, False), (ENCODER_BIAS, False, True),
])  # fmt: skip
def test_biases_that_stay_zero_are_told_once(
    template: Template, key: str, frozen: bool, told: bool
) -> None:
    found, mesh = watch(template, frozen)
    given = weights()
    given[key][:] = 0.0
    lines = found.look(50, mesh, given)[2]
    assert bool(lines) is told
    assert all("1 of" in line and key in line for line in lines)
    assert found.look(100, mesh, given)[2] == []
