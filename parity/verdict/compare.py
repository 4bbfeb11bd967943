"""Two traces in, one ``Comparison`` out; needs neither framework."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.diagnosis.diagnosis import diagnose
from parity.oracle.gap import before
from parity.oracle.local import difference_of
from parity.oracle.losses import kind_of
from parity.traces import layout
from parity.traces.by_vertices import ByVertices
from parity.traces.comparable import check_comparable
from parity.traces.trace import TraceReader, open_trace
from parity.verdict import coverage_cache
from parity.verdict.coverage import measured
from parity.verdict.gathering import FLOAT64
from parity.verdict.gradient_comparison import GradientComparison
from parity.verdict.judgement import TapJudge
from parity.verdict.losses import LossJudge, LossJudged, judges_of, settled
from parity.verdict.measure import Difference, difference
from parity.verdict.precision import PRECISION, precision_named
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity.verdict.traced import TracedRun
from parity.verdict.yardstick import Yardstick, status_of, yardstick
from weight_conversion.errors import InputError

MOST_READ = 2**24
"""Elements of a tap of another shape that are read at once to explain it."""


def compare(
    reference: Path | str,
    candidate: Path | str,
    *,
    taps: str = "*",
    unmatched: Mapping[str, str] | None = None,
    later: tuple[ByVertices | None, ByVertices | None] = (None, None),
) -> Comparison:
    """Hold two traces against each other.

    Every layer is evaluated alone on what each run recorded, in the run's own precision and, where
    both traces have that run, in float64; see ``parity.verdict.judgement``.

    Args:
        reference: the trace that is taken as right.
        candidate: the trace that is judged.
        taps: glob of the taps to compare; others count as not requested.
        unmatched: globs of entries that a side may lack, with the reason why, beside those that
            the backends declared themselves.
        later: what ``record`` left to be run in float64 of the two.

    Raises:
        InputError: a trace cannot be read, is empty, or the two are not of the same stage and
            inputs; or nothing matches ``taps``.
    """
    with ExitStack() as stack:
        first = stack.enter_context(open_trace(Path(reference)))
        second = stack.enter_context(open_trace(Path(candidate)))
        check_comparable(first, second)
        with np.errstate(all="ignore"):  # what is not a number is told, not warned of
            return _Comparing(first, second, taps, unmatched or {}, later).result()


class _Comparing:
    def __init__(
        self,
        reference: TraceReader,
        candidate: TraceReader,
        glob: str,
        unmatched: Mapping[str, str],
        later: tuple[ByVertices | None, ByVertices | None],
    ) -> None:
        self.reference, self.candidate = reference, candidate
        self.sides = (("reference", reference), ("candidate", candidate))
        self.glob = glob
        self.stage = reference.header.stage
        self.rows = {row.name: row for row in network_of(self.stage).taps}
        self.reasons = unmatched
        self.unmatched = {**reference.header.unmatched, **candidate.header.unmatched}
        for name in self.rows:
            if self._reason(name) and not self._compared(name):
                self.unmatched[name] = self._reason(name)
        self.runs = TracedRun(reference, later[0]), TracedRun(candidate, later[1])
        self.float64 = all(run.has_float64 for run in self.runs)
        self.own = not all(run.dtype == FLOAT64 for run in self.runs)
        self.gap = frozenset(
            name for name in self.rows if self._reason(name) and not self._compared(name)
        )
        # Both sides are held against the reference's weights: other weights are a difference.
        self.context = self.runs[0].context()
        self.judge = TapJudge(
            self.context, *self.runs, own=self.own, float64=self.float64, gap=self.gap
        )
        self.yardsticks: dict[str, Yardstick | None] = {}
        self.losses: dict[str, LossJudge] | None = None
        self.judged: set[str] = set()
        self.nothing: list[str] = []
        """Entries of which no element is a number on either side."""
        self.off: list[str] = []
        """Taps that are no rounding, in the order of computation."""
        self.diagnoses: dict[str, Any] = {}
        self.gradient_notes: tuple[str, ...] = ()
        self.back: tuple[Any, ...] = ()

    def result(self) -> Comparison:
        names = {group: self._names(group) for group in layout.COMPARED}
        at_taps = self._gradients_at_taps()
        self._go_ahead(names["taps"])
        if not any(names.values()) and not at_taps:
            raise InputError("--taps", f"{self.glob!r} matches nothing", "a tap's name or glob")
        results = {
            group: tuple(self._compare(group, name, order) for order, name in enumerate(found))
            for group, found in names.items()
        }
        if results["gradients"] or at_taps:
            layers = GradientComparison(self.reference, self.candidate, self.context)
            results["gradients"] = layers.judge(results, self.glob)
            self.gradient_notes, self.back = layers.notes, layers.diagnoses
        entries = [entry for group in layout.COMPARED for entry in results[group]]
        divergences = [entry.tap for entry in entries if entry.status is Status.DIFFER]
        first = divergences[0] if divergences else None
        diagnoses = (*(each for each in self.diagnoses.values() if each is not None), *self.back)
        own = self.candidate.header.dtype
        return Comparison(
            stage=self.stage,
            verdict=self._verdict(entries),
            first_divergence=first,
            taps=results["taps"],
            losses=results["losses"],
            gradients=results["gradients"],
            missing=tuple(entry.tap for entry in entries if entry.status is Status.MISSING),
            not_requested=self._not_requested(names["taps"]),
            unmatched=self.unmatched,
            notes=tuple(self._notes()),
            reference=self.reference.side,
            candidate=self.candidate.side,
            basis=FLOAT64 if self.float64 else own,
            diagnosis=next((d for d in diagnoses if d.tap == first), None),
            diagnoses=diagnoses,
            coverage=self._coverage(results),
        )

    def _go_ahead(self, names: list[str]) -> None:
        """Judge what is run in float64 as it is read, in the order in which it is run."""
        windows = next((run.windows for run in self.runs if run.windows), [])
        rows = [self.rows[name] for name in names if name in self.rows and self._judgeable(name)]
        self.judge.ahead(rows, windows)

    def _judgeable(self, name: str) -> bool:
        """Whether both sides have a tap in the network's shape, and all that its layer reads."""
        row = self.rows[name]
        shapes = [
            trace.dataset("taps", name).shape for _, trace in self.sides if trace.has("taps", name)
        ]
        lacking = (run.lacks(row, self.float64, self.gap) for run in self.runs)
        return shapes == [row.shape] * 2 and not any(lacking)

    def _names(self, group: str) -> list[str]:
        """What must be compared of a group, in order: all that either side has, or should have.

        Taps that a backend declares not to have are among them: nobody has compared them.
        """
        names = [name for _, trace in self.sides for name in trace.names(group)]
        prefix = f"{group}/"
        if group == "taps":
            # The table's order is that of the computation, whatever the traces say.
            requested = {name for name in self.rows if self._was_requested(name)}
            # What was recorded only because a layer reads it is not compared itself.
            read = {parent for name in requested for parent in self.rows[name].parents} - requested
            present = set(names) - read
            known = [name for name in self.rows if name in requested or name in present]
            names = known + [name for name in names if name not in self.rows]
            prefix = ""
        return [
            name for name in dict.fromkeys(names) if fnmatch.fnmatchcase(prefix + name, self.glob)
        ]

    def _gradients_at_taps(self) -> bool:
        """Whether gradients at taps are asked for that both traces have."""
        return any(
            fnmatch.fnmatchcase(f"gradients/{name}", self.glob)
            and self.candidate.has(layout.TAP_GRADIENTS, name)
            for name in self.reference.names(layout.TAP_GRADIENTS)
        )

    def _was_requested(self, tap: str) -> bool:
        """Whether at least one of the two recordings was to hold the tap."""
        return any(fnmatch.fnmatchcase(tap, trace.header.requested) for _, trace in self.sides)

    def _not_requested(self, compared: list[str]) -> tuple[str, ...]:
        known = [*self.rows, *(name for _, trace in self.sides for name in trace.names("taps"))]
        done = set(compared)
        return tuple(name for name in dict.fromkeys(known) if name not in done)

    def _compare(self, group: str, name: str, order: int) -> TapResult:
        label = name if group == "taps" else f"{group}/{name}"
        absent = [side for side, trace in self.sides if not trace.has(group, name)]
        if absent:
            note = f"not in the {' and '.join(absent)}"
            if self._reason(label):
                note += f": {self._reason(label)}"
            return TapResult(label, order, Status.MISSING, (), "", note=note)
        first, second = self.reference.dataset(group, name), self.candidate.dataset(group, name)
        base = TapResult(label, order, Status.DIFFER, first.shape, str(second.dtype))
        if first.shape != second.shape:
            note = f"shape {second.shape} in the candidate, {first.shape} in the reference"
            if group == "taps" and name in self.rows:
                self._of_another_shape(self.rows[name], second.size)
            return replace(base, note=note)
        if first.size == 0:
            return replace(base, status=Status.INVALID, note="holds no numbers")
        found = difference(self.reference, self.candidate, group, name)
        base = replace(base, **found.numbers())
        if found.not_a_number == first.size:
            self.nothing.append(label)
        result = self._tap(base, name) if group == "taps" else self._whole(base, group, name)
        too_low = self._lower_type(group, name)
        if too_low:
            result = replace(result, status=Status.DIFFER, cause="precision")
        notes = [too_low, result.note, *_special_notes(found)]
        return replace(result, note="; ".join(note for note in notes if note))

    def _tap(self, base: TapResult, name: str) -> TapResult:
        """The verdict on a tap, by its layer alone."""
        row = self.rows.get(name)
        if row is None:
            note = "a tap that the official network does not have: nothing is known of its layer"
            return _unjudged(base, note)
        if base.shape != row.shape:
            note = f"both have shape {base.shape}, the network {row.shape}"
            # Nothing bounds what rounding makes of an unknown layer.
            status = Status.INVALID if base.max_abs == 0 else Status.DIFFER
            return replace(base, status=status, note=note)
        for side, run in zip(("reference", "candidate"), self.runs, strict=True):
            lacking = run.lacks(row, self.float64, self.gap)
            if lacking:
                return _unjudged(base, f"the {side} was recorded without {lacking}")
        judged = self.judge.judge(row)
        self.judged.add(name)
        if judged.status in (Status.DIFFER, Status.FLIP):
            self.off.append(row.name)
        if judged.status is Status.DIFFER and row.alike not in self.diagnoses:
            self.diagnoses[row.alike] = self._diagnosis(row, judged.cause)
        return replace(base, **vars(judged))

    def _diagnosis(self, row: TapRow, cause: str) -> Any:
        """What a tap that differs points to."""
        parents, observed, read, dtype = self.judge.worst_part(row, cause)
        exact = dtype == FLOAT64 != self.candidate.header.dtype
        names = [name for name in self.judge.earlier(row) if self.runs[1].has(name, exact)]
        others = _Others(read, names)
        return diagnose(row, parents, self.context, observed, dtype, others=others)

    def _of_another_shape(self, row: TapRow, size: int) -> None:
        """Explain a tap whose shape alone tells that it differs, if it is of a size to be read."""
        run = self.runs[1]
        if row.alike in self.diagnoses or size > MOST_READ:
            return
        read = run.float64 if self.float64 else run.tap
        if all(run.has(name, self.float64) for name in row.parents if name in self.rows):
            parents = {name: read(name, None) for name in row.parents}
            dtype = FLOAT64 if self.float64 else run.dtype
            self.diagnoses[row.alike] = diagnose(
                row, parents, self.context, read(row.name, None), dtype
            )

    def _loss(self, base: TapResult, name: str) -> TapResult | None:
        """A loss term, on the meshes that each run recorded; None where they were not compared.

        The term says nothing of the meshes: they must have been judged themselves.
        """
        if not self.judged.issuperset(network_of(self.stage).meshes):
            return None
        if self.losses is None:
            sides = self.reference, self.candidate
            self.losses = judges_of(self.context, sides, self.runs, self.float64)
        if base.shape != ():
            return None
        found: dict[str, LossJudged] = {}
        values: dict[str, list[np.ndarray]] = {}
        for dtype, judge in self.losses.items():
            own = dtype == self.candidate.header.dtype
            group = layout.LOSSES if own else layout.FLOAT64_LOSSES
            if judge.knows(name) and all(trace.has(group, name) for _, trace in self.sides):
                values[dtype] = [_read(trace, group, name) for _, trace in self.sides]
                found[dtype] = judge.judge(name, *values[dtype])
        if not found:
            return None
        apart = None
        if FLOAT64 in values:
            apart = float(np.abs(difference_of(values[FLOAT64][1], values[FLOAT64][0])))
        # Float64, judged last, tells operands apart best.
        wrong = [dtype for dtype in found if found[dtype].differs]
        # What is wrong with a term is likely wrong with that term of the other blocks too.
        kind = f"losses/{kind_of(name)}"
        if wrong and kind not in self.diagnoses:
            self.diagnoses[kind] = self.losses[wrong[-1]].diagnose(
                name, values[wrong[-1]][1], FLOAT64 in found and FLOAT64 not in wrong
            )
        return settled(base, found, apart, self.off[0] if self.off else None)

    def _whole(self, base: TapResult, group: str, name: str) -> TapResult:
        """A loss or a gradient.

        A loss is judged by its term; the others, and losses of meshes that were not compared, by
        what rounding makes of the reference's whole run.
        """
        if group == layout.LOSSES and (judged := self._loss(base, name)) is not None:
            return judged
        exact = f"{FLOAT64}_{group}"
        lacking = [side for side, trace in self.sides if not trace.has(exact, name)]
        if self.candidate.header.dtype == FLOAT64 == self.reference.header.dtype:
            exact, lacking = group, []
        if lacking:
            note = (
                f"the {' and '.join(lacking)} has no run in float64, by which alone the rounding "
                "of a whole run is known"
            )
            return _unjudged(base, note)
        if group not in self.yardsticks:
            self.yardsticks[group] = yardstick(
                self.stage,
                group,
                self._all(self.reference, group),
                self._all(self.reference, exact),
            )
        stick = self.yardsticks[group]
        assert stick is not None
        first, second = (
            (_read(trace, group, name), _read(trace, exact, name)) for _, trace in self.sides
        )
        dtype = self.candidate.header.dtype
        status, cause, apart = status_of(first, second, stick, name, dtype)
        scale = base.scale or 0.0
        limit = 2 * stick.limit(name, dtype) / scale if scale else None
        return replace(base, status=status, cause=cause, float64_max_abs=apart, limit=limit)

    def _all(self, trace: TraceReader, group: str) -> dict[str, np.ndarray]:
        return {name: _read(trace, group, name) for name in trace.names(group)}

    def _coverage(self, results: Mapping[str, tuple[TapResult, ...]]) -> dict[str, Any] | None:
        """What was exercised; None where the reference's trace does not hold all of its run."""
        run = self.runs[0]
        if any(run.lacks(row, False) for row in self.rows.values()):
            return None
        compared = {
            group: sum(entry.max_abs is not None for entry in entries)
            for group, entries in results.items()
        }
        key = coverage_cache.key_of(self.context)
        found = coverage_cache.load(key)
        if found is None:
            found = measured(run, self.context)
            if _official(results["taps"]):
                coverage_cache.store(key, found)
        return {"compared": compared, **found}

    def _lower_type(self, group: str, name: str) -> str:
        for side, trace in self.sides:
            bits, asked = trace.significand(group, name), trace.header.dtype
            if bits < PRECISION[asked]:
                found = precision_named(bits) if bits else str(trace.dataset(group, name).dtype)
                return f"the {side} is {found} where {asked} was asked for"
        return ""

    def _uncovered(self) -> Iterable[str]:
        """Layers that nothing compared says anything about, because their taps are unmatched."""
        gap = [name for name in self.rows if self._reason(name) and not self._compared(name)]
        seen = {
            name
            for row in self.rows.values()
            if self._compared(row.name)
            for name in before(row, gap)[1]
        }
        silent = [name for name in gap if name not in seen]
        if silent:
            yield (
                f"{len(silent)} unmatched taps are behind nothing that was compared, so that "
                f"nothing is known of their layers: {', '.join(silent[:5])}"
            )
        if network_of(self.stage).output in gap:
            yield "the stage's output is unmatched: no reason makes up for that"

    def _compared(self, name: str) -> bool:
        return all(trace.has("taps", name) for _, trace in self.sides)

    def _reason(self, label: str) -> str:
        """Why a side may lack an entry; empty where nobody said."""
        declared = (self.reference.header.unmatched, self.candidate.header.unmatched)
        found = [reasons[label].strip() for reasons in declared if label in reasons]
        found += [why for glob, why in self.reasons.items() if fnmatch.fnmatchcase(label, glob)]
        return "; ".join(dict.fromkeys(why for why in found if why))

    def _verdict(self, entries: list[TapResult]) -> Verdict:
        statuses = {entry.status for entry in entries if not self._excused(entry)}
        if Status.DIFFER in statuses:
            return Verdict.DIFFER
        compared = any(
            entry.max_abs is not None and entry.tap not in self.nothing for entry in entries
        )
        if statuses & {Status.MISSING, Status.INVALID} or not compared:
            return Verdict.INVALID
        return Verdict.AGREE

    def _excused(self, entry: TapResult) -> bool:
        """Whether an entry is missing for a reason, and not what the stage is run for."""
        output = network_of(self.stage).output
        return (
            entry.status is Status.MISSING and entry.tap != output and bool(self._reason(entry.tap))
        )

    def _notes(self) -> Iterable[str]:
        reference, candidate = self.reference.header, self.candidate.header
        if reference.weights_sha256 != candidate.weights_sha256:
            yield "the two sides ran on different weights"
        given = self.reference.names("inputs")
        if "ground_truth/points" in given and "ground_truth/normals" not in given:
            yield "the ground truth has no normals: the losses are without the normal term"
        if reference.dtype != candidate.dtype:
            yield f"the reference ran in {reference.dtype}, the candidate in {candidate.dtype}"
        if self.nothing:
            counted = f"{len(self.nothing)} entries are NaN throughout on both sides"
            yield f"{counted}, so that nothing is known of them: {', '.join(self.nothing[:5])}"
        yield from self._uncovered()
        yield from self.gradient_notes
        for side, trace in self.sides:
            reason = trace.header.float64_missing
            if reason:
                yield f"the {side} has no run in float64: {reason}"
        if not self.float64:
            yield (
                f"judged in {candidate.dtype} alone: a difference below its rounding, and whether "
                "a greater one is another function or less precision, are not seen"
            )
        # Both sides ran on the same inputs.
        yield from dict.fromkeys((*reference.notes, *candidate.notes))


def _unjudged(base: TapResult, note: str) -> TapResult:
    """An entry of which nobody knows what rounding may make.

    The same bits agree whatever made them, and what is not a number on one side differs.
    """
    if base.max_abs == 0:
        return replace(base, status=Status.AGREE, note=note)
    finite = base.max_abs is not None and np.isfinite(base.max_abs)
    return replace(base, status=Status.INVALID if finite else Status.DIFFER, note=note)


class _Others(Mapping[str, np.ndarray]):
    """The taps before the one in question, each read when it is needed."""

    def __init__(self, read: Callable[[str], np.ndarray], names: list[str]) -> None:
        self._read, self._names = read, names

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _official(taps: tuple[TapResult, ...]) -> bool:
    """Whether the reference's run is the official one, as far as it was judged."""
    for tap in taps:
        found = tap.local_roundings_reference, tap.float64_roundings_reference
        told = [each for each in found if each is not None]
        if tap.status is Status.MISSING:
            continue
        if tap.roundings_limit is None or not told or not max(told) <= tap.roundings_limit:
            return False
    return True


def _read(trace: TraceReader, group: str, name: str) -> np.ndarray:
    return trace.read(group, name, trace.dataset(group, name), ())


def _special_notes(measured: Difference) -> list[str]:
    notes = []
    if measured.unmatched:
        notes.append(f"{measured.unmatched} elements NaN or infinite on one side")
    if measured.not_a_number:
        notes.append(f"{measured.not_a_number} elements NaN on both sides")
    return notes
