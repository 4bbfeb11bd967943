"""The verdict as a judge of mutants: what ``compare`` does with traces, in memory."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import MESH, TapRow
from parity.diagnosis.diagnosis import diagnose
from parity.diagnosis.gradients import diagnose as explain
from parity.diagnosis.losses import Block
from parity.diagnosis.losses import explain as explain_term
from parity.oracle.chunks import Part, cut
from parity.oracle.context import Context
from parity.oracle.local import Local
from parity.oracle.losses import measured_of
from parity.traces.backends import Factory
from parity.traces.record import constants_of
from parity.training.steps_adam import BETA_1, BETA_2
from parity.verdict.gradients import BackwardJudge
from parity.verdict.judgement import Place, TapJudge
from parity.verdict.result import Status
from parity.verdict.yardstick import Yardstick, status_of, yardstick
from studies.faults.asking import Enough, answers, ask
from studies.faults.judge import Found
from studies.faults.memory import MemoryBackward, measured_in
from studies.faults.probes import Probe

Values = dict[str, np.ndarray]
JUDGED = 48
"""Vertices of a refine probe that are judged, from the first. Nothing mixes between vertices there,
so that a fault of an operand is one at each; the placed vertices of ``integer`` and ``eye`` are the
first. A coarse probe's taps are judged whole."""


@dataclass(eq=False)
class MemoryRun:
    """One side in memory; see ``parity.verdict.judgement.Run``."""

    context: Context
    dtype: str
    taps: Values = field(default_factory=dict)
    exact: Values = field(default_factory=dict)

    @property
    def vertices(self) -> int:
        return min(len(self.context.inputs[MESH]), JUDGED)

    def tap(self, name: str, part: Part) -> np.ndarray:
        return self._of(self.taps, name, part)

    def float64(self, name: str, part: Part) -> np.ndarray:
        return self._of(self.exact, name, part)

    def _of(self, values: Values, name: str, part: Part) -> np.ndarray:
        found = self.context.inputs.get(name)
        rows = network_of(self.context.stage).rows_per_vertex(name)
        return cut(values[name] if found is None else found, rows, part)


class VerdictJudge:
    """Runs both sides in float64, and in float32 where the probe asks for that too.

    The reference's runs are kept as long as the probe stays the same.
    """

    name = "verdict"

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], Any] = {}

    def __call__(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        """Judge one candidate; see ``studies.faults.judge.Judge``."""
        if probe.group == "forward":
            return self._forward(reference, candidate, probe)
        return self._by_yardstick(reference, candidate, probe)

    def _forward(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        context = self._once(reference, probe, "context", lambda: context_of(probe))
        expected = self._run(reference, probe, "float64")
        ours: MemoryRun = self._once(
            reference,
            probe,
            f"run in {probe.dtype}",
            lambda: MemoryRun(context, probe.dtype, exact=expected),
        )
        known: dict[tuple[str, Place], Local] = self._once(reference, probe, "known", dict)
        theirs = MemoryRun(context, probe.dtype)
        judge = TapJudge(context, ours, theirs, own=False, known=known)
        found = self._walk(judge, ours, theirs, candidate, probe)
        if found.verdict != "agree" or probe.dtype == "float64":
            return found
        ours.taps = self._run(reference, probe, probe.dtype)
        theirs.taps = answers(candidate(probe.stage, probe.dtype, "cpu"), probe)
        judge = TapJudge(context, ours, theirs, known=known)
        for row in _rows(probe):
            if row.name not in theirs.taps:
                return Found("invalid", row.name)
            if theirs.taps[row.name].shape != ours.taps[row.name].shape:
                return Found("differ", row.name)
            if judge.judge(row).status is Status.DIFFER:
                diagnosis = _diagnosis(judge, row, "precision")
                return Found("differ", row.name, diagnosis and diagnosis.operand)
        return Found("agree")

    def _walk(
        self, judge: TapJudge, ours: MemoryRun, theirs: MemoryRun, candidate: Factory, probe: Probe
    ) -> Found:
        """Judge the candidate's float64 taps as they come, up to the first that differs."""
        rows = {row.name: row for row in _rows(probe)}
        verdicts: list[Found] = []

        def take(name: str, value: np.ndarray) -> None:
            row = rows.get(name)
            if row is None:
                return
            theirs.exact[name] = np.array(value)
            if theirs.exact[name].shape != ours.exact[name].shape:
                verdicts.append(Found("differ", name))
                raise Enough
            if _same(ours, theirs, row):
                return
            if judge.judge(row).status is Status.DIFFER:
                diagnosis = _diagnosis(judge, row, "function")
                verdicts.append(Found("differ", name, diagnosis and diagnosis.operand))
                raise Enough

        ask(candidate(probe.stage, "float64", "cpu"), _in(probe, "float64"), take)
        if verdicts:
            return verdicts[0]
        missing = [name for name in rows if name not in theirs.exact]
        return Found("invalid", missing[0]) if missing else Found("agree")

    def _by_yardstick(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        stick: Yardstick = self._once(
            reference,
            probe,
            "yardstick",
            lambda: yardstick(
                probe.stage,
                "gradients" if probe.group == "gradient" else probe.group,
                _bare(self._run(reference, probe, "float32")),
                _bare(self._run(reference, probe, "float64")),
            ),
        )
        true, own = (self._run(reference, probe, dtype) for dtype in ("float64", probe.dtype))
        seen = answers(candidate(probe.stage, "float64", "cpu"), _in(probe, "float64"))
        narrow = seen
        if probe.dtype != "float64":
            narrow = answers(candidate(probe.stage, probe.dtype, "cpu"), probe)
        for name, value in true.items():
            if name not in seen or name not in narrow:
                return Found("differ", name, "missing term")
            status, _, _ = status_of(
                (own[name], value), (narrow[name], seen[name]), stick, _plain(name), probe.dtype
            )
            if status is Status.DIFFER:
                operand = operand_of(name, value, seen[name])
                if probe.group == "loss":
                    operand = self._of_term(reference, probe, name, true, seen, stick)
                if probe.group == "gradient":
                    operand = self._way_back(reference, candidate, probe) or operand
                return Found("differ", name, operand)
        return Found("agree" if set(seen) == set(true) else "invalid")

    def _of_term(
        self,
        reference: Factory,
        probe: Probe,
        name: str,
        true: Values,
        seen: Values,
        stick: Yardstick,
    ) -> str | None:
        """What is wrong with a term of the loss, tried out on the reference's meshes."""
        blocks = self._once(reference, probe, "blocks", lambda: _blocks(reference, probe))
        term = _plain(name)
        block = blocks.get(term.rpartition("_")[2])
        others = {_plain(key): float(value) for key, value in true.items() if key != name}
        limit = 2 * stick.limit(term, "float64")
        found = explain_term(term, float(true[name]), float(seen[name]), limit, block, others)
        return None if found is None else found[0]

    def _way_back(self, reference: Factory, candidate: Factory, probe: Probe) -> str | None:
        """What is wrong with the gradient nearest to the loss that differs, if that is sure."""
        context = self._once(reference, probe, "context", lambda: context_of(probe))

        def differentiated(factory: Factory) -> MemoryBackward | None:
            backend = factory(probe.stage, "float64", "cpu")
            if not hasattr(backend, "watched_gradients"):
                return None
            return MemoryBackward.of(backend, probe.inputs, probe.weights.arrays, context)

        ours: MemoryBackward | None = self._once(
            reference, probe, "differentiated", lambda: differentiated(reference)
        )
        theirs = differentiated(candidate)
        if ours is None or theirs is None:
            return None
        judged = BackwardJudge(context, ours, theirs).judge().values()
        wrong = [each for each in judged if each.status is Status.DIFFER]
        if not wrong:
            return None
        told = explain(context, theirs, wrong[0], wrong[0].name)
        return told.operand if told.confirmed else None

    def _run(self, reference: Factory, probe: Probe, dtype: str) -> Values:
        def run() -> Values:
            return answers(reference(probe.stage, dtype, "cpu"), _in(probe, dtype))

        found: Values = self._once(reference, probe, dtype, run)
        return found

    def _once(self, reference: Factory, probe: Probe, what: str, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, kept while probes are of the same place."""
        place = (reference, probe.stage, probe.name, probe.group, probe.cnn_only)
        if self._kept.get(("place",)) != place:
            self._kept = {("place",): place}
        if (what,) not in self._kept:
            self._kept[what,] = make()
        return self._kept[what,]


def _diagnosis(judge: TapJudge, row: TapRow, cause: str) -> Any:
    """What a tap that differs points to."""
    parents, observed, read, dtype = judge.worst_part(row, cause)
    others = {name: read(name) for name in judge.earlier(row)}
    return diagnose(row, parents, judge.context, observed, dtype, others=others)


def context_of(probe: Probe) -> Context:
    """What the layers of a probe need."""
    inputs: Mapping[str, Any] = probe.inputs
    arrays = {name: inputs[name] for name in ("images", "cameras", "mesh")}
    arrays |= constants_of(probe.stage, inputs["template"], inputs["hypotheses"])
    return Context.of(probe.stage, arrays, probe.weights.arrays)


def operand_of(name: str, expected: np.ndarray, seen: np.ndarray) -> str | None:
    """What of a gradient or step is wrong, as far as the two values tell."""
    expected, seen = np.asarray(expected, np.float64), np.asarray(seen, np.float64)
    if expected.shape != seen.shape:
        return None
    if not seen.any():
        return "missing term"
    factor = float((expected * seen).sum() / (expected * expected).sum())
    if np.abs(seen - factor * expected).max() > 1e-9 * np.abs(seen).max() or expected.size == 1:
        return None
    if name.startswith("steps/"):
        # Adam's update is proportional to its rate; what it starts with is known.
        known = {_correction(1, 1), *(_correction(a, b) for a, b in ((2, 2), (2, 1), (1, 2)))}
        first = _correction(1, 1)
        starts = {1.0 / first, *(one / first for one in known)}
        near = any(abs(factor - start) <= 1e-3 * start for start in starts if start != 1.0)
        return "bias correction" if near else "learning rate"
    return "constant"


def _correction(first: int, second: int) -> float:
    """What Adam corrects its update by with β₁ to the one and β₂ to the other power."""
    return math.sqrt(1 - BETA_2**second) / (1 - BETA_1**first)


def _blocks(reference: Factory, probe: Probe) -> dict[str, Block]:
    """By its number, what the terms of each block are taken of."""
    meshes: list[np.ndarray] = []

    def take(name: str, value: np.ndarray) -> None:
        if name in network_of(probe.stage).meshes:
            meshes.append(np.array(value))

    given = probe.inputs
    ask(reference(probe.stage, "float64", "cpu"), replace(_in(probe, "float64"), group="forward"),
        take)  # fmt: skip
    arrays = measured_in(probe.stage, given["ground_truth"], given["template"], given["samples"])
    found, before = {}, np.asarray(given["mesh"], np.float64)
    for number, after in enumerate(meshes, start=1):
        if len(before) != len(after):
            pairs = given["template"].unpooling[number - 2]
            before = np.concatenate([before, before[pairs].mean(axis=1)])
        to = measured_of(arrays, number)
        found[str(number)] = Block(probe.stage, before, after, to, given["cameras"][0])
        before = after
    return found


def _rows(probe: Probe) -> list[TapRow]:
    return [row for row in network_of(probe.stage).taps if probe.wants(row.name)]


def _in(probe: Probe, dtype: str) -> Probe:
    return replace(probe, dtype=dtype)


def _same(ours: MemoryRun, theirs: MemoryRun, row: TapRow) -> bool:
    """Whether a tap and all that it is made of have the reference's bits."""
    names = (row.name, *(name for name in row.parents if name not in ours.context.inputs))
    return all(
        name in theirs.exact
        and np.array_equal(ours.exact[name], theirs.exact[name], equal_nan=True)
        for name in names
    )


def _plain(name: str) -> str:
    """The name within its group."""
    return name.partition("/")[2] if name.startswith(("losses/", "gradients/")) else name


def _bare(values: Values) -> Values:
    return {_plain(name): value for name, value in values.items()}
