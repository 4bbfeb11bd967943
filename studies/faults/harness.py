"""Judging the whole list: what is run on what, in an order that shares reference runs."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inputs.demo import DEMO_ITEMS
from inputs.template import build_template
from network.registry import taps_of
from parity.traces.backends import Factory
from studies.faults.asking import answers
from studies.faults.data import check
from studies.faults.fault import PIPELINE, Fault
from studies.faults.faults import PIPELINES
from studies.faults.harmless import Harmless
from studies.faults.judge import Judge
from studies.faults.outcome import Judged
from studies.faults.probes import PROBES, Probe, coarse_mesh, probe
from weight_conversion.atomic import scratch_folder


@dataclass(frozen=True, eq=False)
class Job:
    """One candidate on one stage."""

    kind: str
    subject: Fault | Harmless
    stage: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it: its kind, the fault's or variation's name, the stage."""
        return self.kind, self.subject.id, self.stage

    @property
    def place(self) -> tuple[object, ...]:
        """Jobs that can share a reference run have the same."""
        dtype = self.subject.dtype
        return self.stage, self.subject.probe, self.subject.group, dtype, not self.cnn_only

    @property
    def cnn_only(self) -> bool:
        """Whether the fault can be seen in the image network and nowhere else for itself."""
        if not isinstance(self.subject, Fault):
            return False
        expected = self.subject.expected[self.stage]
        return any(row.is_map for row in taps_of(self.stage) if row.name == expected)

    def probe(self) -> Probe:
        """What it is judged on."""
        found = probe(self.subject.probe, self.stage, self.subject.group)
        return replace(found, dtype=self.subject.dtype, cnn_only=self.cnn_only)


LAYERS = ("forward", "loss", "gradient")
"""Groups that are judged layer by layer, so that no run in float64 is needed."""


def jobs(faults: Iterable[Fault], harmless: Iterable[Harmless]) -> list[Job]:
    """Everything that can be judged here, those that share a reference run together."""
    found = [Job("fault", each, stage) for each in faults for stage in each.stages]
    found += [
        Job("harmless", each, stage)
        for each in harmless
        if not each.skipped()
        for stage in each.stages
    ]
    return sorted(found, key=lambda job: tuple(map(str, job.place)))


def run(
    todo: Iterable[Job],
    judge: Judge,
    reference: Factory,
    on_start: Callable[[Job], None] | None = None,
) -> Iterator[Judged]:
    """Judge jobs one after the other.

    Args:
        todo: see ``jobs``.
        judge: decides on everything but the pipelines of data and files, which have checks of
            their own (``studies.faults.data.check``).
        reference: the implementation that candidates are held against.
        on_start: told each job before it begins.
    """
    for job in todo:
        if on_start is not None:
            on_start(job)
        start = time.perf_counter()
        try:
            found = _checked(job) if job.stage == PIPELINE else _judged(job, judge, reference)
        except ImportError:
            raise  # something is not installed or broken: nothing could be judged after it either
        except Exception as error:
            # One candidate that cannot be run must not cost the others' results; it is reported,
            # and counts as neither found nor let pass.
            found = Judged(*job.key, "invalid", note=f"{type(error).__name__}: {error}")
        yield replace(found, seconds=round(time.perf_counter() - start, 3))


def bit_identical(job: Job, reference: Factory) -> bool:
    """Whether a candidate's results have the reference's bits, in float64, on every probe."""
    for name in PROBES:
        asked = replace(job.probe(), inputs=probe(name, job.stage, job.subject.group).inputs)
        asked = replace(asked, name=name, dtype="float64")
        if name == "eye" and asked.group == "step":
            continue  # the refine stage's loss is not a number there, and nothing can be learned
        ours: Any = reference(job.stage, "float64", "cpu")
        expected = answers(ours, asked)
        found = answers(job.subject.backend(job.stage, "float64", "cpu"), asked)
        if set(found) != set(expected) or not all(
            np.array_equal(expected[key], found[key], equal_nan=True) for key in expected
        ):
            return False
    return True


def _judged(job: Job, judge: Judge, reference: Factory) -> Judged:
    said = judge(reference, job.subject.backend, job.probe())
    found = Judged(*job.key, said.verdict, said.first_divergence, said.operand, said.confirmed)
    proved = isinstance(job.subject, Fault) and job.subject.equivalent_because
    if job.kind == "fault" and said.verdict == "agree" and not proved:
        found = replace(found, identical=bit_identical(job, reference))
    return found


def _checked(job: Job) -> Judged:
    meshes = {name: coarse_mesh(name) for name in DEMO_ITEMS}
    with scratch_folder() as folder:
        broken = check(PIPELINES[job.subject.id], meshes, build_template(), folder)
    # What is wrong with data is named by the rule that it breaks.
    operand = {"data/order": "item order", "data/views": "view order", "data/coarse_mesh": "mesh",
               "data/ground_truth": "frame", "export/faces": "faces"}.get(broken or "")  # fmt: skip
    return Judged(*job.key, "differ" if broken else "agree", broken, operand, operand is not None)
