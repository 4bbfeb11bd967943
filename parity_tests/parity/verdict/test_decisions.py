"""Which decisions differ, how far the coordinate is from both, and what a flip may have changed."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inputs.cameras import project
from parity.traces.trace import open_trace
from parity.verdict.decisions import MOST_FLIPS, Flips, find_flips
from parity_tests.parity.conftest import SHAPES, Build, item_inputs
from weight_conversion.errors import InputError

FIRST, SECOND = "graph_proj_1_layer_0", "graph_proj_2_layer_15"
LOCAL, LOCAL_2 = "graph_localproj_1_layer_1", "graph_localproj_2_layer_4"
ROW = 7
DEPTH = -0.8


def at_height(h: float) -> list[float]:
    """A point whose float64 h in view 0 is this, but for the rounding of the point to float32."""
    return [0.01, (h - 112) * DEPTH / 248, DEPTH]


class Side:
    """One side's projection tap and decisions of a stage, right until a test changes them."""

    def __init__(self, build: Build, name: str, stage: str = "coarse") -> None:
        self.build, self.name, self.stage = build, name, stage
        tap = FIRST if stage == "coarse" else LOCAL
        self.tap = tap
        rows = SHAPES[stage][tap][0]
        self.points = np.zeros((rows, 3), np.float32)
        self.points[:] = at_height(50.0 + 1 / 3)
        self.decisions = np.zeros((3, rows, 2) if stage == "coarse" else (3, rows, 2, 2), np.int16)
        self.more: dict[str, Any] = {}
        self.attributes: dict[str, Any] = {}

    def height(self, h: float, row: int = ROW) -> "Side":
        self.points[row] = at_height(h)
        return self

    def decide(self, *decision: int, row: int = ROW, view: int = 0, axis: int = 0) -> "Side":
        self.decisions[view, row, axis] = decision if len(decision) > 1 else decision[0]
        return self

    def write(self, without_tap: bool = False) -> Path:
        shape = SHAPES[self.stage][self.tap]

        def edit(file: h5py.File) -> None:
            if not without_tap:
                # Rows that are never written read as zeros and take no room.
                tap = file.create_dataset(
                    f"taps/{self.tap}", shape, "f4", chunks=(min(shape[0], 4 * 43), shape[1])
                )
                changed = np.flatnonzero((self.points != self.points[0]).any(axis=1))
                for row in changed[:50]:
                    tap[row, :3] = self.points[row]

        return self.build(
            self.name, {"own": np.ones(1)}, stage=self.stage, edit=edit,
            decisions={self.tap: self.decisions, **self.more}, attributes=self.attributes,
        )  # fmt: skip


def found(*sides: Side, **options: Any) -> Flips:
    from contextlib import ExitStack

    with ExitStack() as stack:
        return find_flips(
            *(stack.enter_context(open_trace(side.write(**options))) for side in sides)
        )


def both(build: Build, stage: str = "coarse", h: float = 52.0) -> tuple[Side, Side]:
    first, second = (Side(build, name, stage).height(h) for name in ("reference", "candidate"))
    return first, second


def test_equal_decisions_are_no_flips(build: Build) -> None:
    flips = found(*both(build))
    assert flips == Flips((), 0, {})
    assert flips.explained


def test_flip_is_described(build: Build) -> None:
    first, second = both(build)
    first.decide(13)
    second.decide(12)
    flips = found(first, second)
    assert flips.count == len(flips.listed) == 1
    flip = flips.listed[0]
    assert (flip.tap, flip.row, flip.view, flip.axis) == (FIRST, ROW, 0, "h")
    assert (flip.reference, flip.candidate) == ("cell 13", "cell 12")
    points, cameras = first.points[[ROW]], item_inputs("coarse")["cameras"]
    assert flip.pixel == pytest.approx(project(points, cameras)[0, 0, 0], abs=1e-10)
    assert flip.margin == pytest.approx(abs(flip.pixel - 52), abs=1e-12)
    assert 1e-5 < flip.rounding < 1e-2
    assert flip.tie and flips.explained


def test_view_and_axis_are_those_of_the_decision(build: Build) -> None:
    first, second = both(build)
    second.decide(3, row=155, view=2, axis=1)
    flip = found(first, second).listed[0]
    assert (flip.row, flip.view, flip.axis) == (155, 2, "w")


COARSE = [
    # Coordinate, the two choices, how far it is from being right for both.
    (52.0, 13, 12, 0.0),
    (52.5, 13, 12, 0.5),
    (51.5, 13, 12, 0.5),
    (50.0, 13, 12, 2.0),
    (52.0, 13, 11, 4.0),
    (52.0, 13, 14, 4.0),
    (-30.0, 0, 1, 34.0),
    (4.0, 0, 1, 0.0),
    (500.0, 55, 54, 280.0),
    (221.0, 55, 54, 1.0),
    (52.0, 13, 56, np.nan),
    (52.0, 13, -1, np.nan),
    (52.0, -32768, 13, np.nan),
]


@pytest.mark.parametrize(("h", "first", "second", "margin"), COARSE)
def test_margin_between_cells(
    build: Build, h: float, first: int, second: int, margin: float
) -> None:
    sides = both(build, h=h)
    flip = found(sides[0].decide(first), sides[1].decide(second)).listed[0]
    assert flip.margin == pytest.approx(margin, abs=1e-4, nan_ok=True)
    assert flip.tie is (margin == 0)


REFINE = [
    (52.0, (52, 52), (52, 53), 0.0),
    (52.0, (52, 52), (51, 52), 0.0),
    (52.0, (51, 52), (52, 53), 0.0),
    (52.25, (52, 53), (52, 52), 0.25),
    (52.25, (52, 53), (53, 53), 0.75),
    (52.25, (52, 53), (51, 52), 0.25),
    (52.5, (52, 52), (53, 53), 0.5),
    (52.5, (52, 53), (54, 55), 1.5),
    (52.0, (52, 52), (52, 152), np.nan),
    (52.0, (52, 52), (53, 52), np.nan),
    (0.0, (0, 0), (0, 1), 0.0),
    (-50.0, (0, 0), (0, 1), 50.0),
    (-50.0, (0, 0), (-51, -50), np.nan),
    (223.0, (223, 223), (222, 223), 0.0),
    (500.0, (223, 223), (222, 223), 277.0),
    (500.0, (223, 223), (500, 500), np.nan),
    (223.0, (223, 223), (223, 224), np.nan),
]


@pytest.mark.parametrize(("h", "first", "second", "margin"), REFINE)
def test_margin_between_floors_and_ceils(
    build: Build, h: float, first: tuple[int, int], second: tuple[int, int], margin: float
) -> None:
    sides = both(build, "refine", h)
    flip = found(sides[0].decide(*first), sides[1].decide(*second)).listed[0]
    assert flip.margin == pytest.approx(margin, abs=1e-4, nan_ok=True)
    assert flip.tie is (margin == 0)


def test_floor_and_ceil_are_one_decision(build: Build) -> None:
    first, second = both(build, "refine")
    flips = found(first.decide(52, 52), second.decide(51, 53))
    assert flips.count == 1
    assert (flips.listed[0].reference, flips.listed[0].candidate) == ("integer 52", "51..53")


def test_distance_between_the_two_vertices_counts_as_rounding(build: Build) -> None:
    first, second = both(build)
    second.height(51.75)
    flip = found(first.decide(13), second.decide(12)).listed[0]
    assert flip.rounding == pytest.approx(0.25, abs=0.01)


def test_point_without_a_pixel_is_no_tie(build: Build) -> None:
    first, second = both(build)
    for side in (first, second):
        side.points[ROW] = np.nan
    flips = found(first.decide(1), second.decide(2))
    assert not flips.explained
    assert np.isnan(flips.listed[0].pixel)


def test_coarse_flip_touches_its_row_then_everything(build: Build) -> None:
    first, second = both(build)
    touched = found(first.decide(13), second.decide(12)).touched
    assert np.flatnonzero(touched[FIRST]).tolist() == [ROW]
    assert touched[FIRST].shape == (156,)
    below = [name for name in SHAPES["coarse"] if name.startswith("graph_conv")]
    assert below and all(touched[name].tolist() == [True] for name in below)
    assert not any(name.startswith("cnn") for name in touched)


def test_refine_flip_touches_its_vertex_throughout(build: Build) -> None:
    first, second = both(build, "refine")
    row = 43 * 100 + 5
    for side, decision in ((first, (52, 52)), (second, (52, 53))):
        side.height(52, row).decide(*decision, row=row)
    touched = found(first, second).touched
    assert {tuple(np.flatnonzero(mask)) for mask in touched.values()} == {(100,)}
    assert {mask.shape for mask in touched.values()} == {(2466,)}
    untouched = set(SHAPES["refine"]) - set(touched)
    assert untouched == {name for name in SHAPES["refine"] if name.startswith("cnn")} | {
        "graph_sample_hypothesis_1_layer_0"
    }


def test_later_flips_add_their_vertices(build: Build) -> None:
    first, second = both(build, "refine")
    later = np.zeros((3, 106038, 2, 2), np.int16)
    first.more = {LOCAL_2: later}
    second.more = {LOCAL_2: later.copy()}
    second.more[LOCAL_2][1, 43 * 9, 0] = (3, 4)
    touched = found(first.decide(52, 52), second.decide(52, 53)).touched
    assert np.flatnonzero(touched[LOCAL]).tolist() == [0]
    assert np.flatnonzero(touched[LOCAL_2]).tolist() == [0, 9]
    assert np.flatnonzero(touched["graph_drb_blk2_layer_5"]).tolist() == [0, 9]


def test_more_flips_than_are_listed_are_unexplained(build: Build) -> None:
    first, second = both(build, "refine")
    second.decisions[:, :600, 0] = (52, 53)
    flips = found(first, second)
    assert flips.count == 1800
    assert len(flips.listed) == MOST_FLIPS
    assert not flips.explained


def test_every_decision_may_differ(build: Build) -> None:
    first, second = both(build, "refine")
    second.decisions += 1
    flips = found(first, second)
    assert flips.count == 3 * 106038 * 2
    assert len(flips.listed) == MOST_FLIPS


def test_flips_of_a_tap_that_was_not_recorded_are_unexplained(build: Build) -> None:
    first, second = both(build)
    flips = found(first.decide(13), second.decide(12), without_tap=True)
    assert (flips.listed, flips.count) == ((), 1)
    assert not flips.explained


def test_decisions_of_one_side_only_are_no_flips(build: Build) -> None:
    first, second = both(build)
    second.tap = "own"
    with open_trace(first.write()) as reference, open_trace(build("candidate")) as candidate:
        assert find_flips(reference, candidate).count == 0


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 155, 2), np.int16),
        np.zeros((3, 156, 2, 2), np.int16),
        np.zeros((2, 156, 2), np.int16),
        np.zeros((), np.int16),
        np.zeros((0,), np.int16),
    ],
    ids=lambda array: str(array.shape),
)
@pytest.mark.parametrize("side", [0, 1])
def test_decisions_of_another_shape_are_refused(build: Build, wrong: np.ndarray, side: int) -> None:
    sides = both(build)
    sides[side].decisions = wrong
    with pytest.raises(
        InputError, match=rf"/decisions/{FIRST} has shape .*; expected \(3, 156, 2\)"
    ):
        found(*sides)


def test_decisions_that_are_no_integers_are_refused(build: Build) -> None:
    first, second = both(build)
    second.decisions = np.full((3, 156, 2), np.nan)
    with pytest.raises(
        InputError, match=rf"/decisions/{FIRST} has dtype float64; expected integers"
    ):
        found(first, second)


def test_pinned_run_answers_for_what_an_earlier_flip_moved(build: Build) -> None:
    first, second = both(build)
    pinned = Side(build, "pinned").height(52)
    for side, decision in ((first, 13), (second, 12), (pinned, 12)):
        side.decide(decision)
        side.more = {SECOND: np.zeros((3, 156, 2), np.int16)}
    second.more[SECOND] += 5
    assert found(first, second).count == 1 + 3 * 156 * 2
    assert found(first, second, pinned).count == 1
    pinned.more[SECOND][0, 0, 0] = 9
    flips = found(first, second, pinned)
    assert flips.count == 2
    assert not flips.explained


def test_candidate_answers_for_what_no_flip_moved(build: Build) -> None:
    first, second = both(build)
    pinned = Side(build, "pinned").height(52)
    flips = found(first.decide(13), second.decide(12), pinned.decide(13))
    assert flips.count == 1
    assert flips.listed[0].candidate == "cell 12"


def test_each_vertex_is_answered_for_by_the_run_that_knows_it(build: Build) -> None:
    first, second = both(build, "refine")
    pinned = Side(build, "pinned", "refine").height(52)
    for side in (first, second, pinned):
        side.more = {LOCAL_2: np.zeros((3, 106038, 2, 2), np.int16)}
    # Vertex 0, which a flip has moved, and vertex 9, which none has.
    second.more[LOCAL_2][0, [0, 43 * 9], 0] = (3, 4)
    pinned.more[LOCAL_2][0, [1, 43 * 9], 0] = (5, 6)
    flips = found(first.decide(52, 52), second.decide(52, 53), pinned.decide(52, 53))
    # Row 0 is the candidate's own affair after the flip, row 1 the pinned run's.
    assert flips.count == 1 + 1 + 1
    assert len(flips.listed) == 1  # the second projection's points were not recorded
