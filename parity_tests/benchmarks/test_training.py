"""Gradients and steps as ratios: of which medians, and that every contender runs."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.training import RATIOS, main, summed_up

SECONDS = {
    "torch": [1.0, 2.0, 4.0],
    "torch_step": [2.0, 4.0, 4.0],
    "torch_step_frozen": [1.0, 1.0, 1.0],
    "tf_step": [3.0, 8.0, 16.0],
    "tf": [2.0, 2.0, 2.0],
    "metagraph": [5.0, 6.0, 8.0],
}


def test_ratios_are_of_the_same_round() -> None:
    found = summed_up(SECONDS)
    assert {name: found[name] for name in RATIOS} == {
        "metagraph_over_torch": 3.0,
        "tf_over_torch": 1.0,
        "tf_step_over_torch_step": 2.0,
        "torch_step_over_torch": 2.0,
        "torch_step_over_frozen": 4.0,
    }
    assert found["seconds"]["metagraph"] == 6.0


def test_without_the_exported_graph_there_is_no_such_ratio() -> None:
    found = summed_up({name: times for name, times in SECONDS.items() if name != "metagraph"})
    assert found["metagraph_over_torch"] is None
    assert found["tf_over_torch"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_every_contender_runs(stage: str, tmp_path: Path) -> None:
    arguments = ["--json", "--rounds", "1", "--stage", stage, "--metagraph-dir", str(tmp_path)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == [stage]
    assert set(found[stage]["seconds"]) == set(SECONDS) - {"metagraph"}
    assert all(value > 0 for value in found[stage]["seconds"].values())
