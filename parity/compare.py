"""Two traces in, one ``Comparison`` out; needs neither framework."""

import fnmatch
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from parity.decisions import flips as find_flips
from parity.measure import count_beyond, difference, relative
from parity.result import Comparison, Flip, Status, TapResult, Verdict
from parity.trace import GROUPS, TraceReader, inputs_sha256, open_trace
from parity.verdict import PRECISION, Judge, Limits, lower
from weight_conversion.errors import InputError
from weight_conversion.taps import TAPS


def compare(
    reference: Path,
    candidate: Path,
    *,
    taps: str = "*",
    pinned: Path | None = None,
    judge: Judge | None = None,
) -> Comparison:
    """Hold two traces against each other.

    Args:
        reference: the trace that is taken as right.
        candidate: the trace that is judged.
        taps: glob of the taps to compare; others count as not requested.
        pinned: a trace of the candidate again, run on the reference's pixel decisions. Without it
            a difference that follows from a flipped decision is a difference.
        judge: what decides on a tap; the fixed limits by default.

    Raises:
        InputError: a trace cannot be read, is empty, or the two are not of the same stage and
            inputs; or nothing matches ``taps``.
    """
    with ExitStack() as stack:
        first = stack.enter_context(open_trace(reference))
        second = stack.enter_context(open_trace(candidate))
        third = stack.enter_context(open_trace(pinned)) if pinned is not None else None
        _check_comparable(first, second)
        if third is not None:
            _check_pinned(first, second, third)
        return _Comparing(first, second, third, taps, judge or Limits()).result()


class _Comparing:
    def __init__(
        self,
        reference: TraceReader,
        candidate: TraceReader,
        pinned: TraceReader | None,
        glob: str,
        judge: Judge,
    ) -> None:
        self.reference, self.candidate, self.pinned = reference, candidate, pinned
        self.glob, self.judge = glob, judge
        self.stage = reference.header.stage
        self.dtype = lower(reference.header.dtype, candidate.header.dtype)
        self.flips, self.flip_count, self.unexplained = self._find_flips()

    def result(self) -> Comparison:
        names = {group: self._names(group) for group in GROUPS}
        if not any(names.values()):
            raise InputError("--taps", f"{self.glob!r} matches nothing", "a tap's name or glob")
        results = {
            group: tuple(self._compare(group, name, order) for order, name in enumerate(found))
            for group, found in names.items()
        }
        unmatched = {**self.reference.header.unmatched, **self.candidate.header.unmatched}
        entries = [entry for group in GROUPS for entry in results[group]]
        divergences = [entry.tap for entry in entries if entry.status is Status.DIFFER]
        missing = tuple(entry.tap for entry in entries if entry.status is Status.MISSING)
        return Comparison(
            stage=self.stage,
            verdict=_verdict(entries),
            first_divergence=divergences[0] if divergences else None,
            taps=results["taps"],
            losses=results["losses"],
            gradients=results["gradients"],
            missing=missing,
            not_requested=self._not_requested(names["taps"], unmatched),
            unmatched=unmatched,
            flips=tuple(self.flips),
            flip_count=self.flip_count,
            notes=tuple(self._notes()),
            reference=self.reference.side,
            candidate=self.candidate.side,
        )

    def _names(self, group: str) -> list[str]:
        """What must be compared of a group, in order: all that either side has, and should have."""
        sides = (self.reference.names(group), self.candidate.names(group))
        expected: list[str] = []
        if group == "taps":
            unmatched = {*self.reference.header.unmatched, *self.candidate.header.unmatched}
            expected = [
                row.name
                for row in TAPS[self.stage]
                if row.name not in unmatched and self._was_requested(row.name)
            ]
        extra = [name for side in sides for name in side]
        prefix = "" if group == "taps" else f"{group}/"
        return [
            name
            for name in dict.fromkeys([*expected, *extra])
            if fnmatch.fnmatchcase(prefix + name, self.glob)
        ]

    def _was_requested(self, tap: str) -> bool:
        """Whether at least one of the two recordings was to hold the tap."""
        headers = (self.reference.header, self.candidate.header)
        return any(fnmatch.fnmatchcase(tap, header.requested) for header in headers)

    def _not_requested(self, compared: list[str], unmatched: dict[str, str]) -> tuple[str, ...]:
        known = [row.name for row in TAPS[self.stage]]
        present = [*self.reference.names("taps"), *self.candidate.names("taps")]
        done = {*compared, *unmatched}
        return tuple(name for name in dict.fromkeys([*known, *present]) if name not in done)

    def _compare(self, group: str, name: str, order: int) -> TapResult:
        label = name if group == "taps" else f"{group}/{name}"
        absent = [
            side
            for side, trace in (("reference", self.reference), ("candidate", self.candidate))
            if not trace.has(group, name)
        ]
        if absent:
            return TapResult(
                label, order, Status.MISSING, (), "", note=f"not in the {' and '.join(absent)}"
            )
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
        limit = self.judge.limit(self.stage, self.dtype)
        status = self.judge.status(measured.max_abs, measured.scale, limit)
        notes = []
        if measured.unmatched:
            notes.append(f"{measured.unmatched} elements NaN or infinite on one side")
        if measured.not_a_number:
            notes.append(f"{measured.not_a_number} elements NaN on both sides")
        pinned_max_rel = None
        if status is Status.DIFFER and self.pinned is not None and self.pinned.has(group, name):
            again = difference(self.reference, self.pinned, group, name)
            pinned_max_rel = relative(again.max_abs, again.scale)
            if self.judge.status(again.max_abs, again.scale, limit) is Status.AGREE:
                if self.unexplained:
                    notes.append("a pixel decision differs by more than rounding explains")
                else:
                    status = Status.FLIP
                    notes.append("only through pixel decisions that are ties")
        too_low = self._lower_precision(group, name)
        if too_low:
            status = Status.DIFFER
            notes.insert(0, too_low)
        mismatched = 0
        if status in (Status.DIFFER, Status.FLIP):
            tolerance = limit * measured.scale
            mismatched = count_beyond(self.reference, self.candidate, group, name, tolerance)
        return replace(
            base,
            status=status,
            size=measured.size,
            mismatched=mismatched,
            max_abs=measured.max_abs,
            at=measured.at,
            reference=measured.reference,
            candidate=measured.candidate,
            scale=measured.scale,
            max_rel=relative(measured.max_abs, measured.scale),
            rms_rel=measured.rms_rel,
            limit=limit,
            pinned_max_rel=pinned_max_rel,
            note="; ".join(notes),
        )

    def _lower_precision(self, group: str, name: str) -> str:
        for side, trace in (("reference", self.reference), ("candidate", self.candidate)):
            found, asked = str(trace.dataset(group, name).dtype), trace.header.dtype
            if PRECISION.get(found, 0) < PRECISION[asked]:
                return f"the {side} is {found} where {asked} was asked for"
        return ""

    def _find_flips(self) -> tuple[list[Flip], int, bool]:
        """Flipped decisions, their number, and whether any is more than a tie.

        A vertex that a flip has moved takes other decisions ever after. The pinned run, where there
        is one, records what the candidate would have decided at every projection without that.
        """
        found: list[Flip] = []
        count = 0
        decider = self.candidate if self.pinned is None else self.pinned
        both = set(self.reference.names("decisions")) & set(decider.names("decisions"))
        for row in TAPS[self.stage]:
            if row.name in both and all(
                trace.has("taps", row.name) for trace in (self.reference, decider)
            ):
                listed, number = find_flips(self.reference, decider, row.name)
                found += listed
                count += number
        unexplained = count > len(found) or not all(flip.tie for flip in found)
        return found, count, unexplained

    def _notes(self) -> Iterable[str]:
        reference, candidate = self.reference.header, self.candidate.header
        if reference.weights_sha256 != candidate.weights_sha256:
            yield "the two sides ran on different weights"
        if reference.dtype != candidate.dtype:
            yield f"the reference ran in {reference.dtype}, the candidate in {candidate.dtype}"
        if self.flip_count:
            ties = sum(flip.tie for flip in self.flips)
            yield (
                f"{self.flip_count} pixel decisions differ, "
                f"{ties} of the {len(self.flips)} listed are ties within rounding"
            )
            if self.pinned is None:
                yield "to tell their effect from other differences, run the candidate with --pin"


def _verdict(entries: list[TapResult]) -> Verdict:
    statuses = {entry.status for entry in entries}
    if Status.DIFFER in statuses:
        return Verdict.DIFFER
    compared = any(entry.max_abs is not None for entry in entries)
    if statuses & {Status.MISSING, Status.INVALID} or not compared:
        return Verdict.INVALID
    return Verdict.AGREE


def _check_comparable(reference: TraceReader, candidate: TraceReader) -> None:
    for trace in (reference, candidate):
        header = trace.header
        if header.stage not in TAPS:
            raise InputError(trace.path, f"stage {header.stage!r}", " or ".join(TAPS))
        if header.dtype not in ("float32", "float64"):
            raise InputError(trace.path, f"dtype {header.dtype!r}", "float32 or float64")
    if reference.header.stage != candidate.header.stage:
        raise InputError(
            candidate.path,
            f"a trace of the {candidate.header.stage} stage",
            f"the {reference.header.stage} stage, as in {reference.path}",
        )
    different = [
        name
        for name in set(reference.names("inputs")) & set(candidate.names("inputs"))
        if not _equal(reference, candidate, name)
    ]
    if different or reference.header.inputs_sha256 != candidate.header.inputs_sha256:
        what = f" ({', '.join(sorted(different))})" if different else ""
        raise InputError(
            candidate.path,
            f"recorded on other inputs{what} than {reference.path}",
            "two runs on the same inputs",
        )


def _equal(reference: TraceReader, candidate: TraceReader, name: str) -> bool:
    first, second = reference.dataset("inputs", name), candidate.dataset("inputs", name)
    if first.shape != second.shape:
        return False
    return np.array_equal(
        reference.array("inputs", name), candidate.array("inputs", name), equal_nan=True
    )


def _check_pinned(reference: TraceReader, candidate: TraceReader, pinned: TraceReader) -> None:
    _check_comparable(reference, pinned)
    decisions = {name: reference.array("decisions", name) for name in reference.names("decisions")}
    if pinned.header.pinned != inputs_sha256(decisions):
        raise InputError(
            pinned.path, f"not pinned to {reference.path}", "a trace recorded with --pin of it"
        )
    for name in ("backend", "dtype", "device", "weights_sha256"):
        found, expected = getattr(pinned.header, name), getattr(candidate.header, name)
        if found != expected:
            raise InputError(pinned.path, f"{name} {found!r}", f"{expected!r} as the candidate's")
