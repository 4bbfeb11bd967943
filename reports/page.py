"""The report as one HTML file that needs nothing else: no script, no network, no other file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2

from parity.result import Comparison, Status, TapResult
from reports import wording
from reports.message import basis, find, label, message, sentence
from reports.palette import LOOKS
from reports.summary import Part, overall, worse
from reports.tables import FLIP_HEADING, flip_row, flips_in_words, flips_shown, side_rows

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Picture:
    """An image for the page; ``form`` is "svg" or "png"."""

    content: bytes
    form: str
    caption: str

    @property
    def source(self) -> str:
        """The image as a ``data:`` address."""
        kind = {"svg": "svg+xml", "png": "png"}[self.form]
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


def report_page(
    comparison: Comparison,
    *,
    figures: Sequence[Picture] = (),
    renderings: Sequence[Picture] = (),
    remarks: Sequence[str] = (),
    commands: Sequence[str] = (),
) -> str:
    """The page of one comparison. ``remarks`` say why something has no picture."""
    first = find(comparison, comparison.first_divergence)
    present = {entry.status for entry in comparison.entries}
    return _ENVIRONMENT.get_template("report.html").render(
        title=f"{wording.printable(comparison.stage)}: {comparison.verdict.value} (p2m-parity)",
        heading=_heading(comparison),
        looks=LOOKS,
        verdict=comparison.verdict.value,
        sentence=sentence(comparison),
        basis=basis(comparison),
        message=message(comparison, first) if first is not None else "",
        figures=figures,
        renderings=renderings,
        remarks=remarks,
        sides=side_rows(comparison),
        notes=[wording.printable(note) for note in comparison.notes],
        missing=[wording.printable(name) for name in comparison.missing],
        unmatched=[
            (wording.printable(tap), wording.printable(reason))
            for tap, reason in comparison.unmatched.items()
        ],
        legend=[(status, LOOKS[status]) for status in Status if status in present],
        taps=[_row(comparison, entry, first) for entry in comparison.taps],
        losses=[_row(comparison, entry, first) for entry in comparison.losses],
        gradients=[_row(comparison, entry, first) for entry in comparison.gradients],
        flips=[flip_row(flip) for flip in flips_shown(comparison.flips)],
        flip_heading=FLIP_HEADING,
        flips_summary=flips_in_words(comparison) if comparison.flip_count else "",
        not_requested=[wording.printable(name) for name in comparison.not_requested],
        not_requested_summary=wording.counted(len(comparison.not_requested), "tap"),
        commands="\n".join(wording.spelled_out(command) for command in commands),
    )


def _heading(comparison: Comparison) -> str:
    stage = wording.printable(comparison.stage)
    sides = comparison.candidate.backend, comparison.reference.backend
    candidate, reference = (wording.printable(side) for side in sides)
    return f"Pixel2Mesh++ {stage} stage: {candidate} against {reference}"


def _row(comparison: Comparison, entry: TapResult, first: TapResult | None) -> dict[str, Any]:
    reference, candidate = wording.pair(entry.reference, entry.candidate, entry.dtype)
    return {
        "order": entry.order,
        "name": wording.printable(label(comparison, entry)),
        "status": entry.status,
        "shape": wording.entry_shape(entry),
        "max_abs": wording.difference(entry.max_abs),
        "at": wording.index(entry.at),
        "reference": reference,
        "candidate": candidate,
        "rms_rel": wording.difference(entry.rms_rel),
        "note": wording.printable(entry.note),
        "first": entry is first,
    }


@dataclass(frozen=True)
class PartPictures:
    """What the summary page shows of one part besides its words."""

    figure: Picture
    renderings: Sequence[Picture] = ()


def summary_page(
    parts: Sequence[Part],
    pictures: Sequence[PartPictures],
    *,
    title: str,
    commands: Sequence[str] = (),
) -> str:
    """The page above several comparisons, with a link to each one's own report."""
    verdict = worse([part.comparison.verdict for part in parts])
    return _ENVIRONMENT.get_template("summary.html").render(
        title=f"{wording.printable(title)}: {verdict.value} (p2m-parity)",
        heading=wording.printable(title),
        looks=LOOKS,
        verdict=verdict.value,
        sentence=overall(parts),
        parts=[_part(part, shown) for part, shown in zip(parts, pictures, strict=True)],
        commands="\n".join(wording.spelled_out(command) for command in commands),
    )


def _part(part: Part, shown: PartPictures) -> dict[str, Any]:
    comparison = part.comparison
    first = find(comparison, comparison.first_divergence)
    return {
        "label": wording.printable(part.label),
        "href": quote(f"{part.link}/report.html") if part.link else "",
        "verdict": comparison.verdict.value,
        "glyph": LOOKS[Status(comparison.verdict.value)].glyph,
        "compared": comparison.compared,
        "first": wording.printable(comparison.first_divergence or wording.NOTHING),
        "sentence": sentence(comparison),
        "message": message(comparison, first) if first is not None else "",
        "notes": [wording.printable(note) for note in comparison.notes],
        "figure": shown.figure,
        "renderings": shown.renderings,
    }
