"""Gradients of two traces, judged layer by layer."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from network.taps import TAPS
from parity.diagnosis.gradients import diagnose
from parity.oracle.layers.context import Context
from parity.traces.gradients import GRADIENTS, TracedBackward
from parity.traces.trace import TraceReader
from parity.verdict.gradients import BackwardJudge, Gradient
from parity.verdict.measure import difference
from parity.verdict.result import Status, TapResult
from weight_conversion.errors import InputError

PREFIX = "gradients/"
WHOLE = "gradients were judged as wholes, not layer by layer"


class GradientComparison:
    """Adds to gradients that were judged as wholes what their layers say.

    Attributes:
        notes: why it could not be done, where it could not.
        diagnoses: of the first gradient that differs of each kind of layer, what it points to.
    """

    def __init__(self, reference: TraceReader, candidate: TraceReader, context: Context) -> None:
        """Hold two traces of the same stage and inputs; ``context`` has the reference's weights."""
        self._traces = reference, candidate
        self._context = context
        self.notes: tuple[str, ...] = ()
        self.diagnoses: tuple[Any, ...] = ()

    def judge(
        self, results: Mapping[str, tuple[TapResult, ...]], glob: str
    ) -> tuple[TapResult, ...]:
        """All gradients, at taps and of variables, in the order of the way back.

        Args:
            results: the entries so far, by group; the gradients among them judged as wholes.
            glob: of the entries to compare.
        """
        sides = [TracedBackward(trace) for trace in self._traces]
        for name, side in zip(("reference", "candidate"), sides, strict=True):
            lacking = side.lacks()
            if lacking:
                self.notes = (f"{WHOLE}: the {name} was recorded without {lacking}",)
                return results["gradients"]
        forward = dict(_origins(results["taps"]))
        judge = BackwardJudge(self._context, sides[0], sides[1], forward)
        try:
            judged = judge.judge()
        except (IndexError, KeyError, ValueError) as error:
            what = f"gradients that do not fit their inputs ({error})"
            raise InputError(self._traces[1].path, what, "those that --truth records") from error
        entries = {entry.tap.removeprefix(PREFIX): entry for entry in results["gradients"]}
        taps = {row.name for row in TAPS[self._context.stage]}
        found = []
        for name, each in judged.items():
            if name in entries:
                found.append(_merged(entries.pop(name), each))
            elif name in taps and fnmatch.fnmatchcase(PREFIX + name, glob):
                found.append(self._tap(each))
        found += entries.values()
        wrong = [
            judged[entry.tap.removeprefix(PREFIX)]
            for entry in found
            if entry.status is Status.DIFFER and entry.cause == "function"
            and entry.tap.removeprefix(PREFIX) in judged
        ]  # fmt: skip
        if wrong and not any(_differs(results[group]) for group in ("taps", "losses")):
            told = diagnose(self._context, sides[1], wrong[0], PREFIX + wrong[0].name)
            self.diagnoses = (told,) if told is not None else ()
        return tuple(replace(entry, order=order) for order, entry in enumerate(found))

    def _tap(self, each: Gradient) -> TapResult:
        dataset = self._traces[0].dataset(GRADIENTS, each.name)
        measured = difference(*self._traces, GRADIENTS, each.name)
        base = TapResult(PREFIX + each.name, 0, each.status, dataset.shape, str(dataset.dtype))
        return _with(replace(base, **measured.numbers()), each)


def _differs(entries: Iterable[TapResult]) -> bool:
    return any(entry.status is Status.DIFFER for entry in entries)


def _origins(entries: Iterable[TapResult]) -> Iterable[tuple[str, str]]:
    """Taps that differ in the float64 forward pass, and those that inherit, with what from.

    A flip or less precision in the run's own precision is no matter of its float64 gradients.
    """
    wrong: set[str] = set()
    for entry in entries:
        if entry.status is Status.DIFFER and entry.cause != "precision":
            wrong.add(entry.tap)
            yield entry.tap, entry.tap
        elif entry.origin in wrong:
            yield entry.tap, entry.origin


def _with(entry: TapResult, each: Gradient) -> TapResult:
    """An entry with the verdict on its float64 gradient."""
    cause = "function" if each.status is Status.DIFFER else ""
    notes = [each.note(), entry.note]
    numbers: dict[str, Any] = each.numbers()
    return replace(
        entry,
        status=each.status,
        cause=cause,
        origin=each.origin,
        mismatched=each.mismatched,
        layers=each.layers,
        note="; ".join(note for note in notes if note),
        **numbers,
    )


def _merged(entry: TapResult, each: Gradient) -> TapResult:
    """A gradient judged as a whole in the run's own precision, and by its layer in float64.

    Whether it is the same function its layer says. The whole adds whether the run's own precision
    was less than asked for, which it says only where it finds no difference in float64.
    """
    if entry.max_abs is None:
        return entry
    result = _with(entry, each)
    precise = entry.status is not Status.DIFFER or entry.cause != "precision"
    if each.status is Status.DIFFER or precise:
        return result
    return replace(result, status=Status.DIFFER, cause="precision")
