"""Defects that were read in the sources of other tools of this kind, each as a test of ours.

``DEFECTS`` lists them; ``docs/peers.md`` says the same in a table. A test shows the defect's own
example, and that it would have passed the defective comparison.
"""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.ground_truth import load_ground_truth
from inputs.hypotheses import build_hypotheses
from inputs.item import load_item
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.layout import Layout
from network.taps import BLOCK_TAPS
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.verdict.compare import compare
from parity.verdict.coverage import image_findings
from parity.verdict.result import Status, TapResult, Verdict
from parity_tests.parity.conftest import LAST, Build, seven, values
from parity_tests.parity.training.test_steps import AT, KEYS, STEPS, Toy, first, lockstep
from studies.faults.probes import PROBES, probe
from weight_conversion import InputError, load_weights, to_state_dict
from weight_conversion.weight_set import WeightSet

DEFECTS = {
    "mean(a) compared with mean(b)": "test_means_of_a_permutation",
    "a backward comparison that runs the forward": "test_gradients_are_compared_as_gradients",
    "a backward that is never asked for": "test_gradients_are_asked_for_once",
    "several steps that end after the first": "test_every_step_is_compared",
    "errors of children that cancel in the parent": "test_errors_that_cancel_later_are_seen",
    "any permutation of axes that fits": "test_no_permutation_of_axes_is_looked_for",
    "a transposed square matrix loads": "test_a_square_matrix_keeps_its_axes",
    "reshape where a transpose does not fit": "test_nothing_is_reshaped_to_fit",
    "diff > tol with NaN": "test_nan_on_one_side_differs",
    "NaN filtered out": "test_nan_on_both_sides_hides_nothing",
    "(3, 1) broadcast against (3,)": "test_no_shape_is_broadcast",
    "skipped outputs do not count": "test_an_output_that_was_skipped_counts",
    "unmatched outputs do not count": "test_an_output_without_a_partner_counts",
    "a probe of all ones": "test_no_probe_is_of_one_number",
    "a probe that cannot tell": "test_a_probe_that_cannot_tell_says_so",
}


def entry(build: Build, reference: Any, candidate: Any, group: str = "taps") -> TapResult:
    """The comparison of one array with another."""
    name = LAST if group == "taps" else f"{group}/k"
    sides = []
    for side, array in (("reference", reference), ("candidate", candidate)):
        given = {**seven(), LAST: array} if group == "taps" else None
        sides.append(build(side, given, **({} if group == "taps" else {group: {"k": array}})))
    found = compare(*sides)
    return next(each for each in found.entries if each.tap == name)


def test_means_of_a_permutation(build: Build) -> None:
    array = values(LAST, (156, 3))
    turned = np.roll(array, 1, axis=0)
    assert np.mean(array) == pytest.approx(np.mean(turned))
    found = entry(build, array, turned)
    assert found.status is Status.DIFFER
    assert found.max_abs > 1


def test_gradients_are_compared_as_gradients(build: Build) -> None:
    """Forward all alike, gradients not."""
    array = values("k", (9, 4))
    found = entry(build, array, 2 * array, "gradients")
    assert found.status is Status.DIFFER


def test_gradients_are_asked_for_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[str] = []

    class Port:
        def run(self, _inputs: Any, _weights: Any, listen: Any) -> None:
            calls.append("run")
            for tap, size in zip(BLOCK_TAPS["coarse"], (156, 618, 2466), strict=True):
                listen(tap, values(tap, (size, 3)))

        def losses(self, *_: Any) -> dict[str, np.ndarray]:
            calls.append("losses")
            return {"total": np.float32(1)}

        def gradients(self, *_: Any) -> dict[str, np.ndarray]:
            calls.append("gradients")
            return {"k": np.full(3, 7.0, np.float32)}

    monkeypatch.setattr(BackendChoice, "make", lambda *_: Port())
    item = load_item(demo_item_path("plane"))
    template = build_template()
    truth = load_ground_truth(demo_item_path("plane") / "model_normal.xyz", item.cameras[0])
    inputs = RunInputs(
        "coarse", item, template.coordinates, template, build_hypotheses(), ground_truth=truth
    )
    weights = WeightSet("coarse", {"k": np.ones(3, np.float32)}, 0, "a test")
    record(BackendChoice("port"), inputs, weights, tmp_path / "t.h5", gradients=True, float64=False)
    assert calls == ["run", "losses", "gradients"]
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["gradients/k"][()].tolist() == [7.0] * 3


def test_every_step_is_compared() -> None:
    """A defect that begins at the third step."""
    result = lockstep("float64", Toy("float64", "epsilon"))
    assert [summary.step for summary in result.summaries] == list(range(1, STEPS + 1))
    assert first(result) == f"steps/{AT}/{KEYS[0]}"


def test_errors_that_cancel_later_are_seen(build: Build) -> None:
    """Two layers off by opposite amounts, and a parent that is right."""
    taps = seven()
    inner, outer = "graph_conv_blk1_10_layer_10", "graph_conv_blk1_11_layer_11"
    for name, way in ((inner, 1), (outer, -1)):
        taps[name] = taps[name] + np.float32(way)
    found = compare(build("reference"), build("candidate", taps))
    statuses = {each.tap: each.status for each in found.taps}
    assert statuses[LAST] is Status.AGREE
    assert (statuses[inner], statuses[outer]) == (Status.DIFFER, Status.DIFFER)
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, inner)


@pytest.mark.parametrize("shape", [(9, 9), (3, 3, 4, 4)], ids=str)
def test_no_permutation_of_axes_is_looked_for(build: Build, shape: tuple[int, ...]) -> None:
    array = values("square", shape)
    turned = np.ascontiguousarray(np.swapaxes(array, -1, -2))
    found = entry(build, array, turned, "gradients")
    assert found.status is Status.DIFFER
    assert found.max_abs > 0


def test_a_square_matrix_keeps_its_axes() -> None:
    """The axes of a variable are the table's, whatever shapes would fit."""
    square = values("square", (4, 4))
    np.testing.assert_array_equal(Layout.MATRIX.to_torch(square), square)
    kernel = values("kernel", (3, 3, 3, 3))
    moved = Layout.CONV.to_torch(kernel)
    np.testing.assert_array_equal(moved, kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(Layout.CONV.to_checkpoint(moved), kernel)


def test_nothing_is_reshaped_to_fit(tmp_path: Path) -> None:
    state = to_state_dict("coarse", seeded_weights("coarse"))
    name = "cnn.conv2d_3.weight"
    state[name] = state[name].reshape(3, 3, *state[name].shape[:2])
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=rf"{name} of shape 3x3x32x16; expected 32x16x3x3"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("group", ["taps", "losses", "gradients"])
@pytest.mark.parametrize("side", [0, 1])
def test_nan_on_one_side_differs(build: Build, group: str, side: int) -> None:
    arrays = [values("n", (156, 3)), values("n", (156, 3))]
    arrays[side][5, 1] = np.nan
    assert not (np.abs(arrays[0] - arrays[1]) > 1e-5).any()
    assert entry(build, *arrays, group).status is Status.DIFFER


def test_nan_on_both_sides_hides_nothing(build: Build) -> None:
    arrays = [values("n", (156, 3)), values("n", (156, 3))]
    for array in arrays:
        array[5, 1] = np.nan
    assert entry(build, *arrays).status is Status.AGREE
    arrays[1][6, 1] += 1
    found = entry(build, *arrays)
    assert found.status is Status.DIFFER
    assert found.at == (6, 1)
    arrays[1][7, 1] = np.nan
    found = entry(build, *arrays)
    assert found.at == (7, 1)


@pytest.mark.parametrize("shapes", [((3, 1), (3,)), ((1,), ()), ((156, 1), (156, 3))], ids=str)
def test_no_shape_is_broadcast(build: Build, shapes: tuple[tuple[int, ...], ...]) -> None:
    reference, candidate = (np.ones(shape, np.float32) for shape in shapes)
    assert np.all(reference == candidate)
    found = entry(build, reference, candidate, "losses")
    assert (found.status, found.max_abs) == (Status.DIFFER, None)


def test_an_output_that_was_skipped_counts(build: Build) -> None:
    taps = seven()
    del taps[LAST]
    asked = {"requested": "graph_conv_blk1_1[0-4]_*"}
    found = compare(build("reference"), build("candidate", taps, attributes=asked))
    assert (found.verdict, found.missing) == (Verdict.INVALID, (LAST,))


@pytest.mark.parametrize(("reason", "verdict"), [("", "invalid"), ("fused", "agree")])
def test_an_output_without_a_partner_counts(build: Build, reason: str, verdict: str) -> None:
    taps = seven()
    del taps[LAST]
    declared = {"requested": "graph_conv_blk1_1[0-4]_*", "unmatched": json.dumps({LAST: reason})}
    found = compare(build("reference"), build("candidate", taps, attributes=declared))
    assert found.verdict.value == verdict
    assert found.unmatched == {LAST: reason}


@pytest.mark.parametrize("stage", ["coarse", "refine"])
@pytest.mark.parametrize("name", PROBES)
def test_no_probe_is_of_one_number(name: str, stage: str) -> None:
    """Images, weights and meshes that tell an element from another."""
    inputs = probe(name, stage).inputs
    for array in (inputs["images"], inputs["mesh"]):
        assert np.unique(array).size > 100
    for weights in probe(name, stage).weights.arrays.values():
        assert np.unique(weights).size > weights.size // 2


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_a_probe_that_cannot_tell_says_so(name: str) -> None:
    item = load_item(demo_item_path(name))
    assert not list(image_findings(item.images, item.cameras))
    ones = np.ones_like(item.images)
    told = list(image_findings(ones, item.cameras))
    assert "the images of views 0 and 1 are the same: a swap shows nothing" in told
    assert "blue and red are the same in every pixel: their order shows nothing" in told
    assert "every pixel of the images has the same value: places show nothing" in told


@pytest.mark.parametrize("test", DEFECTS.values())
def test_every_defect_has_its_test(test: str) -> None:
    assert callable(globals()[test])
    page = Path(__file__).parents[3] / "docs" / "peers.md"
    assert f"`{test}`" in page.read_text("utf-8")
