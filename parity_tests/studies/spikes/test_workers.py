"""The study's runs on another process are the runs of this one."""

from pathlib import Path

import pytest

from cluster.opened import Wanted
from commands.loading import load_sources
from inputs.demo import demo_item_path
from studies.spikes.design import plans
from studies.spikes.study import read_result, run_plan
from studies.spikes.workers import run_plans
from weight_conversion.errors import InputError


def test_runs_are_made_in_their_folders(tmp_path: Path) -> None:
    folder = demo_item_path("plane")
    truth = folder / "model_normal.xyz"
    source = load_sources(folder, ground_truth=truth, stages=("coarse",)).of("coarse")
    plan, other, *_ = plans(["interventions"], ["plane"], (0,), 2, 3e-4, 1, True)
    (tmp_path / other.name).mkdir()
    (tmp_path / other.name / "result.json").write_text("{}")
    made = run_plans([plan, other], {"plane": source}, tmp_path, Wanted(workers=1), False)
    assert next(made) == plan.name
    found = read_result(tmp_path / plan.name)
    with pytest.raises(InputError, match=f"{other.name}: InputError: .*result.json"):
        next(made)
    assert found is not None
    here = run_plan(plan, source, tmp_path / "here")
    assert found["history"][-1]["losses"] == pytest.approx(here["history"][-1]["losses"], rel=1e-4)
