"""Wrong ways back planted into the torch implementation, each named; what is harmless passes."""

from collections.abc import Callable
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from network.taps import MESH
from parity.diagnosis.gradients import diagnose
from parity.oracle.context import Context
from parity.oracle.local import unheard
from parity.verdict.findings import told_of
from parity.verdict.gradient_comparison import with_layers
from parity.verdict.gradients import BackwardJudge, Gradient
from parity.verdict.result import Status, TapResult
from parity_tests.parity.backward import faults
from studies.faults import terms
from studies.faults.injection import Injection, Mutant
from studies.faults.memory import MemoryBackward
from studies.faults.probes import probe

Run = Callable[[str, Injection | None], MemoryBackward]


@pytest.fixture(scope="module")
def run(contexts: dict[str, Context]) -> Run:
    kept: dict[str, MemoryBackward] = {}

    def differentiated(stage: str, injection: Injection | None) -> MemoryBackward:
        if injection is None and stage in kept:
            return kept[stage]
        asked = probe("plane", stage, "gradient")
        backend = Mutant(injection or Injection(), stage, "float64", "cpu")
        found = MemoryBackward.of(backend, asked, contexts[stage])
        if injection is None:
            kept[stage] = found
        return found

    return differentiated


def judged(run: Run, contexts: dict, stage: str, candidate: MemoryBackward) -> dict[str, Gradient]:
    return BackwardJudge(contexts[stage], run(stage, None), candidate).judge()


@dataclass(frozen=True)
class Planted:
    """A fault, where it shows first, whose way back is named, and by which operand.

    ``sure``: whether a counterfactual is expected to confirm it.
    """

    id: str
    stage: str
    make: Callable[[], Injection]
    first: str
    layer: str
    operand: str
    sure: bool = True


COARSE, REFINE = "coarse", "refine"
PLANTED = (
    Planted("detached", COARSE, partial(faults.detached, "graph_conv_blk2_5_layer_21"),
            "graph_conv_blk2_4_layer_20", "graph_conv_blk2_5_layer_21", "detach"),
    Planted("scaled", COARSE, partial(faults.scaled, "graph_conv_blk3_4_layer_36", 1 + 1e-9),
            "graph_conv_blk3_3_layer_35.residual", "graph_conv_blk3_4_layer_36", "constant"),
    Planted("no-mask", COARSE, partial(
                faults.rectified_otherwise, "graph_conv_blk1_4_layer_4", lambda g, _: g == g),
            "meshnetmvp2m/pixel2mesh/graph_conv_blk1_4_layer_4_vars/weights_0:0",
            "graph_conv_blk1_4_layer_4", "activation"),
    Planted("conv-detached", COARSE, partial(faults.detached, "cnn.conv2d_9"),
            "cnn.conv2d_8", "cnn.conv2d_9", "detach"),
    Planted("maximum-to-all", COARSE, faults.maximum_to_all,
            "cnn.conv2d_18", "graph_proj_1_layer_0", "pooling statistic"),
    Planted("new-vertices-detached", COARSE, partial(faults.new_vertices_detached, 3075),
            "graph_proj_3_layer_31.concat", "graph_pool_2to3_layer_32", "detach"),
    Planted("input-detached", COARSE, terms.before_detached,
            "graph_conv_blk2_14_layer_30", "the losses", "detach"),
    Planted("samples-detached", COARSE,
            partial(terms.computed, "surface_points", terms.samples_detached),
            "graph_conv_blk3_15_layer_47", "the losses", "detach"),
    Planted("no-decay", COARSE, partial(terms.decay, kernels=False),
            "meshnetmvp2m/cnn/conv2d_18/W:0", "cnn.conv2d_18", "decay term"),
    Planted("detached", REFINE, partial(
                faults.detached, "graph_drb_blk2_layer_5.localgconv_10"),
            "graph_drb_blk2_layer_5.residual_1",
            "graph_drb_blk2_layer_5.localgconv_10", "detach"),
    Planted("other-sign", REFINE, partial(
                faults.rectified_otherwise, "graph_drb_blk1_layer_2.localgconv_3",
                lambda _, y: y <= 0),
            "meshnet/pixel2mesh/graph_drb_blk1_layer_2/localgconv_3_vars/weights_0:0",
            "graph_drb_blk1_layer_2.localgconv_3", "activation"),
    Planted("pixels-detached", REFINE, faults.pixels_detached,
            "graph_sample_hypothesis_2_layer_3", "graph_localproj_2_layer_4", "detach"),
    Planted("maximum-to-first", REFINE, faults.maximum_to_first,
            "cnn.conv2d_8", "graph_localproj_1_layer_1", "pooling statistic"),
)  # fmt: skip
SMALL = {"coarse-no-mask"}


def marked() -> list[Any]:
    found = []
    for each in PLANTED:
        name = f"{each.stage}-{each.id}"
        marks = () if name in SMALL else (pytest.mark.slow,)
        found.append(pytest.param(each, id=name, marks=marks))
    return found


@pytest.mark.parametrize("planted", marked())
def test_a_wrong_way_back_is_named(planted: Planted, run: Run, contexts: dict) -> None:
    candidate = run(planted.stage, planted.make())
    found = judged(run, contexts, planted.stage, candidate)
    wrong = [each for each in found.values() if each.status is Status.DIFFER]
    assert wrong
    assert wrong[0].name == planted.first
    assert planted.layer in wrong[0].layers
    told = diagnose(contexts[planted.stage], candidate, wrong[0], f"gradients/{planted.first}")
    assert told.operand == planted.operand, told
    assert told.confirmed is planted.sure
    if planted.layer != "the losses":
        assert planted.layer in told.explanation
    # What follows from it is inherited, and says what from.
    inherited = [each for each in found.values() if each.status is Status.INHERITED]
    assert all(each.origin in {f"gradients/{w.name}" for w in wrong} for each in inherited)


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=pytest.mark.slow) for stage in (COARSE, REFINE)]
)
def test_another_order_of_sums_only_rounds(stage: str, run: Run, contexts: dict) -> None:
    def flipped(old: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda features: old(features.flip(0))

    harmless = faults.replacing("projection.view_statistics", flipped)
    with ExitStack() as stack:
        threads = torch.get_num_threads()
        stack.callback(torch.set_num_threads, threads)
        torch.set_num_threads(1 + threads % 2)
        candidate = run(stage, harmless)
    found = judged(run, contexts, stage, candidate)
    allowed = {Status.AGREE, Status.ROUNDING, Status.FLIP, Status.INHERITED}
    assert {each.status for each in found.values()} <= allowed
    assert any(each.difference for each in found.values())
    # The image of views that look alike may be the greatest one here and another there.
    assert all(
        each.name.startswith("cnn.") for each in found.values() if each.status is Status.FLIP
    )


def test_a_gradient_that_is_nan_on_both_sides(run: Run, contexts: dict) -> None:
    """Agrees where it is in both precisions, and was not compared where in float64 alone."""
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk1_1_layer_1_vars/bias:0"
    broken = copy(run(COARSE, None))
    broken.gradients = {**broken.gradients, key: np.full_like(broken.gradients[key], np.nan)}
    found = BackwardJudge(contexts[COARSE], broken, broken).judge()[key]
    assert (found.status, found.nan) == (Status.AGREE, True)
    sound = Gradient(key, found.layers, found.limit)
    values = [[side.variable(key)] * 2 for side in (run(COARSE, None), broken)]
    silent = told_of(unheard(*values))
    assert not told_of(unheard(values[1], values[1]))
    entry = TapResult(f"gradients/{key}", 0, Status.AGREE, (192,), "float64", max_abs=0.0)
    alone = with_layers(entry, {"float32": sound, "float64": found}, alone=False, silent=silent)
    assert alone.status is Status.INVALID
    assert "192 elements are NaN on both sides in float64 alone" in alone.note
    both = with_layers(entry, {"float32": found, "float64": found}, alone=False)
    assert both.status is Status.AGREE


def test_a_run_agrees_with_itself(run: Run, contexts: dict) -> None:
    found = judged(run, contexts, COARSE, run(COARSE, None))
    assert {each.status for each in found.values()} == {Status.AGREE}
    assert len(found) == 86 + 165 + 1
    assert found["mesh"].layers[-1] == "the losses"
    assert found["mesh"].roundings <= found["mesh"].limit
    assert run(COARSE, None).gradient(MESH, None).any()
