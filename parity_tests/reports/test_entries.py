from collections.abc import Callable
from dataclasses import replace

import pytest

from network.taps import TAPS
from network.weights import WEIGHTS
from parity.verdict.result import Comparison, Status
from reports.page.entries import (
    MOST_STEPS,
    in_network_order,
    layer_of,
    short_entry,
    shown_steps,
)

VARIABLES = [(stage, row.key) for stage, rows in WEIGHTS.items() for row in rows]


@pytest.mark.parametrize("prefix", ["", "gradients/", "steps/3/m/"])
def test_every_variable_has_its_layer(prefix: str) -> None:
    taps = {stage: {row.name for row in rows} for stage, rows in TAPS.items()}
    found = [(stage, layer_of(stage, prefix + key)) for stage, key in VARIABLES]
    assert all(layer in taps[stage] for stage, layer in found)
    # All that has variables, and nothing else.
    assert {len({layer for stage, layer in found if stage == name}) for name in taps} == {61, 30}


def test_a_loss_is_about_its_block_s_mesh() -> None:
    assert layer_of("coarse", "losses/chamfer_2") == "graph_conv_blk2_14_layer_30"
    assert layer_of("refine", "edge_1") == "graph_drb_blk1_layer_2"
    assert layer_of("coarse", "steps/2/losses/move_3") == "graph_conv_blk3_15_layer_47"


@pytest.mark.parametrize("name", ["total", "mesh", "chamfer_9", "<x>", "a/b", "cnn/W", ""])
def test_what_has_no_layer(name: str) -> None:
    assert layer_of("coarse", name) == ""
    assert layer_of("no stage", name) == ""


def test_short_names() -> None:
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_2_layer_2_vars/weights_1:0"
    assert short_entry("coarse", f"gradients/{key}") == "conv 2 weights_1"
    assert short_entry("coarse", f"steps/4/m/{key}") == "step 4 conv 2 weights_1"
    assert short_entry("coarse", "losses/chamfer_1") == "chamfer_1"
    assert "\x1b" not in short_entry("coarse", "\x1b[31m")
    assert len(short_entry("coarse", "n" * 3000)) == 40


def test_network_order(planted: Callable[[str], Comparison]) -> None:
    (base, *_) = planted("trained").gradients
    keys = [key for stage, key in VARIABLES if stage == "coarse"]
    mixed = [(index, replace(base, tap=keys[index])) for index in (160, 20, 2, 100)]
    mixed.append((7, replace(base, tap="mesh")))
    assert [index for index, _ in in_network_order("coarse", mixed)] == [7, 2, 20, 100, 160]


def test_steps_that_say_most_are_shown(planted: Callable[[str], Comparison]) -> None:
    base = planted("trained")
    steps = [
        replace(base.gradients[0], tap=f"steps/1/m/{n}", order=n, status=Status.ROUNDING)
        for n in range(MOST_STEPS + 50)
    ]
    assert shown_steps(replace(base, steps=tuple(steps[:MOST_STEPS]))) == tuple(steps[:MOST_STEPS])
    steps[-2] = replace(steps[-2], status=Status.DIFFER)
    steps[-1] = replace(steps[-1], status=Status.INHERITED)
    comparison = replace(base, steps=tuple(steps), first_divergence=steps[320].tap)
    found = shown_steps(comparison)
    assert len(found) == MOST_STEPS
    assert {steps[-2].tap, steps[-1].tap, steps[320].tap} <= {entry.tap for entry in found}
    assert [entry.order for entry in found] == sorted(entry.order for entry in found)
