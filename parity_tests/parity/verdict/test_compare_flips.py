"""A flip excuses what it explains, and hides nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from parity.traces.trace import inputs_sha256
from parity.verdict import decisions
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity_tests.parity.conftest import SHAPES, Build, values
from parity_tests.parity.verdict.test_decisions import at_height
from weight_conversion.errors import InputError

FIRST, LATER = "graph_proj_1_layer_0", "graph_conv_blk1_1_layer_1"
BEFORE = "cnn.conv2d_18"
ROW = 7


class Side:
    """One side: a projection, a tap before and one after it, all as the other side's at first."""

    def __init__(self, build: Build, name: str) -> None:
        self.build, self.name = build, name
        self.taps = {tap: values(tap, SHAPES["coarse"][tap]) for tap in (BEFORE, FIRST, LATER)}
        self.taps[FIRST][:, :3] = at_height(50.0 + 1 / 3)
        self.taps[FIRST][ROW, :3] = at_height(52)
        self.decisions = {FIRST: np.full((3, 156, 2), 12, np.int16)}
        self.more: dict[str, dict[str, np.ndarray]] = {}
        self.attributes: dict[str, Any] = {"requested": "nothing"}

    def flipped(self, row: int = ROW) -> "Side":
        """Another cell for one row: its features, and all that follows, are other numbers."""
        self.decisions[FIRST][0, row, 0] = 13
        self.taps[FIRST][row, 3:] += 1
        self.taps[LATER] += 0.25
        return self

    def pinned_to(self, reference: "Side") -> "Side":
        self.attributes["pinned"] = inputs_sha256(reference.decisions)
        self.attributes["backend"] = "candidate"
        return self

    def write(self) -> Path:
        return self.build(
            self.name, self.taps, decisions=self.decisions, attributes=self.attributes, **self.more
        )


class Case:
    def __init__(self, build: Build) -> None:
        self.reference = Side(build, "reference")
        self.candidate = Side(build, "candidate").flipped()
        self.pinned = Side(build, "pinned").pinned_to(self.reference)
        # The pinned run records what it would have decided itself.
        self.pinned.decisions[FIRST][0, ROW, 0] = 13

    def compare(self, pinned: bool = True) -> Comparison:
        paths = self.reference.write(), self.candidate.write()
        return compare(*paths, pinned=self.pinned.write() if pinned else None)


@pytest.fixture
def case(build: Build) -> Case:
    return Case(build)


def entries(comparison: Comparison) -> dict[str, TapResult]:
    return {entry.tap: entry for entry in comparison.entries}


def test_without_the_pinned_run_a_flip_is_a_difference(case: Case) -> None:
    comparison = case.compare(pinned=False)
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == FIRST
    assert comparison.flip_count == 1
    assert comparison.flips[0].tie
    assert comparison.notes == (
        "1 pixel decisions differ, 1 of the 1 listed are ties within rounding",
        "to tell their effect from other differences, run the candidate with --pin",
    )


def test_tie_that_the_pinned_run_does_without_is_a_flip(case: Case) -> None:
    comparison = case.compare()
    assert comparison.verdict is Verdict.AGREE
    assert comparison.first_divergence is None
    found = entries(comparison)
    assert [found[tap].status for tap in (BEFORE, FIRST, LATER)] == [
        Status.AGREE, Status.FLIP, Status.FLIP,
    ]  # fmt: skip
    assert found[FIRST].note == "only through pixel decisions that are ties"
    assert found[FIRST].mismatched == 2880
    assert found[FIRST].pinned_max_rel == 0
    assert found[BEFORE].pinned_max_rel is None


def fault_in_the_same_row(case: Case) -> None:
    for side in (case.candidate, case.pinned):
        side.taps[FIRST][ROW, 9] += 1


def fault_in_another_row(case: Case) -> None:
    for side in (case.candidate, case.pinned):
        side.taps[FIRST][ROW + 1, 9] += 1


def nan_in_another_row(case: Case) -> None:
    for side in (case.candidate, case.pinned):
        side.taps[FIRST][ROW + 1, 9] = np.nan


@pytest.mark.parametrize("fault", [fault_in_the_same_row, fault_in_another_row, nan_in_another_row])
def test_fault_that_the_pinned_run_has_too_is_a_difference(
    case: Case, fault: Callable[[Case], None]
) -> None:
    fault(case)
    comparison = case.compare()
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == FIRST
    assert entries(comparison)[LATER].status is Status.FLIP


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf])
def test_fault_outside_the_flipped_row_is_a_difference_even_if_pinning_cures_it(
    case: Case, value: float
) -> None:
    # A fault in the path that pinning bypasses, beside a harmless tie.
    case.candidate.taps[FIRST][ROW + 1, 9] += value
    comparison = case.compare()
    assert comparison.first_divergence == FIRST
    note = "differs also where no pixel decision that differs can have reached"
    assert note in entries(comparison)[FIRST].note


def test_fault_before_the_projection_is_no_flip_even_if_pinning_cures_it(case: Case) -> None:
    case.candidate.taps[BEFORE] += 1
    comparison = case.compare()
    assert comparison.first_divergence == BEFORE
    note = "no pixel decision that differs can have reached it"
    assert entries(comparison)[BEFORE].note == note


def test_without_flips_the_pinned_run_excuses_nothing(case: Case) -> None:
    for side in (case.candidate, case.pinned):
        side.decisions[FIRST][:] = 12
    comparison = case.compare()
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.flip_count == 0
    assert entries(comparison)[LATER].status is Status.DIFFER


def test_flip_that_is_no_tie_makes_a_difference(case: Case) -> None:
    for side in (case.candidate, case.pinned):
        side.decisions[FIRST][0, ROW + 1, 0] = 13
    comparison = case.compare()
    assert comparison.verdict is Verdict.DIFFER
    assert [flip.tie for flip in comparison.flips] == [True, False]
    found = entries(comparison)[FIRST]
    assert found.note == "a pixel decision differs by more than rounding explains"
    assert comparison.notes[0] == (
        "2 pixel decisions differ, 1 of the 2 listed are ties within rounding"
    )


def test_flip_that_the_pinned_run_denies_is_still_judged(case: Case) -> None:
    # The candidate's own decision counts where nothing before has moved the vertex.
    case.candidate.decisions[FIRST][0, ROW + 1, 0] = 13
    comparison = case.compare()
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.flip_count == 2


def test_flips_beyond_those_listed_make_a_difference(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in (case.reference, case.candidate, case.pinned):
        side.taps[FIRST][ROW + 1, :3] = at_height(52)
    for side in (case.candidate, case.pinned):
        side.decisions[FIRST][0, ROW + 1, 0] = 13
    assert case.compare().verdict is Verdict.AGREE
    monkeypatch.setattr(decisions, "MOST_FLIPS", 1)
    comparison = case.compare()
    assert (comparison.flip_count, len(comparison.flips)) == (2, 1)
    assert comparison.verdict is Verdict.DIFFER


def test_losses_gradients_and_own_taps_follow_a_flip(case: Case) -> None:
    for side, number in ((case.reference, 1.0), (case.candidate, 2.0), (case.pinned, 1.0)):
        side.more = {
            "losses": {"total": np.array(number)},
            "gradients": {"mesh": np.full((156, 3), number)},
        }
        side.taps["own"] = np.full(3, number, np.float32)
    comparison = case.compare()
    found = entries(comparison)
    assert comparison.verdict is Verdict.AGREE
    for name in ("losses/total", "gradients/mesh", "own"):
        assert found[name].status is Status.FLIP


@pytest.mark.parametrize("change", ["absent", "stretched"])
def test_tap_that_the_pinned_run_does_not_have_stays_a_difference(case: Case, change: str) -> None:
    if change == "absent":
        del case.pinned.taps[LATER]
    else:
        case.pinned.taps[LATER] = case.pinned.taps[LATER][:1, :1]
    comparison = case.compare()
    assert comparison.first_divergence == LATER
    assert entries(comparison)[LATER].pinned_max_rel is None


def test_shape_that_the_network_does_not_have_is_excused_by_nothing(case: Case) -> None:
    for side in (case.reference, case.candidate, case.pinned):
        side.taps[LATER] = side.taps[LATER][:5]
    found = entries(case.compare())[LATER]
    assert found.status is Status.DIFFER
    assert found.note == "both have shape (5, 192), the network (156, 192)"


def test_nan_in_the_pinned_run_excuses_nothing(case: Case) -> None:
    case.pinned.taps[LATER][:] = np.nan
    assert case.compare().first_divergence == LATER


WRONG: list[tuple[str, Any, str]] = [
    ("pinned", "", r"not pinned to .*reference\.h5; expected a trace recorded with --pin of it"),
    ("pinned", "0" * 64, r"not pinned to .*reference\.h5"),
    ("backend", "torch", "backend 'torch'; expected 'candidate' as the candidate's"),
    ("dtype", "float64", "dtype 'float64'; expected 'float32' as the candidate's"),
    ("device", "cuda:0", "device 'cuda:0'; expected 'cpu' as the candidate's"),
    ("weights_sha256", "v", "weights_sha256 'v'; expected '(w*)' as the candidate's"),
    ("inputs_sha256", "v", "recorded on other inputs than"),
    ("stage", "refine", r"/inputs/mesh has shape \(156, 3\); expected \(2466, 3\)"),
    ("complete", False, "an incomplete trace"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_pinned_run_is_refused(case: Case, name: str, value: Any, message: str) -> None:
    case.pinned.attributes[name] = value
    with pytest.raises(InputError, match=rf"pinned\.h5: {message}"):
        case.compare()


def test_run_pinned_to_other_decisions_is_refused(case: Case) -> None:
    case.reference.decisions[FIRST][2, 150, 1] = 3
    with pytest.raises(InputError, match="not pinned to"):
        case.compare()


def test_candidate_is_no_pinned_run_of_itself(case: Case) -> None:
    paths = case.reference.write(), case.candidate.write()
    with pytest.raises(InputError, match="not pinned to"):
        compare(*paths, pinned=paths[1])


LOCAL, SCORE = "graph_localproj_1_layer_1", "graph_drb_blk1_layer_2.score"


def refine_side(
    build: Build, name: str, reference: np.ndarray, ceil: int, changed: dict[str, Any]
) -> Path:
    """A refine trace whose row 43·100 + 5 lands on pixel 52; ``changed`` by tap: (index, value)."""
    row = 43 * 100 + 5
    decisions = np.zeros((3, 106038, 2, 2), np.int16)
    decisions[0, row, 0] = (52, ceil)

    def edit(file: h5py.File) -> None:
        for tap in (LOCAL, SCORE):
            shape = SHAPES["refine"][tap]
            dataset = file.create_dataset(f"taps/{tap}", shape, "f4", chunks=(86, *shape[1:]))
            dataset[(row, slice(0, 3)) if tap == LOCAL else 100] = (
                at_height(52) if tap == LOCAL else 0.5
            )
            for index, value in changed.get(tap, ()):
                dataset[index] = value

    attributes = {"requested": "nothing"}
    if name == "pinned":
        attributes |= {"pinned": inputs_sha256({LOCAL: reference}), "backend": "candidate"}
    return build(
        name, {"own": np.ones(1)}, stage="refine", decisions={LOCAL: decisions},
        attributes=attributes, edit=edit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("also", "status"),
    [((100, 0, 0), Status.FLIP), ((100, 42, 0), Status.FLIP), ((101, 0, 0), Status.DIFFER)],
    ids=["same hypothesis", "same vertex", "next vertex"],
)
def test_refine_flip_excuses_its_own_vertex_alone(
    build: Build, also: tuple[int, ...], status: Status
) -> None:
    row = 43 * 100 + 5
    reference = np.zeros((3, 106038, 2, 2), np.int16)
    reference[0, row, 0] = (52, 52)
    changed = {LOCAL: [((row, 9), 1.0)], SCORE: [(also, 0.75)]}
    comparison = compare(
        refine_side(build, "reference", reference, 52, {}),
        refine_side(build, "candidate", reference, 53, changed),
        pinned=refine_side(build, "pinned", reference, 53, {}),
        taps=SCORE,  # the projection's 36 million numbers take a second
    )
    assert entries(comparison)[SCORE].status is status
    assert comparison.verdict.value == ("agree" if status is Status.FLIP else "differ")
