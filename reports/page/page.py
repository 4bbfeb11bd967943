"""The pages of a report: one comparison, or several under one verdict.

Verdict, tables and pictures stand in the page as they are; the scripts in it add the layer graph's
details, sorting and 3D.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from network.weights import STAGES
from parity.verdict.result import Comparison, Status, TapResult
from reports import wording
from reports.page.entries import MOST_STEPS, in_network_order, short_entry, shown_entries
from reports.page.html import Picture, render
from reports.page.layers import layer_graph
from reports.page.payload import payload
from reports.palette import LOOKS
from reports.tables.comparison import (
    STEP_HEADING,
    STEP_WORDS,
    side_rows,
    step_rows,
)
from reports.tables.summary import Part, overall, worse
from reports.text.hints import hints
from reports.text.message import basis, find, label, message, sentence
from reports.text.told import coverage_of, coverage_words, diagnosis_lines

_RANKS = {status: rank for rank, status in enumerate(Status)}

# Columns beside number, name and status: heading, field, whether only where some entry has it.
_COLUMNS = (
    ("shape", "shape", False),
    ("max |Δ|", "max_abs", False),
    ("at", "at", False),
    ("reference", "reference", False),
    ("candidate", "candidate", False),
    ("rms rel", "rms_rel", False),
    ("own error (roundings)", "local_roundings", True),
    ("reference's own", "local_roundings_reference", True),
    ("RMS (roundings)", "rms_roundings", True),
    ("float64 (roundings)", "float64_roundings", True),
)


@dataclass(frozen=True)
class PartPictures:
    """What the page shows of one comparison besides its words.

    ``remarks`` say why something has no picture; ``data`` is what ``reports.page.payload`` made.
    """

    figures: Sequence[Picture] = ()
    renderings: Sequence[Picture] = ()
    remarks: Sequence[str] = ()
    data: Mapping[str, Any] | None = None


def report_page(
    comparison: Comparison, pictures: PartPictures, *, commands: Sequence[str] = ()
) -> str:
    """The page of one comparison."""
    return _render(
        "report.html",
        [_part(Part("", comparison, ""), pictures, 0)],
        title=f"{wording.printable(comparison.stage)}: {comparison.verdict.value} (p2m-parity)",
        heading=_heading(comparison),
        commands=commands,
    )


def summary_page(
    parts: Sequence[Part],
    pictures: Sequence[PartPictures],
    *,
    title: str,
    commands: Sequence[str] = (),
) -> str:
    """The page above several comparisons: each of them whole, and a link to its own report."""
    verdict = worse([part.comparison.verdict for part in parts])
    return _render(
        "summary.html",
        [
            _part(part, shown, number)
            for number, (part, shown) in enumerate(zip(parts, pictures, strict=True))
        ],
        title=f"{wording.printable(title)}: {verdict.value} (p2m-parity)",
        heading=wording.printable(title),
        commands=commands,
        verdict=verdict.value,
        sentence=overall(parts),
    )


def _render(
    template: str, parts: list[dict[str, Any]], *, commands: Sequence[str], **values: Any
) -> str:
    payloads = [part.pop("payload") for part in parts]
    return render(
        template,
        payloads,
        plots=any(found["samples"] or found["mesh"] for found in payloads),
        looks=LOOKS,
        parts=parts,
        part=parts[0] if parts else None,
        commands="\n".join(wording.spelled_out(command) for command in commands),
        **values,
    )


def _heading(comparison: Comparison) -> str:
    stage = wording.printable(comparison.stage)
    sides = comparison.candidate.backend, comparison.reference.backend
    candidate, reference = (wording.printable(side) for side in sides)
    network = f"Pixel2Mesh++ {stage} stage" if comparison.stage in STAGES else stage
    return f"{network}: {candidate} against {reference}"


def _part(part: Part, shown: PartPictures, number: int) -> dict[str, Any]:
    """What the templates read of one comparison."""
    comparison = part.comparison
    first = find(comparison, comparison.first_divergence)
    entries = shown_entries(comparison)
    present = {entry.status for entry in entries}
    columns = _columns(comparison)
    indexed = list(enumerate(entries))
    taps, losses = len(comparison.taps), len(comparison.losses)
    gradients = taps + losses + len(comparison.gradients)

    def rows(some: Sequence[tuple[int, TapResult]]) -> list[dict[str, Any]]:
        return [_row(comparison, index, entry, first, columns) for index, entry in some]

    return {
        "number": number,
        "label": wording.printable(part.label),
        "href": quote(f"{part.link}/report.html") if part.link else "",
        "verdict": comparison.verdict.value,
        "glyph": LOOKS[Status(comparison.verdict.value)].glyph,
        "compared": wording.taps_compared(comparison),
        "sentence": sentence(comparison),
        "basis": basis(comparison),
        "first_name": wording.printable(comparison.first_divergence or wording.NOTHING),
        "first": next((index for index, entry in indexed if entry is first), None),
        "message": message(comparison, first) if first is not None else "",
        "diagnosis": [*diagnosis_lines(comparison), *hints(comparison)],
        "graph": layer_graph(comparison.stage, comparison.taps),
        "figures": shown.figures,
        "renderings": shown.renderings,
        "remarks": shown.remarks,
        "sides": side_rows(comparison),
        "notes": [wording.printable(note) for note in comparison.notes],
        "missing": [wording.printable(name) for name in comparison.missing],
        "unmatched": [
            (wording.printable(tap), wording.printable(reason))
            for tap, reason in comparison.unmatched.items()
        ],
        "legend": [(status, LOOKS[status]) for status in Status if status in present],
        "heading": ("#", "", "status", *(heading for heading, _ in columns)),
        "taps": rows(indexed[:taps]),
        "losses": rows(indexed[taps : taps + losses]),
        "gradients": rows(indexed[taps + losses : gradients]),
        "steps": step_rows(comparison),
        "step_entries": rows(indexed[gradients:]),
        "step_entries_summary": _steps_shown(comparison),
        "chips": [
            (title, [_chip(comparison, index, entry, first) for index, entry in some])
            for title, some in (
                ("losses", indexed[taps : taps + losses]),
                (
                    "gradients",
                    in_network_order(comparison.stage, indexed[taps + losses : gradients]),
                ),
            )
            if some
        ],
        "step_heading": STEP_HEADING,
        "step_words": STEP_WORDS,
        "not_requested": [wording.printable(name) for name in comparison.not_requested],
        "not_requested_summary": wording.counted(len(comparison.not_requested), "tap"),
        "coverage": coverage_of(comparison),
        "coverage_words": coverage_words(comparison),
        "payload": shown.data if shown.data is not None else payload(comparison),
    }


def _chip(
    comparison: Comparison, index: int, entry: TapResult, first: TapResult | None
) -> dict[str, Any]:
    """A loss or gradient as it stands under the layer graph."""
    return {
        "index": index,
        "name": wording.printable(label(comparison, entry)),
        "short": short_entry(comparison.stage, entry.tap),
        "status": entry.status,
        "first": entry is first,
    }


def _steps_shown(comparison: Comparison) -> str:
    """How many entries of training steps are left to ``report.json``; "" where none are."""
    if len(comparison.steps) <= MOST_STEPS:
        return ""
    return (
        f"The {MOST_STEPS} of {len(comparison.steps):,} entries that say most; report.json has "
        "them all."
    )


def _columns(comparison: Comparison) -> list[tuple[str, str]]:
    """Heading and field of each column; those of a judge only where it gave numbers."""
    return [
        (heading, field)
        for heading, field, optional in _COLUMNS
        if not optional
        or any(getattr(entry, field, None) is not None for entry in comparison.entries)
    ]


def _row(
    comparison: Comparison,
    index: int,
    entry: TapResult,
    first: TapResult | None,
    columns: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    reference, candidate = wording.pair(entry.reference, entry.candidate, entry.dtype)
    words = {
        "shape": wording.entry_shape(entry),
        "max_abs": wording.difference(entry.max_abs),
        "at": wording.index(entry.at),
        "reference": reference,
        "candidate": candidate,
        "rms_rel": wording.difference(entry.rms_rel),
    }
    cells = []
    for heading, field in columns:
        value = getattr(entry, field, None)
        shown = words.get(field, wording.quantity(value) if field not in words else "")
        exact = wording.exact(value) if isinstance(value, int | float) else None
        cells.append((entry.size if field == "shape" else exact, shown, heading))
    return {
        "index": index,
        "order": entry.order,
        "name": wording.printable(label(comparison, entry)),
        "status": entry.status,
        "rank": _RANKS[entry.status],
        "note": wording.printable(entry.note),
        "first": entry is first,
        "cells": cells,
    }
