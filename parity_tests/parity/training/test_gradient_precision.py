"""Float32 gradients against float64 with decisions pinned: the measure, and what is made of it."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.weights import WEIGHTS
from parity.traces.record import RunInputs
from parity.training.gradient_precision import (
    Decisions,
    Errors,
    GradientPrecision,
    Variation,
    gradient_precision,
    with_precision,
)
from parity.verdict.limits import LIMITS
from parity.verdict.result import Comparison, Side, Status, TapResult, Verdict
from torch_impl.backend import TorchBackend
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

META = "checkpoint_graphs/coarse_mvp2m/meshnetmvp2m.ckpt-50.meta"
LIMIT = LIMITS["coarse", "float32"]


@pytest.fixture(scope="module")
def weights() -> WeightSet:
    return WeightSet("coarse", seeded_weights("coarse"), None, "seeded")


@pytest.fixture(scope="module")
def inputs() -> RunInputs:
    item, template = load_item(demo_item_path("sofa")), build_template()
    truth = load_ground_truth(demo_item_path("sofa") / "model_normal.xyz", item.cameras[0])
    assert truth.normals is not None
    truth = GroundTruth(truth.points[::10], truth.normals[::10])
    return RunInputs(
        "coarse", item, template.coordinates, template, build_hypotheses(), ground_truth=truth
    )


@pytest.fixture(scope="module")
def measured(inputs: RunInputs, weights: WeightSet) -> GradientPrecision:
    return gradient_precision(inputs, weights)


def test_pinned_float32_gradients_are_right_to_rounding(measured: GradientPrecision) -> None:
    assert set(measured.pinned.by_key) == {*(row.key for row in WEIGHTS["coarse"]), "mesh"}
    assert 0 < measured.pinned.median <= measured.pinned.greatest < LIMIT
    assert measured.pinned.greatest == measured.pinned.by_key[measured.pinned.worst]
    assert measured.within is None
    assert "--metagraph" in measured.note


def test_all_kinds_of_decisions_are_counted(measured: GradientPrecision) -> None:
    kinds = {each.kind: each for each in measured.decisions}
    assert set(kinds) == {"pixels", "ReLUs", "nearest neighbours"}
    # 3 views, 156 + 618 + ... vertices, h and w; a neighbour a point and a ground truth a block.
    assert kinds["pixels"].total == 3 * 2 * (156 + 156 + 618)
    points = 156 + 618 + 2466 + 3 * 4000 + 3 * 500
    assert kinds["nearest neighbours"].total == points
    assert kinds["ReLUs"].total > 1e7
    assert all(each.explained for each in measured.decisions)


def test_a_wrong_gradient_is_beyond_the_limit(
    inputs: RunInputs, weights: WeightSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float32 run that goes through half precision, as mixed-precision ports do."""
    evaluate = TorchBackend.evaluate

    def halved(self: TorchBackend, given: object, arrays: dict, **options: object) -> object:
        if str(self.dtype) == "torch.float32":
            arrays = {key: array.astype(np.float16).astype("f4") for key, array in arrays.items()}
        return evaluate(self, given, arrays, **options)

    monkeypatch.setattr(TorchBackend, "evaluate", halved)
    found = gradient_precision(inputs, weights)
    assert found.pinned.median > 10 * LIMIT


@pytest.mark.slow
def test_the_exported_graph_is_the_yardstick(
    inputs: RunInputs, weights: WeightSet, official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    two = (Variation("plain"), Variation("reversed", onednn=False, reversed_truth=True))
    monkeypatch.setattr("parity.training.gradient_precision.VARIATIONS", two)
    found = gradient_precision(inputs, weights, official / META)
    first, second = found.yardstick
    assert first.by_key != second.by_key
    assert max(first.median, second.median) < 1e-3
    assert found.within is True


def test_without_ground_truth(inputs: RunInputs, weights: WeightSet) -> None:
    with pytest.raises(InputError, match="--ground-truth"):
        gradient_precision(replace(inputs, ground_truth=None), weights)


def precision(error: float, ties: int = 2, yardstick: tuple[float, ...] = ()) -> GradientPrecision:
    decisions = (Decisions("ReLUs", 2, 100, 1e-7, 1e-5, ties),)
    graphs = tuple(Errors("graph", {"a": each, "b": each / 2}) for each in yardstick)
    pinned = Errors("pinned", {"a": error, "b": error / 3})
    return GradientPrecision("coarse", pinned, pinned, decisions, graphs, "")


@pytest.mark.parametrize(
    ("error", "yardstick", "within"),
    [(1e-6, (1e-6,), True), (2.9e-6, (1e-7, 1e-6), True), (3.5e-6, (1e-6,), False),
     (float("nan"), (1e-6,), False), (1e-6, (), None)],
)  # fmt: skip
def test_three_times_the_worst_variation(
    error: float, yardstick: tuple[float, ...], within: bool | None
) -> None:
    found = precision(error, yardstick=yardstick)
    assert found.within is within
    assert found.to_json()["within"] is within
    words = {True: "within 3 times", False: "beyond 3 times", None: "greatest"}[within]
    assert words in list(found.lines())[-1] or within is None


def comparison(*gradients: TapResult) -> Comparison:
    side = Side("a.h5", "tf", "float32", "cpu", "", "")
    first = next((entry.tap for entry in gradients if entry.status is Status.DIFFER), None)
    verdict = Verdict.DIFFER if first else Verdict.AGREE
    tap = TapResult("cnn.conv2d_1", 0, Status.AGREE, (1,), "float32", max_abs=0.0)
    return Comparison("coarse", verdict, first, (tap,), (), gradients, (), (), {}, (), 0, (),
                      side, side)  # fmt: skip


def gradient(key: str, status: Status = Status.DIFFER) -> TapResult:
    return TapResult(f"gradients/{key}", 0, status, (1,), "float32", max_abs=1.0)


@pytest.mark.parametrize(
    ("error", "ties", "status", "verdict"),
    [
        (1e-6, 2, Status.FLIP, Verdict.AGREE),
        (1e-6, 1, Status.DIFFER, Verdict.DIFFER),
        (1e-3, 2, Status.DIFFER, Verdict.DIFFER),
        (float("nan"), 2, Status.DIFFER, Verdict.DIFFER),
    ],
    ids=["right", "no-tie", "wrong", "nan"],
)
def test_a_gradient_that_differs_through_ties_alone_is_a_flip(
    error: float, ties: int, status: Status, verdict: Verdict
) -> None:
    found = with_precision(comparison(gradient("a")), precision(error, ties))
    assert (found.gradients[0].status, found.verdict) == (status, verdict)
    assert found.first_divergence == (None if status is Status.FLIP else "gradients/a")
    assert any("1 of 100" in note or "2 of 100" in note for note in found.notes)
    assert found.to_json()["gradient_precision"]["pinned"]["run"] == "pinned"


def test_what_was_not_measured_stays_a_difference() -> None:
    found = with_precision(comparison(gradient("a"), gradient("c")), precision(1e-6))
    assert [entry.status for entry in found.gradients] == [Status.FLIP, Status.DIFFER]
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, "gradients/c")
