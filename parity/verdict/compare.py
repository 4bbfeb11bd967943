"""Two traces in, one ``Comparison`` out; needs neither framework."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from parity.oracle.context import Context
from parity.traces import layout
from parity.traces.by_vertices import ByVertices
from parity.traces.comparable import check_comparable
from parity.traces.trace import open_trace
from parity.verdict import coverage_cache
from parity.verdict.coverage import measured
from parity.verdict.entries import NAMES, EntryJudge
from parity.verdict.gradient_comparison import GradientComparison
from parity.verdict.precision import FLOAT64
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity.verdict.scope import Scope, Sides
from parity.verdict.traced import TracedRun
from weight_conversion.errors import InputError


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
            return _compared((first, second), taps, unmatched or {}, later)


def _compared(
    sides: Sides,
    glob: str,
    reasons: Mapping[str, str],
    later: tuple[ByVertices | None, ByVertices | None],
) -> Comparison:
    scope = Scope(sides, glob, reasons)
    names = {group: scope.names(group) for group in layout.COMPARED}
    at_taps = scope.gradients_at_taps()
    if not any(names.values()) and not at_taps:
        raise InputError("--taps", f"{glob!r} matches nothing", "a tap's name or glob")
    runs = TracedRun(sides[0], later[0]), TracedRun(sides[1], later[1])
    judge = EntryJudge(sides, runs, scope)
    judge.go_ahead(names["taps"])
    results = {
        group: tuple(judge.judge(group, name, order) for order, name in enumerate(found))
        for group, found in names.items()
    }
    diagnoses = [each for each in judge.diagnoses.values() if each is not None]
    vertices = _vertices(runs[0])
    notes = [*_notes(sides, judge, vertices), *scope.uncovered()]
    if results["gradients"] or at_taps:
        layers = GradientComparison(*sides, judge.context)
        results["gradients"] = layers.judge(results, glob)
        notes += layers.notes
        diagnoses += layers.diagnoses
    notes += _reference_notes(results["taps"])
    notes += _precision_notes(sides, judge.float64)
    entries = [entry for group in layout.COMPARED for entry in results[group]]
    first = next((entry.tap for entry in entries if entry.status is Status.DIFFER), None)
    return Comparison(
        stage=sides[0].header.stage,
        verdict=_verdict(entries, scope, judge),
        first_divergence=first,
        taps=results["taps"],
        losses=results["losses"],
        gradients=results["gradients"],
        missing=tuple(entry.tap for entry in entries if entry.status is Status.MISSING),
        not_requested=scope.not_requested(names["taps"]),
        unmatched=scope.unmatched,
        notes=tuple(notes),
        reference=sides[0].side,
        candidate=sides[1].side,
        basis=FLOAT64 if judge.float64 else sides[1].header.dtype,
        vertices=vertices,
        diagnosis=next((each for each in diagnoses if each.tap == first), None),
        diagnoses=tuple(diagnoses),
        coverage=_coverage(runs[0], judge.context, scope, results),
    )


def _verdict(entries: list[TapResult], scope: Scope, judge: EntryJudge) -> Verdict:
    """Of all entries; those of which nothing is a number say nothing."""
    statuses = {entry.status for entry in entries if not scope.excused(entry)}
    if Status.DIFFER in statuses:
        return Verdict.DIFFER
    compared = any(
        entry.max_abs is not None and entry.tap not in judge.nothing for entry in entries
    )
    unknown = not compared or judge.nothing_of_the_output()
    if statuses & {Status.MISSING, Status.INVALID} or unknown:
        return Verdict.INVALID
    return Verdict.AGREE


def _coverage(
    run: TracedRun, context: Context, scope: Scope, results: Mapping[str, tuple[TapResult, ...]]
) -> dict[str, Any] | None:
    """What was exercised; None where the reference's trace does not hold all of its run."""
    if any(run.lacks(row, False) for row in scope.rows.values()):
        return None
    compared = {
        group: sum(entry.max_abs is not None for entry in entries)
        for group, entries in results.items()
    }
    key = coverage_cache.key_of(context, run.recorded)
    found = coverage_cache.load(key)
    if found is None:
        found = measured(run, context)
        if _official(results["taps"]):
            coverage_cache.store(key, found)
    return {"compared": compared, **found}


def _vertices(run: TracedRun) -> tuple[int, int] | None:
    """How many vertices were recorded, and of how many; None where all were."""
    count = sum(each.stop - each.start for each in run.recorded)
    return (count, run.vertices) if count < run.vertices else None


def _official(taps: tuple[TapResult, ...]) -> bool:
    """Whether the reference's run is the official one, as far as it was judged."""
    there = [tap for tap in taps if tap.status is not Status.MISSING]
    return all(_of_reference(tap) is not None and not _departs(tap) for tap in there)


def _of_reference(tap: TapResult) -> float | None:
    """The reference's greatest error at its layer, in roundings; None where none was judged."""
    found = tap.local_roundings_reference, tap.float64_roundings_reference
    told = [each for each in found if each is not None]
    return max(told) if told and tap.roundings_limit is not None else None


def _departs(tap: TapResult) -> bool:
    """Whether the reference's layer is not the official one; so is one whose error is NaN."""
    error = _of_reference(tap)
    return error is not None and not error <= (tap.roundings_limit or 0.0)


def _notes(sides: Sides, judge: EntryJudge, vertices: tuple[int, int] | None) -> Iterator[str]:
    """What a reader must know of the two runs."""
    reference, candidate = (side.header for side in sides)
    if reference.weights_sha256 != candidate.weights_sha256:
        yield f"the two sides ran on different weights{_which(sides)}"
    given = sides[0].names("inputs")
    if "ground_truth/points" in given and "ground_truth/normals" not in given:
        yield "the ground truth has no normals: the losses are without the normal term"
    if reference.dtype != candidate.dtype:
        yield f"the reference ran in {reference.dtype}, the candidate in {candidate.dtype}"
    if vertices is not None:
        some, whole = vertices
        yield (
            f"layers were judged at {some:,} of {whole:,} vertices: what is wrong at others alone "
            "is not seen"
        )
    if judge.nothing_of_the_output():
        yield "no element of the network's output is a number on either side"
    if judge.nothing:
        counted = f"{len(judge.nothing)} entries are NaN throughout on both sides"
        yield f"{counted}, so that nothing is known of them: {', '.join(judge.nothing[:5])}"


def _reference_notes(taps: tuple[TapResult, ...]) -> Iterator[str]:
    """Where the reference is not the official function, and an agreement is in the same mistake."""
    away = [tap.tap for tap in taps if _departs(tap)]
    if away:
        yield (
            f"the reference itself departs from the official function, first at {away[0]}: a "
            "candidate that agrees with it there makes the same mistake"
        )


def _which(sides: Sides) -> str:
    """Which variables are not the same on both sides, where both traces hold them."""
    shared = [key for key in sides[0].names("weights") if sides[1].has("weights", key)]
    changed = []
    for key in shared:
        one, other = (side.array("weights", key) for side in sides)
        if one.shape != other.shape:
            changed.append(f"{key}, of another shape")
            continue
        different = np.count_nonzero((one != other) & ~(np.isnan(one) & np.isnan(other)))
        if different:
            changed.append(f"{key}, {different:,} of {one.size:,} elements")
    if not changed:
        return ""
    more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f": {len(changed)} of {len(shared)} variables ({'; '.join(changed[:3])}{more})"


def _precision_notes(sides: Sides, float64: bool) -> Iterator[str]:
    """What was not judged in float64, and what is unlikely in the inputs, the same of both."""
    reference, candidate = (side.header for side in sides)
    for name, header in zip(NAMES, (reference, candidate), strict=True):
        if header.float64_missing:
            yield f"the {name} has no run in float64: {header.float64_missing}"
    if not float64:
        yield (
            f"judged in {candidate.dtype} alone: a difference below its rounding, and whether "
            "a greater one is another function or less precision, are not seen"
        )
    yield from dict.fromkeys((*reference.notes, *candidate.notes))
