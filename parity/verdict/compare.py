"""Two traces in, one ``Comparison`` out; needs neither framework."""

import fnmatch
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from network.taps import TAPS
from parity.oracle.layers.gap import before
from parity.traces.comparable import check_comparable, check_pinned
from parity.traces.trace import GROUPS, TraceReader, open_trace
from parity.verdict.decisions import EVERYTHING, find_flips
from parity.verdict.limits import PRECISION, Judge, Limits, lower, narrower, precision_named
from parity.verdict.measure import (
    Difference,
    count_beyond,
    difference,
    relative,
    significant_bits,
)
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity.verdict.truth_comparison import TruthComparison
from weight_conversion.errors import InputError

EXPLAINED_BY_PRECISION = 0.1
"""RMS difference beyond which numbers that happen to be short, such as ones, explain nothing;
eight bits of significand err by 2**-9, and by some layers' worth of it further on."""


def compare(
    reference: Path,
    candidate: Path,
    *,
    taps: str = "*",
    pinned: Path | None = None,
    judge: Judge | None = None,
    unmatched: Mapping[str, str] | None = None,
) -> Comparison:
    """Hold two traces against each other.

    Args:
        reference: the trace that is taken as right.
        candidate: the trace that is judged.
        taps: glob of the taps to compare; others count as not requested.
        pinned: a trace of the candidate again, run on the reference's pixel decisions. Without it
            a difference that follows from a flipped decision is a difference.
        judge: what decides on a tap; the fixed limits by default.
        unmatched: globs of entries that a side may lack, with the reason why, beside those that
            the backends declared themselves.

    Raises:
        InputError: a trace cannot be read, is empty, or the two are not of the same stage and
            inputs; or nothing matches ``taps``.
    """
    with ExitStack() as stack:
        first = stack.enter_context(open_trace(reference))
        second = stack.enter_context(open_trace(candidate))
        third = stack.enter_context(open_trace(pinned)) if pinned is not None else None
        check_comparable(first, second)
        if third is not None:
            check_pinned(first, second, third)
        return _Comparing(first, second, third, taps, judge or Limits(), unmatched or {}).result()


class _Comparing:
    def __init__(
        self,
        reference: TraceReader,
        candidate: TraceReader,
        pinned: TraceReader | None,
        glob: str,
        judge: Judge,
        unmatched: Mapping[str, str],
    ) -> None:
        self.reference, self.candidate, self.pinned = reference, candidate, pinned
        self.sides = (("reference", reference), ("candidate", candidate))
        self.glob, self.judge = glob, judge
        self.stage = reference.header.stage
        self.limit = judge.limit(self.stage, lower(reference.header.dtype, candidate.header.dtype))
        self.rows = TAPS[self.stage]
        self.shapes = {row.name: row.shape for row in TAPS[self.stage]}
        self.reasons = unmatched
        self.unmatched = {**reference.header.unmatched, **candidate.header.unmatched}
        for name in self.shapes:
            if self._reason(name) and not self._compared(name):
                self.unmatched[name] = self._reason(name)
        self.flips = find_flips(reference, candidate, pinned)
        excused = [name for name in self.shapes if self._reason(name)]
        self.truth = TruthComparison.of(reference, candidate, excused)

    def result(self) -> Comparison:
        names = {group: self._names(group) for group in GROUPS}
        at_taps = self._gradients_at_taps()
        if not any(names.values()) and not at_taps:
            raise InputError("--taps", f"{self.glob!r} matches nothing", "a tap's name or glob")
        results = {
            group: tuple(self._compare(group, name, order) for order, name in enumerate(found))
            for group, found in names.items()
        }
        if self.truth is not None and (results["gradients"] or at_taps):
            results["gradients"] = self.truth.gradients(results, self.glob)
        entries = [entry for group in GROUPS for entry in results[group]]
        divergences = [entry.tap for entry in entries if entry.status is Status.DIFFER]
        first = divergences[0] if divergences else None
        diagnoses = () if self.truth is None else self.truth.diagnoses
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
            flips=self.flips.listed,
            flip_count=self.flips.count,
            notes=tuple(self._notes()),
            reference=self.reference.side,
            candidate=self.candidate.side,
            basis="limit" if self.truth is None else "truth",
            diagnosis=next((d for d in diagnoses if d.tap == first), None),
            diagnoses=diagnoses,
            coverage=None if self.truth is None else self.truth.coverage(results),
        )

    def _names(self, group: str) -> list[str]:
        """What must be compared of a group, in order: all that either side has, or should have.

        Taps that a backend declares not to have are among them: nobody has compared them.
        """
        names = [name for _, trace in self.sides for name in trace.names(group)]
        prefix = f"{group}/"
        if group == "taps":
            # The table's order is that of the computation, whatever the traces say.
            present = set(names)
            known = [name for name in self.shapes if name in present or self._was_requested(name)]
            names = known + [name for name in names if name not in self.shapes]
            prefix = ""
        return [
            name for name in dict.fromkeys(names) if fnmatch.fnmatchcase(prefix + name, self.glob)
        ]

    def _gradients_at_taps(self) -> bool:
        """Whether gradients at taps are asked for that both traces have."""
        names = self.reference.names("tap_gradients") if self.truth is not None else ()
        return any(
            fnmatch.fnmatchcase(f"gradients/{name}", self.glob)
            and self.candidate.has("tap_gradients", name)
            for name in names
        )

    def _was_requested(self, tap: str) -> bool:
        """Whether at least one of the two recordings was to hold the tap."""
        return any(fnmatch.fnmatchcase(tap, trace.header.requested) for _, trace in self.sides)

    def _not_requested(self, compared: list[str]) -> tuple[str, ...]:
        known = [*self.shapes, *(name for _, trace in self.sides for name in trace.names("taps"))]
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
            return replace(base, note=note)
        if first.size == 0:
            return replace(base, status=Status.INVALID, note="holds no numbers")
        return self._judge(base, group, name)

    def _judge(self, base: TapResult, group: str, name: str) -> TapResult:
        measured = difference(self.reference, self.candidate, group, name)
        if self.truth is not None and base.shape == self._official(base, group, name):
            return self._on_truth(self.truth, base, group, name, measured)
        status = self.judge.status(measured.max_abs, measured.scale, self.limit)
        notes, pinned_max_rel = [], None
        official = self._official(base, group, name)
        if base.shape != official:
            notes.append(f"both have shape {base.shape}, the network {official}")
            if status is Status.AGREE:
                status = Status.INVALID
        elif status is Status.DIFFER:
            status, pinned_max_rel, note = self._with_pinned(measured.scale, group, name)
            notes += [note] if note else []
        too_low = self._lower_type(group, name)
        if not too_low and status is Status.DIFFER and measured.rms_rel < EXPLAINED_BY_PRECISION:
            too_low = self._lower_values(group, name)
        if too_low:
            status = Status.DIFFER
            notes.insert(0, too_low)
        notes += _special_notes(measured)
        mismatched = 0
        if status in (Status.DIFFER, Status.FLIP):
            tolerance = self.limit * measured.scale
            mismatched = count_beyond(self.reference, self.candidate, group, name, tolerance)
        return replace(
            base,
            **measured.numbers(),
            status=status,
            mismatched=mismatched,
            limit=self.limit,
            pinned_max_rel=pinned_max_rel,
            note="; ".join(notes),
        )

    def _official(self, base: TapResult, group: str, name: str) -> tuple[int, ...]:
        return self.shapes.get(name, base.shape) if group == "taps" else base.shape

    def _on_truth(
        self, truth: "TruthComparison", base: TapResult, group: str, name: str, found: Difference
    ) -> TapResult:
        """The verdict that rests on both sides' float64 runs."""
        result = truth.judge(group, name, replace(base, **found.numbers()))
        too_low = self._lower_type(group, name)
        if too_low:
            result = replace(result, status=Status.DIFFER, cause="precision")
        notes = [too_low, result.note, *_special_notes(found)]
        return replace(result, note="; ".join(note for note in notes if note))

    def _with_pinned(self, scale: float, group: str, name: str) -> tuple[Status, float | None, str]:
        """Whether a difference is only flips: the status, ``pinned_max_rel`` and a note.

        It is, if the run on the reference's decisions agrees, every flip is a tie, and what no flip
        can have reached agrees without it.
        """
        pinned = self.pinned
        if (
            pinned is None
            or not pinned.has(group, name)
            or pinned.dataset(group, name).shape != self.reference.dataset(group, name).shape
        ):
            return Status.DIFFER, None, ""
        again = difference(self.reference, pinned, group, name)
        max_rel = relative(again.max_abs, again.scale)
        if self.judge.status(again.max_abs, again.scale, self.limit) is not Status.AGREE:
            return Status.DIFFER, max_rel, ""
        touched = self.flips.touched.get(name)
        if self.flips.count and not (group == "taps" and name in self.shapes):
            # A loss, a gradient or a tap of the backend's own may depend on everything.
            touched = EVERYTHING
        if touched is None:
            return Status.DIFFER, max_rel, "no pixel decision that differs can have reached it"
        if not self.flips.explained:
            note = "a pixel decision differs by more than rounding explains"
            return Status.DIFFER, max_rel, note
        rest = difference(self.reference, self.candidate, group, name, without=touched)
        if self.judge.status(rest.max_abs, scale, self.limit) is not Status.AGREE:
            note = "differs also where no pixel decision that differs can have reached"
            return Status.DIFFER, max_rel, note
        return Status.FLIP, max_rel, "only through pixel decisions that are ties"

    def _lower_type(self, group: str, name: str) -> str:
        for side, trace in self.sides:
            bits, asked = trace.significand(group, name), trace.header.dtype
            if bits < PRECISION[asked]:
                found = precision_named(bits) if bits else str(trace.dataset(group, name).dtype)
                return f"the {side} is {found} where {asked} was asked for"
        return ""

    def _lower_values(self, group: str, name: str) -> str:
        """Whether one side alone has values of lower precision than their type could hold."""
        bits = [
            significant_bits(trace, group, name, enough=PRECISION[trace.header.dtype])
            for _, trace in self.sides
        ]
        for (side, trace), own, other in zip(self.sides, bits, reversed(bits), strict=True):
            asked = trace.header.dtype
            lowest = narrower(own, other, asked)
            if lowest:
                return f"the {side}'s values are all {lowest} ones, {asked} was asked for"
        return ""

    def _uncovered(self) -> Iterable[str]:
        """Layers that nothing compared says anything about, because their taps are unmatched."""
        gap = [name for name in self.shapes if self._reason(name) and not self._compared(name)]
        seen = {
            name for row in self.rows if self._compared(row.name) for name in before(row, gap)[1]
        }
        silent = [name for name in gap if name not in seen]
        if silent:
            yield (
                f"{len(silent)} unmatched taps are behind nothing that was compared, so that "
                f"nothing is known of their layers: {', '.join(silent[:5])}"
            )
        if list(self.shapes)[-1] in gap:
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
        compared = any(entry.max_abs is not None for entry in entries)
        if statuses & {Status.MISSING, Status.INVALID} or not compared:
            return Verdict.INVALID
        return Verdict.AGREE

    def _excused(self, entry: TapResult) -> bool:
        """Whether an entry is missing for a reason, and not what the stage is run for."""
        output = list(self.shapes)[-1]
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
        yield from self._uncovered()
        if self.truth is not None:
            yield from self.truth.notes
        if self.flips.count:
            listed = self.flips.listed
            ties = sum(flip.tie for flip in listed)
            yield (
                f"{self.flips.count} pixel decisions differ, "
                f"{ties} of the {len(listed)} listed are ties within rounding"
            )
            if self.pinned is None and self.truth is None:
                yield "to tell their effect from other differences, run the candidate with --pin"


def _special_notes(measured: Difference) -> list[str]:
    notes = []
    if measured.unmatched:
        notes.append(f"{measured.unmatched} elements NaN or infinite on one side")
    if measured.not_a_number:
        notes.append(f"{measured.not_a_number} elements NaN on both sides")
    return notes
