"""The verdict as a judge of mutants: what ``compare`` does with traces, in memory."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.diagnosis.diagnosis import Diagnosis, diagnose
from parity.diagnosis.gradients import diagnose as diagnose_gradient
from parity.oracle.context import Context
from parity.oracle.local import Layer
from parity.traces.backends import Factory
from parity.training.steps import compare_steps
from parity.training.trainers import TrainerSettings
from parity.verdict.gathering import Place
from parity.verdict.gradients import BackwardJudge
from parity.verdict.gradients import Gradient as JudgedGradient
from parity.verdict.judgement import TapJudge
from parity.verdict.losses import LossJudge
from parity.verdict.noise_floor import noise_floor, status_of
from parity.verdict.result import Status
from studies.faults.asking import STEPS, Enough, answers, ask
from studies.faults.judge import Found
from studies.faults.memory import (
    MemoryBackward,
    MemoryRun,
    MemoryStepper,
    context_of,
    measured_in,
    meshes_of,
)
from studies.faults.order import gradient_order, step_order
from studies.faults.probes import Probe

Values = dict[str, np.ndarray]
FLOAT64 = "float64"


class VerdictJudge:
    """Judges a candidate's taps, losses, gradients and steps as a comparison does.

    The reference's runs are kept as long as the probe stays the same.

    Attributes:
        float64: whether the runs in float64 are judged; otherwise float32 alone, as of a port that
            cannot run in float64.
    """

    def __init__(self, float64: bool = True) -> None:
        self.float64 = float64
        self._kept: dict[tuple[object, ...], Any] = {}

    @property
    def name(self) -> str:
        """What judgements of this judge are filed under."""
        return "verdict" if self.float64 else "verdict without float64"

    def __call__(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        """Judge one candidate; see ``studies.faults.judge.Judge``."""
        if not self.float64:
            probe = replace(probe, dtype="float32")
        judges = {"forward": self._forward, "loss": self._losses, "gradient": self._gradients}
        return judges.get(probe.group, self._steps)(reference, candidate, probe)

    def _precisions(self, probe: Probe) -> list[str]:
        """Float64 first, where it is judged; then the probe's own."""
        return list(dict.fromkeys(([FLOAT64] if self.float64 else []) + [probe.dtype]))

    # Taps

    def _forward(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        context = self._once(reference, probe, "context", lambda: context_of(probe))
        known: dict[tuple[str, Place], Layer] = self._once(reference, probe, "known", dict)
        ours: MemoryRun = self._once(
            reference, probe, "run", lambda: MemoryRun(context, probe.dtype)
        )
        theirs = MemoryRun(context, probe.dtype)
        for dtype in self._precisions(probe):
            exact = self.float64 and dtype == FLOAT64
            expected = self._run(reference, probe, dtype)
            if exact:
                ours.exact = expected
            else:
                ours.taps = expected
            judge = TapJudge(
                context, ours, theirs, own=not exact, float64=self.float64, known=known
            )
            found = self._walk(judge, ours, theirs, candidate, _in(probe, dtype), exact)
            if found.verdict != "agree":
                return found
        return Found("agree")

    def _walk(
        self,
        judge: TapJudge,
        ours: MemoryRun,
        theirs: MemoryRun,
        candidate: Factory,
        probe: Probe,
        exact: bool,
    ) -> Found:
        """Judge the candidate's taps as they come, up to the first that differs."""
        rows = {row.name: row for row in network_of(probe.stage).taps if probe.wants(row.name)}
        seen, expected = (run.exact if exact else run.taps for run in (theirs, ours))
        verdicts: list[Found] = []

        def take(name: str, value: np.ndarray) -> None:
            row = rows.get(name)
            if row is None:
                return
            seen[name] = np.array(value)
            if seen[name].shape != expected[name].shape:
                read = theirs.float64 if exact else theirs.tap
                parents = {parent: read(parent, None) for parent in row.parents}
                told = diagnose(row, parents, ours.context, seen[name], probe.dtype)
                verdicts.append(_found(name, told))
                raise Enough
            if _same(expected, seen, row, ours):
                return
            judged = judge.judge(row)
            if judged.status is Status.DIFFER:
                told = _diagnosis(judge, row, judged.cause)
                verdicts.append(_found(name, told))
                raise Enough

        ask(candidate(probe.stage, probe.dtype, "cpu"), probe, take)
        if verdicts:
            return verdicts[0]
        missing = [name for name in rows if name not in seen]
        return Found("invalid", missing[0]) if missing else Found("agree")

    # Losses

    def _losses(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        context = self._once(reference, probe, "context", lambda: context_of(probe))
        given = probe.inputs
        measured = measured_in(
            probe.stage, given["ground_truth"], given["template"], given["samples"]
        )
        for dtype in self._precisions(probe):
            asked = _in(probe, dtype)
            ours = self._once(
                reference, probe, f"meshes in {dtype}",
                partial(meshes_of, reference, asked),
            )  # fmt: skip
            expected = self._run(reference, probe, dtype)
            seen = answers(candidate(probe.stage, dtype, "cpu"), asked)
            meshes = ours, meshes_of(candidate, asked)
            judge = LossJudge(context, (measured, measured), meshes, dtype)
            for name, value in expected.items():
                if name not in seen:
                    return Found("differ", name, "missing term", True)
                term = name.partition("/")[2]
                if judge.judge(term, value, seen[name]).differs:
                    right = self.float64 and dtype != FLOAT64
                    return _found(name, judge.diagnose(term, seen[name], right))
            if set(seen) != set(expected):
                return Found("invalid")
        return Found("agree")

    # Gradients

    def _gradients(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        context = self._once(reference, probe, "context", lambda: context_of(probe))
        for dtype in self._precisions(probe):
            asked = _in(probe, dtype)
            ours: MemoryBackward | None = self._once(
                reference, probe, f"differentiated in {dtype}",
                partial(_differentiated, reference, asked, context),
            )  # fmt: skip
            theirs = _differentiated(candidate, asked, context)
            if ours is None or theirs is None:
                return self._by_noise(reference, candidate, probe)
            judged = BackwardJudge(context, ours, theirs).judge()
            wrong = [each for each in judged.values() if each.status is Status.DIFFER]
            if wrong:
                told = diagnose_gradient(context, theirs, wrong[0], wrong[0].name)
                # What is not confirmed names no operand.
                name = _reached(probe.stage, judged, wrong[0])
                return _found(name, told if told.confirmed else None)
            lacking = [key for key in gradient_order(probe.stage) if key not in theirs.gradients]
            if lacking:
                return Found("invalid", f"gradients/{lacking[0]}")
        return Found("agree")

    # Steps

    def _steps(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        for dtype in dict.fromkeys((FLOAT64, probe.dtype)):
            asked = _in(probe, dtype)
            found = compare_steps(
                MemoryStepper(reference, asked, STEPS), MemoryStepper(candidate, asked, STEPS),
                probe.weights.arrays, STEPS, stage=probe.stage, dtype=dtype,
                learning_rate=TrainerSettings().learning_rate,
            )  # fmt: skip
            wrong = {entry.tap for entry in found.entries if entry.status is Status.DIFFER}
            if wrong:
                told = found.diagnosis
                return _found(_first_step(probe.stage, wrong), told)
        return Found("agree")

    # Gradients of what tells none at its taps

    def _by_noise(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        """Gradients as wholes, held against the noise floor of the reference's own runs."""
        true, own = (self._run(reference, probe, dtype) for dtype in (FLOAT64, probe.dtype))
        stick = self._once(
            reference, probe, "noise floor",
            lambda: noise_floor(
                probe.stage, "gradients", _bare(self._run(reference, probe, "float32")),
                _bare(true),
            ),
        )  # fmt: skip
        seen = answers(candidate(probe.stage, FLOAT64, "cpu"), _in(probe, FLOAT64))
        narrow = seen
        if probe.dtype != FLOAT64:
            narrow = answers(candidate(probe.stage, probe.dtype, "cpu"), probe)
        for name, value in true.items():
            if name not in seen or name not in narrow:
                return Found("differ", name, "missing term", True)
            status, _, _ = status_of(
                (own[name], value), (narrow[name], seen[name]), stick, _plain(name), probe.dtype
            )
            if status is Status.DIFFER:
                return Found("differ", name)
        return Found("agree" if set(seen) == set(true) else "invalid")

    def _run(self, reference: Factory, probe: Probe, dtype: str) -> Values:
        def run() -> Values:
            return answers(reference(probe.stage, dtype, "cpu"), _in(probe, dtype))

        found: Values = self._once(reference, probe, f"answers in {dtype}", run)
        return found

    def _once(self, reference: Factory, probe: Probe, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, kept while probes are of the same place."""
        place = (reference, probe.stage, probe.name, probe.group, probe.cnn_only, probe.dtype)
        if self._kept.get(("place",)) != place:
            self._kept = {("place",): place}
        if (what,) not in self._kept:
            self._kept[what,] = make()
        return self._kept[what,]


def _diagnosis(judge: TapJudge, row: TapRow, cause: str) -> Diagnosis | None:
    """What a tap that differs points to."""
    parents, observed, read, dtype = judge.worst_part(row, cause)
    others = {name: read(name) for name in judge.earlier(row)}
    return diagnose(row, parents, judge.context, observed, dtype, others=others)


def _found(name: str, told: Diagnosis | None) -> Found:
    return Found("differ", name) if told is None else Found(
        "differ", name, told.operand, told.confirmed
    )  # fmt: skip


def _differentiated(factory: Factory, probe: Probe, context: Context) -> MemoryBackward | None:
    """A run with gradients at every tap; None of a backend that does not tell them."""
    backend = factory(probe.stage, probe.dtype, "cpu")
    told = hasattr(backend, "watched_gradients")
    return MemoryBackward.of(backend, probe, context) if told else None


def _reached(stage: str, judged: dict[str, JudgedGradient], wrong: JudgedGradient) -> str:
    """The first variable's gradient that is off, in the order in which gradients reach them.

    Faults say where they show by the variables that are trained. What is wrong in between shows in
    the first of them that inherits it.
    """
    # What a decision that rounding took otherwise hands on is inherited too, and no fault.
    off = {
        name
        for name, each in judged.items()
        if each.status is Status.DIFFER or each.origin == f"gradients/{wrong.name}"
    }
    first = [key for key in gradient_order(stage) if key in off]
    return f"gradients/{first[0] if first else wrong.name}"


def _first_step(stage: str, wrong: set[str]) -> str:
    """The first variable, in the order of the network, of the first step that is off."""
    number = min(int(tap.split("/")[1]) for tap in wrong)
    for key in step_order(stage):
        if wrong & {f"steps/{number}/{part}{key}" for part in ("", "m/", "v/")}:
            return f"steps/{number}/{key}"
    return min(wrong)


def _in(probe: Probe, dtype: str) -> Probe:
    return replace(probe, dtype=dtype)


def _same(expected: Values, seen: Values, row: TapRow, ours: MemoryRun) -> bool:
    """Whether a tap and all that it is made of have the reference's bits."""
    names = (row.name, *(name for name in row.parents if name not in ours.context.inputs))
    return all(
        name in seen and np.array_equal(expected[name], seen[name], equal_nan=True)
        for name in names
    )


def _plain(name: str) -> str:
    """The name within its group."""
    return name.partition("/")[2]


def _bare(values: Values) -> Values:
    return {_plain(name): value for name, value in values.items()}
