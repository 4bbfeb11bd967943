"""What was not compared: it counts against the verdict unless both were asked to leave it out."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from parity.traces.layout import TRACE_SCHEMA
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status, Verdict
from parity_tests.parity.conftest import (
    LAST,
    SEVEN,
    SHAPES,
    Build,
    constants,
    item_inputs,
    seven,
    values,
    write_weights,
)
from weight_conversion.errors import InputError

FIRST = "graph_conv_blk1_10_layer_10"


def statuses(comparison: Comparison) -> dict[str, Status]:
    return {entry.tap: entry.status for entry in comparison.entries}


def lacking(*names: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in seven().items() if name not in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coarse trace with every tap in full, all zeros but for one number each."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    with h5py.File(path, "w") as file:
        attributes = ("backend", "device", "weights_sha256", "inputs_sha256")
        file.attrs.update(dict.fromkeys(attributes, "same"))
        file.attrs.update({"schema": TRACE_SCHEMA, "stage": "coarse", "dtype": "float32"})
        file.attrs["complete"] = True
        for name, value in {**item_inputs("coarse"), **constants("coarse")}.items():
            file.create_dataset(f"inputs/{name}", data=value)
        write_weights(file, "coarse", ())
        for name, shape in SHAPES["coarse"].items():
            tap = file.create_dataset(f"taps/{name}", shape, "f4", chunks=True)
            tap[(0,) * len(shape)] = 1.0
    return path


def test_whole_trace_agrees_with_itself(whole: Path) -> None:
    comparison = compare(whole, whole)
    assert comparison.verdict is Verdict.AGREE
    assert comparison.compared == len(SHAPES["coarse"])
    assert [entry.tap for entry in comparison.taps] == list(SHAPES["coarse"])
    assert [entry.order for entry in comparison.taps] == list(range(len(SHAPES["coarse"])))
    assert comparison.not_requested == ()


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_tap_in_one_trace_only_is_missing(build: Build, side: str) -> None:
    paths = {name: build(name) for name in ("reference", "candidate")}
    paths[side] = build(side, lacking(LAST))
    comparison = compare(paths["reference"], paths["candidate"])
    assert statuses(comparison)[LAST] is Status.MISSING
    assert comparison.missing == (LAST,)
    assert comparison.verdict is Verdict.INVALID
    assert comparison.compared == 6
    entry = comparison.taps[-1]
    assert entry.note == f"not in the {side}"
    assert entry.max_abs is entry.at is entry.max_rel is None


def test_tap_silently_absent_from_both_is_missing(build: Build) -> None:
    comparison = compare(*(build(side, lacking(LAST)) for side in ("reference", "candidate")))
    assert statuses(comparison)[LAST] is Status.MISSING
    assert comparison.taps[-1].note == "not in the reference and candidate"
    assert comparison.verdict is Verdict.INVALID


def test_without_the_attribute_every_tap_was_asked_for(build: Build) -> None:
    attributes = {"requested": None}
    comparison = compare(
        *(build(side, attributes=attributes) for side in ("reference", "candidate"))
    )
    assert comparison.verdict is Verdict.INVALID
    # The tap that the first of the seven reads is there as well.
    assert len(comparison.missing) == len(SHAPES["coarse"]) - 8
    assert comparison.not_requested == ()


def test_taps_left_out_of_both_do_not_count(build: Build) -> None:
    comparison = compare(build("reference"), build("candidate"))
    assert comparison.verdict is Verdict.AGREE
    assert comparison.missing == ()
    assert len(comparison.not_requested) == len(SHAPES["coarse"]) - 7
    assert LAST not in comparison.not_requested


@pytest.mark.parametrize("wider", ["reference", "candidate"])
def test_tap_left_out_of_one_only_is_missing(build: Build, wider: str) -> None:
    attributes: dict[str, dict[str, str]] = {side: {} for side in ("reference", "candidate")}
    attributes[wider] = {"requested": "graph_conv_blk1_[1-9]*"}
    comparison = compare(*(build(side, attributes=given) for side, given in attributes.items()))
    assert comparison.verdict is Verdict.INVALID
    assert "graph_conv_blk1_1_layer_1" in comparison.missing
    assert "cnn.conv2d_1" in comparison.not_requested


def test_difference_outranks_missing_taps(build: Build) -> None:
    second = lacking(LAST)
    second[FIRST] = second[FIRST] + 1
    comparison = compare(build("reference"), build("candidate", second))
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == FIRST
    assert comparison.missing == (LAST,)


def test_tap_of_neither_table_is_compared_last(build: Build) -> None:
    taps = {**seven(), "a_tap_of_its_own": values("own", (5,))}
    other = {**taps, "a_tap_of_its_own": values("own", (5,)) + 1}
    comparison = compare(build("reference", taps), build("candidate", other))
    assert comparison.taps[-1].tap == "a_tap_of_its_own"
    # Nothing bounds what rounding makes of it.
    assert comparison.taps[-1].status is Status.INVALID
    assert comparison.verdict is Verdict.INVALID
    assert compare(build("a", taps), build("b", taps)).verdict is Verdict.AGREE


def test_tap_of_neither_table_in_one_trace_only_is_missing(build: Build) -> None:
    comparison = compare(build("reference", {**seven(), "own": np.ones(3)}), build("candidate"))
    assert comparison.missing == ("own",)
    assert comparison.verdict is Verdict.INVALID


@pytest.mark.parametrize("declared_by", ["reference", "candidate", "both"])
@pytest.mark.parametrize("held_by_other", [True, False])
def test_tap_declared_absent_for_a_reason_is_shown(
    build: Build, declared_by: str, held_by_other: bool
) -> None:
    declared = {"unmatched": json.dumps({LAST: "fused with the layer before"})}
    paths = []
    for side in ("reference", "candidate"):
        declares = declared_by in (side, "both")
        taps = lacking(LAST) if declares or not held_by_other else seven()
        paths.append(build(side, taps, attributes=declared if declares else {}))
    comparison = compare(*paths)
    assert comparison.verdict is Verdict.AGREE
    assert statuses(comparison)[LAST] is Status.MISSING
    assert comparison.taps[-1].note.endswith(": fused with the layer before")
    assert comparison.unmatched == {LAST: "fused with the layer before"}
    assert LAST not in comparison.not_requested


def test_tap_declared_absent_and_there_is_compared(build: Build) -> None:
    declared = {"unmatched": json.dumps({LAST: "no"})}
    second = seven()
    second[LAST] += 1
    comparison = compare(build("reference"), build("candidate", second, attributes=declared))
    assert statuses(comparison)[LAST] is Status.DIFFER


@pytest.mark.parametrize("group", ["losses", "gradients"])
def test_losses_and_gradients_on_one_side_only_are_missing(build: Build, group: str) -> None:
    more = {group: {"total": np.float32(1)}}
    comparison = compare(build("reference", **more), build("candidate"))
    assert comparison.missing == (f"{group}/total",)
    assert comparison.verdict is Verdict.INVALID
    assert comparison.compared == 7


def test_glob_leaves_taps_out(build: Build) -> None:
    comparison = compare(build("reference"), build("candidate"), taps="*.residual")
    assert comparison.compared == 2
    assert comparison.verdict is Verdict.AGREE
    assert LAST in comparison.not_requested
    assert len(comparison.not_requested) == len(SHAPES["coarse"]) - 2


def test_glob_leaves_a_difference_out(build: Build) -> None:
    second = seven()
    second[LAST] += 1
    paths = build("reference"), build("candidate", second)
    assert compare(*paths, taps="*.residual").verdict is Verdict.AGREE
    assert compare(*paths, taps=LAST).verdict is Verdict.DIFFER


@pytest.mark.parametrize("glob", ["losses/*", "gradients/mesh"])
def test_glob_selects_losses_and_gradients_by_their_place(build: Build, glob: str) -> None:
    given = {"losses": {"total": 1.0}, "gradients": {"mesh": np.ones((156, 3), np.float32)}}
    comparison = compare(build("reference", **given), build("candidate", **given), taps=glob)
    assert [entry.tap for entry in comparison.entries] == [glob.replace("*", "total")]
    assert comparison.verdict is Verdict.AGREE
    assert comparison.compared == 0


@pytest.mark.parametrize("glob", ["nothing", "", "[", "cnn*", "losses/*"])
def test_comparing_nothing_is_trouble(build: Build, glob: str) -> None:
    with pytest.raises(InputError) as caught:
        compare(build("reference"), build("candidate"), taps=glob)
    assert str(caught.value) == f"--taps: {glob!r} matches nothing; expected a tap's name or glob"


def test_forged_request_does_not_hide_what_is_there(build: Build) -> None:
    second = seven()
    second[LAST] += 1
    nothing = {"requested": "nothing"}
    comparison = compare(
        build("reference", attributes=nothing), build("candidate", second, attributes=nothing)
    )
    assert comparison.verdict is Verdict.DIFFER


def test_glob_of_the_fixture_is_seven_taps() -> None:
    import fnmatch

    assert set(fnmatch.filter(SHAPES["coarse"], SEVEN)) == set(seven())
