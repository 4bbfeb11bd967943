"""What users wait for: the peers find what they are said to find, and the ratios are of medians."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import verdict, verdict_parts
from benchmarks.peers import OURS, PEERS, first_found
from benchmarks.verdict import CLOCKS, contenders, main, measure_faults, measure_stage, summed_up
from commands.console import steps
from parity.traces.trace import TraceHeader
from parity.traces.writer import TraceWriter
from studies.faults.faults import FAULTS

TAPS = ("cnn.conv2d_1", "cnn.conv2d_2", "cnn.conv2d_3")


def write(path: Path, wrong: str = "") -> Path:
    """A trace of three small taps, one of them off by a thousandth."""
    header = TraceHeader("coarse", "torch", "float32", "cpu", "0" * 64, "0" * 64, {}, "*", {})
    generator = np.random.default_rng(1)
    with TraceWriter(path, header, {tap: place for place, tap in enumerate(TAPS)}) as writer:
        for tap in TAPS:
            values = generator.standard_normal((40, 3), np.float32)
            writer.tap(tap, values * np.float32(1.001) if tap == wrong else values)
    return path


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_names_the_first_tap_that_is_not_close(name: str, tmp_path: Path) -> None:
    if name not in contenders():
        pytest.skip("polygraphy is not installed")
    reference = write(tmp_path / "reference.h5")
    assert first_found(name, reference, write(tmp_path / "same.h5")) == (False, None)
    wrong = write(tmp_path / "wrong.h5", TAPS[1])
    assert first_found(name, reference, wrong) == (True, TAPS[1])


def test_the_ten_faults_are_in_the_catalogue() -> None:
    known = {fault.id: fault for fault in FAULTS}
    chosen = [known[name] for name in verdict_parts.FAULTS]
    assert len({fault.operand for fault in chosen}) == len(chosen) == 10
    assert all(fault.group == "forward" and fault.expected["coarse"] for fault in chosen)


class Launched:
    """Parts whose seconds are known: the n-th of a name takes n times as long."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, part: str, arguments: Sequence[str]) -> dict[str, Any]:
        self.names.append(part if part != "peer" else arguments[0])
        count = self.names.count(self.names[-1])
        if part == "planted":
            return {"operand": "padding", "expected": TAPS[1]}
        if part == "peer":
            named = TAPS[1] if arguments[0] == OURS else TAPS[0]
            # The first call is on a candidate without a fault: only the verdict says so.
            differs = count > 1 or arguments[0] != OURS
            clocks = {clock: {arguments[0]: count} for clock in CLOCKS}
            return {**clocks, "memory_mb": 10 * count, "differs": differs,
                    "first": named if differs else None}  # fmt: skip
        names = {"passes": ("tf", "torch"), "run": ("imports", "recording", "judging", "report")}
        seconds = {name: float(count) for name in names[part]}
        clocks = dict.fromkeys(CLOCKS, seconds)
        return {**clocks, "memory_mb": 100 * count, "disk_mb": 7, "verdict": "agree",
                "first": None}  # fmt: skip


def test_contenders_go_in_turn_and_ratios_are_of_medians(tmp_path: Path) -> None:
    launched = Launched()
    with steps() as progress:
        found = measure_stage("coarse", "*", 3, tmp_path, launched, progress)
    turn = ["passes", "run", *contenders()]
    assert launched.names == turn * 3
    assert found["memory_mb"] == 300
    assert found["seconds"] == found["cpu_seconds"]
    assert found["seconds"]["passes"] == {"tf": 2.0, "torch": 2.0}
    assert found["seconds"]["whole"] == 8.0
    assert found["seconds"]["ratios"] == {
        "whole_over_passes_and_imports": 8 / 6,
        "recording_over_passes": 0.5,
        "judging_over_passes": 0.5,
        "report_over_whole": 0.25,
    }
    assert found["peers"][OURS]["seconds"] == 2


def test_what_each_finds_is_counted_apart_from_false_alarms(tmp_path: Path) -> None:
    with steps() as progress:
        found = measure_faults(("a", "b"), "*", tmp_path, Launched(), progress)
    counts = summed_up(found)
    assert counts[OURS] == {"found": 2, "named": 2, "of": 2, "false_alarms": 0}
    assert counts["numpy.allclose"] == {"found": 2, "named": 0, "of": 2, "false_alarms": 1}


@pytest.mark.slow
def test_the_small_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: another one for each contender would load the frameworks ten times."""
    monkeypatch.setattr(verdict, "part_in_a_process", verdict.part_here)
    done = CliRunner().invoke(main, ["--small", "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    stage = found["stages"]["coarse"]
    assert stage["verdict"] == "agree"
    times = stage["seconds"]
    assert list(times["passes"]) == ["tf float32", "tf float64", "torch float32", "torch float64"]
    assert all(times[name] > 0 for name in ("imports", "recording", "judging", "report"))
    assert stage["disk_mb"] > 50
    assert found["found"][OURS] == {"found": 1, "named": 1, "of": 1, "false_alarms": 0}
