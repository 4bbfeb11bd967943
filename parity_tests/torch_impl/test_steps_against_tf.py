"""Training steps of the refine stage in both frameworks, on a mesh of 162 vertices, in float64."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from network.weights import WEIGHTS
from parity.training.steps import StepsResult, compare_steps
from parity.training.trainers import TensorFlowTrainer, TorchTrainer, TrainerSettings
from parity.verdict.result import Status

STEPS = 2
RATE = 1e-5


@dataclass(frozen=True)
class Inputs:
    """``RunInputs`` without its check that the mesh has the official 2,466 vertices."""

    stage: str
    given: dict[str, Any]
    samples: None = None
    seed: int = 0

    @property
    def template(self) -> Any:
        return self.given["template"]

    def mapping(self) -> dict[str, Any]:
        return self.given


def both_trained(inputs: dict[str, Any], weights: dict[str, np.ndarray], steps: int) -> StepsResult:
    """Both frameworks, from the same weights; the points drawn on TensorFlow's meshes."""
    given, settings = Inputs("refine", inputs), TrainerSettings(RATE)
    return compare_steps(
        TensorFlowTrainer("cpu", given, weights, settings, "float64"),  # type: ignore[arg-type]
        TorchTrainer("cpu", given, weights, settings, "float64"),  # type: ignore[arg-type]
        weights,
        steps,
        stage="refine",
        dtype="float64",
        learning_rate=RATE,
    )


def test_refine_trajectories_stay_together(small_inputs, seeded, monkeypatch) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    vertices = len(small_inputs["refine"]["mesh"])
    monkeypatch.setitem(
        importlib.import_module("tf_reference.parameters").VERTICES, "refine", vertices
    )
    result = both_trained(small_inputs["refine"], seeded["refine"], STEPS)
    # 12 terms; 72 variables with two moments each.
    assert len(result.entries) == 12 + 3 * len(WEIGHTS["refine"])
    assert {entry.status for entry in result.entries} == {Status.AGREE}
    assert [summary.optimiser for summary in result.summaries] == ["right"] * STEPS
    moved = seeded["refine"]["meshnet/pixel2mesh/graph_drb_blk2_layer_5/localgconv_12_vars/bias:0"]
    last = next(
        entry for entry in result.entries if entry.tap.endswith("localgconv_12_vars/bias:0")
    )
    assert last.reference != float(moved[0])
