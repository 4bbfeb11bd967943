"""Each fault changes what it says, and nothing before it; harmless variations round otherwise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from parity_tests.studies.faults.plain import PlainJudge
from studies.faults import harness
from studies.faults.asking import answers
from studies.faults.fault import PIPELINE, Fault
from studies.faults.faults import FAULTS
from studies.faults.harmless import HARMLESS, Harmless
from studies.faults.harness import Job, bit_identical, jobs
from studies.faults.probes import probe
from studies.faults.views import CameraModel, official_read, official_statistics
from torch_impl import projection
from torch_impl.backend import factory

Judges = dict[str, PlainJudge]

ROUNDING = 1e-10
"""Relative, far above what sums in another order make of a stage in float64 (1e-13), and far below
what any fault makes of it."""
UNSEEN = "precision.expanded_distance"
"""Takes other neighbours that are as near but for the last bits: which ones, and so what differs
first, depends on the processor."""


def faults(small: bool) -> list[Job]:
    """Those in the small form or the others; a step takes too long for the small one."""
    return [job for job in jobs(FAULTS, ())
            if job.stage != PIPELINE and job.subject.id != UNSEEN
            and (job.subject.small and job.subject.group != "step") == small]  # fmt: skip


def variations(small: bool) -> list[Job]:
    return [job for job in jobs((), HARMLESS) if job.subject.small == small]


@pytest.fixture(scope="module")
def judge() -> PlainJudge:
    return PlainJudge()


@pytest.fixture(scope="module")
def judges() -> Judges:
    return {
        "identical": PlainJudge({"float64": 0.0}),
        "rounding": PlainJudge({"float64": ROUNDING}),
    }


def name(job: Job) -> str:
    return f"{job.subject.id}-{job.stage}"


def check_fault(job: Job, judge: PlainJudge) -> None:
    fault = job.subject
    assert isinstance(fault, Fault)
    found = judge(factory, fault.backend, job.probe())
    expected = fault.expected[job.stage]
    assert found.first_divergence == (expected or None)
    assert found.verdict == ("differ" if expected else "agree")


@pytest.mark.parametrize("job", faults(small=True), ids=name)
def test_a_fault_shows_first_where_it_says(job: Job, judge: PlainJudge) -> None:
    check_fault(job, judge)


@pytest.mark.slow
@pytest.mark.parametrize("job", faults(small=False), ids=name)
def test_every_fault_shows_first_where_it_says(job: Job, judge: PlainJudge) -> None:
    check_fault(job, judge)


def check_harmless(job: Job, judges: Judges) -> None:
    variation = job.subject
    assert isinstance(variation, Harmless)
    # In float64, where nothing but the order of sums can differ, and a decision hardly flips.
    asked = replace(job.probe(), dtype="float64")
    judge = judges["identical" if variation.identical else "rounding"]
    found = judge(factory, variation.backend, asked)
    assert (found.verdict, found.first_divergence) == ("agree", None)


@pytest.mark.parametrize("job", variations(small=True), ids=name)
def test_a_harmless_variation_changes_at_most_rounding(job: Job, judges: Judges) -> None:
    check_harmless(job, judges)


@pytest.mark.slow
@pytest.mark.parametrize("job", variations(small=False), ids=name)
def test_every_harmless_variation_changes_at_most_rounding(job: Job, judges: Judges) -> None:
    check_harmless(job, judges)


def test_mixed_precision_is_the_same_function_in_float64() -> None:
    job = next(job for job in faults(small=False) if job.subject.dtype == "float32")
    asked = replace(job.probe(), dtype="float64")
    expected = answers(factory(job.stage, "float64", "cpu"), asked)
    found = answers(job.subject.backend(job.stage, "float64", "cpu"), asked)
    for tap, value in expected.items():
        assert np.allclose(value, found[tap], rtol=0, atol=1e-12 * np.abs(value).max()), tap


def test_what_changes_no_bit_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "PROBES", ("plane",))
    ids = {job.subject.id: job for job in jobs(FAULTS, ())}
    assert bit_identical(ids["order.ends"], factory)
    assert not bit_identical(ids["add.relu.coarse.graph_conv_blk1_14_layer_14"], factory)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("item", ["sofa", "border", "integer", "eye"])
def test_the_camera_model_is_the_networks_own_until_it_is_changed(
    item: str, dtype: torch.dtype
) -> None:
    inputs = probe(item, "refine").inputs
    points, cameras = (torch.tensor(inputs[key], dtype=dtype) for key in ("mesh", "cameras"))
    ours, theirs = CameraModel().pixels(points, cameras), projection.pixels(points, cameras)
    assert torch.equal(ours.nan_to_num(-1), theirs.nan_to_num(-1))
    assert ours.isnan().any() == (item == "eye")


def test_statistics_and_reading_are_the_networks_own_until_they_are_changed() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, 7, 5, generator=generator)
    expected = projection.view_statistics(features)
    assert torch.equal(torch.cat(official_statistics(features), dim=1), expected)
    maps = torch.arange(16.0).reshape(4, 4, 1)
    at = torch.tensor([[0.25, 0.5], [1.0, 2.5], [2.5, 3.5]])
    # Rows of four: 4 h + w; nothing at integers; beyond the border, half of what is inside.
    expected_read = [[1.5], [0.0], [0.5 * 0.5 * (11.0 + 15.0)]]
    assert official_read(maps, at).tolist() == expected_read
