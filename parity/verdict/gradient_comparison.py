"""Gradients of two traces, judged layer by layer, in the run's own precision and in float64."""

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from network.registry import network_of
from parity.diagnosis.gradients import diagnose
from parity.oracle.context import Context
from parity.oracle.local import unheard
from parity.traces import layout
from parity.traces.gradients import DOUBLE, OWN, Groups, TracedBackward
from parity.traces.trace import TraceReader
from parity.traces.untrusted import selections
from parity.verdict.findings import told_of
from parity.verdict.gradients import BackwardJudge, Gradient
from parity.verdict.judgement import UNKNOWN
from parity.verdict.measure import difference
from parity.verdict.precision import FLOAT64
from parity.verdict.result import Status, TapResult
from weight_conversion.errors import InputError

PREFIX = "gradients/"
PART = 1 << 20
"""Numbers of a tap that are read together."""
WHOLE = "gradients were judged as wholes, not layer by layer"
PARTED = "the pass that is differentiated has other values here than the run"
APART, APART_OWN = 1e-9, 1e-2
"""How far that pass and the run may be apart, RMS over RMS: in float64, where two passes of one
function stay together, and in float32, where ReLUs may flip."""
Judgements = dict[str, Gradient]


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
        """All gradients, at taps and of variables, in the order of the backward pass.

        Args:
            results: the entries so far, by group; the gradients among them judged as wholes.
            glob: of the entries to compare.
        """
        found: dict[str, Judgements] = {}
        runs: dict[str, list[TracedBackward]] = {}
        lacking = ""
        narrow = self._traces[1].header.dtype
        asked = [(FLOAT64, OWN)] if narrow == FLOAT64 else [(narrow, OWN), (FLOAT64, DOUBLE)]
        for precision, groups in asked:
            sides = [TracedBackward(trace, groups) for trace in self._traces]
            missing = [
                f"the {name} was recorded without {side.lacks()}"
                for name, side in zip(("reference", "candidate"), sides, strict=True)
                if side.lacks()
            ]
            if missing:
                lacking = lacking or missing[0]
                continue
            runs[precision] = sides
            found[precision] = self._judged(sides, results["taps"], precision)
        if not found:
            self.notes = (f"{WHOLE}: {lacking}",)
            return results["gradients"]
        entries = {entry.tap.removeprefix(PREFIX): entry for entry in results["gradients"]}
        taps = {row.name for row in network_of(self._context.stage).taps}
        alone = self._alone(results["taps"])
        groups = DOUBLE if FLOAT64 in found and narrow != FLOAT64 else OWN
        merged, parted = [], self._parted(groups)
        for name in next(iter(found.values())):
            layers = {precision: judged[name] for precision, judged in found.items()}
            silent = ""
            if narrow in runs and FLOAT64 in runs and layers[FLOAT64].nan:
                both = (self._both(runs[each], name) for each in (narrow, FLOAT64))
                silent = told_of(unheard(*both))
            if name in entries:
                entry = entries.pop(name)
                if entry.max_abs is not None:
                    entry = with_layers(entry, layers, alone, silent)
                merged.append(entry)
            elif name in taps and fnmatch.fnmatchcase(PREFIX + name, glob):
                entry = with_layers(self._tap(name, groups), layers, alone, silent)
                if name == parted:
                    entry = replace(entry, status=Status.DIFFER, cause="function", note=PARTED)
                merged.append(entry)
        merged += entries.values()
        wrong = [
            found[FLOAT64][entry.tap.removeprefix(PREFIX)]
            for entry in merged
            if entry.status is Status.DIFFER and entry.cause == "function"
            and entry.tap.removeprefix(PREFIX) in found.get(FLOAT64, {})
        ]  # fmt: skip
        if wrong and not any(_differs(results[group]) for group in ("taps", "losses")):
            side = TracedBackward(self._traces[1], groups)
            told = diagnose(self._context, side, wrong[0], PREFIX + wrong[0].name)
            self.diagnoses = (told,) if told is not None else ()
        return tuple(replace(entry, order=order) for order, entry in enumerate(merged))

    def _parted(self, groups: Groups) -> str:
        """The first tap at which the candidate's differentiated pass left its run; "" for none.

        The gradients are then those of another function, however right each layer's is.
        """
        trace = self._traces[1]
        own = groups is OWN and trace.header.dtype != FLOAT64
        most = APART_OWN if own else APART
        for row in network_of(self._context.stage).taps:
            if not (trace.has(groups.values, row.name) and trace.has(groups.taps, row.name)):
                continue
            apart = size = 0.0
            for run, again in _both_passes(trace, groups, row.name):
                there = np.isfinite(run) & np.isfinite(again)
                apart += float(np.square((again - run)[there]).sum())
                size += float(np.square(run[there]).sum())
            if not apart <= most**2 * size:
                return row.name
        return ""

    def _alone(self, compared: Iterable[TapResult]) -> bool:
        """Whether taps of the forward passes were left out that both traces have."""
        done = {entry.tap for entry in compared if entry.max_abs is not None}
        return any(
            row.name not in done and all(trace.has(layout.TAPS, row.name) for trace in self._traces)
            for row in network_of(self._context.stage).taps
        )

    def _judged(
        self, sides: list[TracedBackward], taps: Iterable[TapResult], precision: str
    ) -> Judgements:
        forward = dict(_origins(taps, precision))
        try:
            return BackwardJudge(self._context, sides[0], sides[1], forward).judge()
        except (IndexError, KeyError, ValueError) as error:
            what = f"gradients that do not fit their inputs ({error})"
            raise InputError(self._traces[1].path, what, "those that a trace records") from error

    def _both(self, sides: list[TracedBackward], name: str) -> list[np.ndarray]:
        """Both sides' values of a gradient."""
        if name in network_of(self._context.stage).variables_by_key:
            return [side.variable(name) for side in sides]
        return [side.gradient(name, None) for side in sides]

    def _tap(self, name: str, groups: Groups) -> TapResult:
        dataset = self._traces[0].dataset(groups.gradients, name)
        measured = difference(*self._traces, groups.gradients, name)
        base = TapResult(PREFIX + name, 0, Status.AGREE, dataset.shape, str(dataset.dtype))
        return replace(base, **measured.numbers())


def _both_passes(trace: TraceReader, groups: Groups, name: str) -> Iterable[tuple[np.ndarray, ...]]:
    """A tap of the run and of the differentiated pass, part by part, in float64."""
    datasets = [trace.dataset(group, name) for group in (groups.taps, groups.values)]
    if datasets[0].shape != datasets[1].shape:
        return
    for selection in selections(datasets[0].shape, PART):
        read = zip((groups.taps, groups.values), datasets, strict=True)
        yield tuple(
            np.asarray(trace.read(group, name, dataset, selection), np.float64)
            for group, dataset in read
        )


def _differs(entries: Iterable[TapResult]) -> bool:
    return any(entry.status is Status.DIFFER for entry in entries)


def _origins(entries: Iterable[TapResult], precision: str) -> Iterable[tuple[str, str]]:
    """Taps whose values differ in a precision's forward pass, with what they inherit from.

    A flip or less precision in the run's own precision is no matter of its float64 gradients.
    """
    wrong: set[str] = set()
    for entry in entries:
        own = precision != FLOAT64 and entry.status in (Status.DIFFER, Status.FLIP)
        if own or (entry.status is Status.DIFFER and entry.cause != "precision"):
            wrong.add(entry.tap)
            yield entry.tap, entry.tap
        elif entry.origin in wrong:
            yield entry.tap, entry.origin


def with_layers(
    entry: TapResult, layers: Mapping[str, Gradient], alone: bool, silent: str = ""
) -> TapResult:
    """An entry with the verdict on its gradient, layer by layer.

    A backward pass says nothing of the values that it starts from: where the forward passes were
    not compared (``alone``), a difference that no layer makes is of unknown origin. What of
    it was not compared in float64 is said by ``silent``.

    What the run in float64 shows is another function; what the run's own precision alone shows is
    less precision, or either where there is no run in float64.
    """
    exact = layers.get(FLOAT64)
    own = next((each for name, each in layers.items() if name != FLOAT64), None)
    each, cause = exact if exact is not None else own, ""
    assert each is not None
    if each.status is Status.DIFFER:
        cause = "function" if exact is not None else UNKNOWN
    elif own is not None and own is not each and own.status is not Status.AGREE:
        # Float64 agrees: what is left is what the run's own precision shows.
        each = own
        cause = "precision" if own.status is Status.DIFFER else ""
    unknown = ""
    if alone and each.beyond and each.status in (Status.ROUNDING, Status.FLIP):
        unknown = "beyond rounding, from values of forward passes that were not compared"
    numbers: dict[str, Any] = {}
    for precision, found in layers.items():
        numbers |= found.numbers(precision == FLOAT64)
    notes = [each.note(), unknown, silent, entry.note]
    invalid = unknown or (silent and each.status is not Status.DIFFER)
    return replace(
        entry,
        status=Status.INVALID if invalid else each.status,
        cause=cause,
        origin=each.origin,
        mismatched=each.mismatched,
        layers=each.layers,
        note="; ".join(note for note in notes if note),
        **numbers,
    )
