"""Judging on other processes, and a line where nothing can be judged."""

import importlib.util

import pytest

from studies.faults import workers
from studies.faults.faults import FAULTS
from studies.faults.harness import Job, jobs
from studies.faults.workers import run_in_processes, usual_workers
from weight_conversion.errors import InputError

ONE = "drop.relu.coarse.conv2d_1"
"""A fault in the first layer, which is judged at once."""


def todo() -> list[Job]:
    found = jobs([fault for fault in FAULTS if fault.id == ONE], [])
    assert found
    return found


def test_another_process_judges() -> None:
    (found,) = run_in_processes(todo(), 1, float64=False)
    assert (found.id, found.verdict, found.first_divergence) == (ONE, "differ", "cnn.conv2d_1")


def test_jobs_that_cannot_be_judged_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster import flow
    from cluster.flow import Outcome

    monkeypatch.setattr(flow, "flow", lambda *_args: [Outcome("fault-x", None, "it died")])
    with pytest.raises(InputError, match="fault-x: it died; expected memory for all, or --workers"):
        list(run_in_processes(todo(), 1))


def test_one_process_is_usual_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usual_workers() <= 2
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert workers.usual_workers() == 1
