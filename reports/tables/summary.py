"""Several comparisons under one verdict: both stages of a run, or every item of the demo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from parity.verdict.result import REPORT_SCHEMA, Comparison, TapResult, Verdict, jsonable
from reports import wording
from reports.tables.comparison import indented, markdown, markdown_table
from reports.text.message import find, message, sentence

# A difference that was found stays a finding whatever else was missing: within one report the
# contract ranks it above missing taps, and the same holds among several.
_RANK = {Verdict.AGREE: 0, Verdict.INVALID: 1, Verdict.DIFFER: 2}


@dataclass(frozen=True)
class Part:
    """One comparison of several.

    ``label`` names it to people and is its key in ``report.json``; ``link`` is the folder of its
    own report, relative to the summary's, with forward slashes ("" for none).
    """

    label: str
    comparison: Comparison
    link: str


def worse(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of several: differ, then invalid, then agree; of none, nothing was compared."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.INVALID)


def overall(parts: Sequence[Part]) -> str:
    """The verdict on all parts in a sentence."""
    if not parts:
        return "invalid: nothing was compared"
    verdict = worse([part.comparison.verdict for part in parts])
    of_all = f"{wording.counted(len(parts), 'comparison')}: "
    of_all += ", ".join(
        f"{number} {each.value}"
        for each in (Verdict.AGREE, Verdict.DIFFER, Verdict.INVALID)
        if (number := sum(part.comparison.verdict is each for part in parts))
    )
    first = _first_part(parts)
    if first is not None and first.comparison.first_divergence is not None:
        place = wording.printable(first.comparison.first_divergence)
        return f"{verdict.value}, first at {place} of {wording.printable(first.label)} ({of_all})"
    return f"{verdict.value} ({of_all})"


def _first_part(parts: Sequence[Part]) -> Part | None:
    """The first part that differs."""
    return next((part for part in parts if part.comparison.verdict is Verdict.DIFFER), None)


def summary_json(parts: Sequence[Part]) -> dict[str, Any]:
    """The same schema as one report's, every entry with its part, and each part on its own."""
    first = _first_part(parts)
    plain = {
        "schema": REPORT_SCHEMA,
        "verdict": worse([part.comparison.verdict for part in parts]),
        "first_divergence": first.comparison.first_divergence if first else None,
        "first_divergence_in": first.label if first else None,
        "compared": sum(part.comparison.compared for part in parts),
        "missing": [name for part in parts for name in part.comparison.missing],
        "not_requested": [name for part in parts for name in part.comparison.not_requested],
        "verdicts": {part.label: part.comparison.verdict for part in parts},
        "parts": [
            {
                "label": part.label,
                "stage": part.comparison.stage,
                "verdict": part.comparison.verdict,
                "basis": part.comparison.basis,
                "vertices": part.comparison.vertices,
                "first_divergence": part.comparison.first_divergence,
                "compared": part.comparison.compared,
                "missing": part.comparison.missing,
                "not_requested": part.comparison.not_requested,
                "report": f"{part.link}/report.json" if part.link else None,
            }
            for part in parts
        ],
        "taps": _entries(parts, lambda comparison: comparison.taps),
        "losses": _entries(parts, lambda comparison: comparison.losses),
        "gradients": _entries(parts, lambda comparison: comparison.gradients),
    }
    value: dict[str, Any] = jsonable(plain)
    return value


def _entries(parts: Sequence[Part], of: Any) -> list[dict[str, Any]]:
    entries: list[tuple[str, TapResult]] = [
        (part.label, entry) for part in parts for entry in of(part.comparison)
    ]
    return [{"part": label, **vars(entry)} for label, entry in entries]


def summary_markdown(parts: Sequence[Part], *, title: str, commands: Sequence[str] = ()) -> str:
    """The overview for a reader of plain text, linking each part's own ``report.md``."""
    rows = []
    blocks = [f"# {markdown(title)}", markdown(overall(parts))]
    for part in parts:
        comparison = part.comparison
        name = markdown(part.label)
        rows.append(
            (
                f"[{name}]({quote(part.link)}/report.md)" if part.link else name,
                comparison.verdict.value,
                wording.taps_compared(comparison),
                markdown(comparison.first_divergence) if comparison.first_divergence else "",
            )
        )
    if rows:
        heading = ("run", "verdict", "taps compared", "first divergence")
        blocks.append(markdown_table(heading, rows))
    for part in parts:
        blocks += [f"## {markdown(part.label)}", markdown(sentence(part.comparison))]
        first = find(part.comparison, part.comparison.first_divergence)
        if first is not None:
            blocks.append(indented(message(part.comparison, first)))
        blocks += [f"- {markdown(note)}" for note in part.comparison.notes]
    if commands:
        blocks += ["## Again", indented("\n".join(map(wording.spelled_out, commands)))]
    return "\n\n".join(blocks) + "\n"
