"""Taps that one side does not have: what follows is judged across them, or said not to be."""

import fnmatch
import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.item import load_item
from network.taps import TAPS, TapRow
from parity.oracle.context import Context
from parity.oracle.gap import before
from parity.oracle.local import alone, local_error
from parity.oracle.number import Number
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, record
from parity.traces.writer import seal
from parity.verdict.compare import compare
from parity.verdict.judgement import Judged, TapJudge
from parity.verdict.result import Status, Verdict
from parity_tests.parity.conftest import Build
from studies.faults.memory import MemoryRun
from studies.faults.probes import probe

Values = dict[str, np.ndarray]
Run = Callable[[str, str], Values]
ROWS = {stage: {row.name: row for row in rows} for stage, rows in TAPS.items()}

SMALL = {
    "coarse": (
        "cnn.conv2d_14",
        "graph_proj_1_layer_0",
        "graph_conv_blk1_3_layer_3.residual",
        "graph_conv_blk1_14_layer_14",
        "graph_proj_2_layer_15.concat",
        "graph_pool_1to2_layer_16",
    ),
    "refine": (
        "cnn.conv2d_8",
        "graph_sample_hypothesis_1_layer_0",
        "graph_localproj_1_layer_1",
        "graph_drb_blk1_layer_2.localgconv_1",
        "graph_drb_blk1_layer_2.residual_1",
        "graph_drb_blk1_layer_2.localgconv_6",
        "graph_drb_blk1_layer_2.score",
        "graph_drb_blk1_layer_2",
    ),
}
"""One of each kind of layer."""
GAPS = [(stage, name) for stage, names in SMALL.items() for name in names]


@pytest.fixture(scope="module")
def run() -> Run:
    kept: dict[tuple[str, str], Values] = {}

    def recorded(stage: str, dtype: str) -> Values:
        if (stage, dtype) not in kept:
            asked = probe("plane", stage)
            taps = kept[stage, dtype] = {}
            BackendChoice("torch").make(stage, dtype, "cpu").run(
                asked.inputs,
                asked.weights.arrays,
                lambda name, value: taps.update({name: +value}),
            )
        return dict(kept[stage, dtype])

    return recorded


def followers(stage: str, gap: Collection[str]) -> Iterator[TapRow]:
    """The taps judged across ``gap``."""
    return (row for row in TAPS[stage] if row.name not in gap and before(row, gap)[1])


def judged(
    stage: str, context: Context, gap: Collection[str], ours: list[Values], theirs: list[Values]
) -> dict[str, Judged]:
    """What follows ``gap``; runs as their taps in float32 and float64."""
    for values in theirs:
        for name in gap:
            values.pop(name, None)
    sides = [MemoryRun(context, "float32", *values) for values in (ours, theirs)]
    judge = TapJudge(context, *sides, gap=gap)
    return {row.name: judge.judge(row) for row in followers(stage, gap)}


def both(run: Run, stage: str) -> list[Values]:
    return [run(stage, dtype) for dtype in ("float32", "float64")]


@pytest.mark.parametrize(("stage", "name"), GAPS)
def test_a_run_stays_within_the_bound_across_a_tap(
    stage: str, name: str, run: Run, contexts: dict[str, Context]
) -> None:
    found = judged(stage, contexts[stage], {name}, both(run, stage), both(run, stage))
    assert found
    for tap, each in found.items():
        assert each.status is Status.AGREE, tap
        assert each.across == (name,)
        assert each.across_limit < 1e-8
        for roundings in (each.float64_roundings_reference, each.local_roundings_reference):
            assert roundings <= each.roundings_limit


@pytest.mark.parametrize(("stage", "name"), GAPS)
def test_a_fault_in_a_tap_that_is_missing_shows_in_the_next(
    stage: str, name: str, run: Run, contexts: dict[str, Context]
) -> None:
    """The candidate makes the missing tap wrong by a part in a million, and goes on from there."""
    context, theirs = contexts[stage], both(run, stage)
    first = next(followers(stage, {name}))
    for values in theirs:
        true = values is theirs[1]
        wrong = values[name] * (1 + 1e-6)
        parents = {
            parent: wrong if parent == name else context.inputs.get(parent, values.get(parent))
            for parent in first.parents
        }
        # The layer itself is right.
        observed = alone(first, parents, context, None, "float64" if true else "float32")
        values[first.name] = observed.value.reshape(values[first.name].shape)
        values[first.name] = values[first.name].astype("float64" if true else "float32")
    found = judged(stage, context, {name}, both(run, stage), theirs)[first.name]
    assert (found.status, found.cause) == (Status.DIFFER, "function")
    assert f"judged together with {name}" in found.note


def test_a_fault_of_both_sides_is_no_difference(run: Run, contexts: dict[str, Context]) -> None:
    """Both are judged across the gap, so that both depart from the official function alike."""
    name, after = "graph_conv_blk1_4_layer_4", "graph_conv_blk1_5_layer_5"
    sides = [both(run, "coarse"), both(run, "coarse")]
    for side in sides:
        for values in side:
            values[name] = values[name] * values[name].dtype.type(2)
            values[after] = values[after] * values[after].dtype.type(3)
    found = judged("coarse", contexts["coarse"], {name}, *sides)[after]
    assert found.status is Status.AGREE
    assert "the reference itself departs" in found.note


def test_across_too_many_layers_nothing_is_said(run: Run, contexts: dict[str, Context]) -> None:
    """All of a block but its mesh: no bound holds over fourteen layers, which is no agreement."""
    rows = [row for row in TAPS["coarse"] if row.name.startswith("graph_conv_blk1")]
    gap = {row.name for row in rows[:-1]}
    found = judged("coarse", contexts["coarse"], gap, both(run, "coarse"), both(run, "coarse"))
    mesh = found[rows[-1].name]
    assert mesh.status is Status.INVALID
    assert "no bound on rounding holds over so many layers" in mesh.note
    assert mesh.across_limit > 1


CARRIED = [
    ("coarse", "cnn.conv2d_17"),
    ("coarse", "graph_proj_1_layer_0"),
    ("coarse", "graph_conv_blk1_2_layer_2"),
    ("coarse", "graph_conv_blk1_3_layer_3.residual"),
    ("coarse", "graph_conv_blk1_14_layer_14"),
    ("coarse", "graph_proj_2_layer_15.concat"),
    ("coarse", "graph_pool_1to2_layer_16"),
    ("refine", "graph_sample_hypothesis_1_layer_0"),
    ("refine", "graph_localproj_1_layer_1"),
    ("refine", "graph_drb_blk1_layer_2.localgconv_1"),
    ("refine", "graph_drb_blk1_layer_2.residual_2"),
    ("refine", "graph_drb_blk1_layer_2.localgconv_6"),
    ("refine", "graph_drb_blk1_layer_2.score"),
    ("refine", "graph_drb_blk1_layer_2"),
]
"""Every kind of layer."""


@pytest.mark.parametrize(("stage", "name"), CARRIED)
def test_no_layer_spreads_errors_beyond_what_is_carried(
    stage: str, name: str, run: Run, contexts: dict[str, Context]
) -> None:
    row, context, values = ROWS[stage][name], contexts[stage], run(stage, "float64")
    random = np.random.default_rng(0)
    parents = {
        parent: np.asarray(context.inputs.get(parent, values.get(parent)), np.float64)
        for parent in row.parents
    }
    size = 1e-9 if "cameras" in row.constants else 1e-2
    errors = {parent: size * np.abs(value) for parent, value in parents.items()}
    # A little less than all that is admitted, because the sum rounds as well.
    moved = {
        parent: value + errors[parent] * random.choice([-0.999, 0.5, 0.999], value.shape)
        for parent, value in parents.items()
    }
    out = alone(row, moved, context, None, "float64").value
    given = {name: Number(parents[name], errors[name]) for name in parents}
    local = local_error(row, given, context, out, "float64")
    assert (np.abs(local.error) <= local.limit).all()
    assert local.limit.max() < 1e3 * size * max(1.0, np.abs(out).max())


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coarse trace."""
    asked = probe("plane", "coarse")
    inputs = RunInputs(
        "coarse",
        load_item(demo_item_path("plane")),
        asked.inputs["mesh"],
        asked.inputs["template"],
        asked.inputs["hypotheses"],
    )
    path = tmp_path_factory.mktemp("gap") / "whole.h5"
    record(BackendChoice("torch"), inputs, asked.weights, path)
    return path


def without(traces: Path, folder: Path, names: Collection[str], reason: str | None) -> Path:
    """The trace of a port that does not have some taps."""
    path = folder / "port.h5"
    shutil.copy(traces, path)
    with h5py.File(path, "r+") as file:
        for group in ("taps", "float64"):
            for name in names:
                del file[group][name]
        if reason is not None:
            file.attrs["unmatched"] = json.dumps(dict.fromkeys(names, reason))
            seal(file)
    return path


MISSING = ("graph_conv_blk1_3_layer_3.residual", "graph_conv_blk1_8_layer_8")
BLOCK = "graph_conv_blk1*"
"""The taps compared, a few for the time it takes."""


def test_a_reason_lets_the_verdict_stand(traces: Path, tmp_path: Path) -> None:
    found = compare(traces, without(traces, tmp_path, MISSING, "fused"), taps=BLOCK)
    assert found.verdict is Verdict.AGREE
    assert found.unmatched == dict.fromkeys(MISSING, "fused")
    entries = {entry.tap: entry for entry in found.taps}
    assert [entries[name].status for name in MISSING] == [Status.MISSING] * 2
    assert entries["graph_conv_blk1_4_layer_4"].across == MISSING[:1]
    assert found.coverage is not None


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_without_a_reason_it_is_invalid(reason: str | None, traces: Path, tmp_path: Path) -> None:
    found = compare(traces, without(traces, tmp_path, MISSING, reason), taps=BLOCK)
    assert found.verdict is Verdict.INVALID


def test_a_reason_may_be_given_to_the_comparison(traces: Path, tmp_path: Path) -> None:
    port = without(traces, tmp_path, MISSING, None)
    given = {"*.residual": "sums have no module", MISSING[1]: "fused"}
    found = compare(traces, port, taps=BLOCK, unmatched=given)
    assert found.verdict is Verdict.AGREE
    # Taps that both have are compared whatever is said of them.
    assert set(found.unmatched) == set(MISSING)


def test_the_output_must_be_compared(traces: Path, tmp_path: Path) -> None:
    output = TAPS["coarse"][-1].name
    port = without(traces, tmp_path, [output], "the port returns it")
    found = compare(traces, port, taps="graph_conv_blk3_15*")
    assert found.verdict is Verdict.INVALID
    assert "the stage's output is unmatched: no reason makes up for that" in found.notes


def test_layers_behind_which_nothing_is_compared_are_told(build: Build) -> None:
    """In the refine stage nothing reads the last convolutions."""
    name, few = "cnn.conv2d_18", "cnn.conv2d_1[678]"
    declared = {"unmatched": json.dumps({name: "left out"}), "requested": few}
    whole = {
        tap: np.zeros(row.shape, np.float32)
        for tap, row in ROWS["refine"].items()
        if fnmatch.fnmatchcase(tap, few)
    }
    lacking = {tap: array for tap, array in whole.items() if tap != name}
    found = compare(
        build("reference", whole, stage="refine", attributes={"requested": few}),
        build("candidate", lacking, stage="refine", attributes=declared),
        taps=few,
    )
    assert found.verdict is Verdict.AGREE
    assert [note for note in found.notes if f"nothing is known of their layers: {name}" in note]


def test_a_judge_without_a_gap_is_as_before(run: Run, contexts: dict[str, Context]) -> None:
    sides = [MemoryRun(contexts["coarse"], "float32", *both(run, "coarse")) for _ in range(2)]
    row = ROWS["coarse"]["graph_conv_blk1_4_layer_4"]
    plain, gap = (TapJudge(contexts["coarse"], *sides, gap=gap).judge(row) for gap in ((), MISSING))
    assert replace(gap, across=(), across_limit=None, note="").status is plain.status
