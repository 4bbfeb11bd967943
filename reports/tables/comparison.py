"""``report.json``, ``taps.csv`` and ``report.md``, each written from the one comparison."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from parity.traces.trace import Side
from parity.verdict.result import Comparison, TapResult
from reports import wording
from reports.text.hints import hints
from reports.text.message import basis, find, label, message, sentence
from reports.text.told import coverage_of, coverage_words, diagnosis_lines

STEP_PARTS = ("losses", "m", "v", "weights")

_CSV_COLUMNS = (
    "tap", "status", "shape", "max_abs", "at", "reference", "candidate", "rms_rel",
    "kind", "order", "dtype", "size", "mismatched", "scale", "max_rel", "limit",
    "note", "cause", "origin", "local_roundings", "local_roundings_reference",
    "float64_roundings", "float64_roundings_reference", "roundings_limit", "rms_roundings",
    "rms_roundings_limit", "float64_rms_roundings", "local_max_abs",
    "inherited_max_abs", "float64_max_abs", "candidate_to_float64", "reference_to_float64",
    "amplification", "decisions", "across", "across_limit", "layers",
)  # fmt: skip

_ENTRY_HEADING = (
    "status", "shape", "max abs Δ", "at", "reference", "candidate", "rms rel", "note",
)  # fmt: skip
_SIMPLE_NAME = re.compile(r"[\w./:+\-]+", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_\[\]#|~$])")
_MARKDOWN_START = re.compile(r"^(\s*\d*)([-+=.)])")  # a list's or heading's mark


def json_text(value: Any) -> str:
    """``value`` as indented JSON, ASCII only, without NaN literals."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def csv_text(comparison: Comparison) -> str:
    """A row for each tap, loss and gradient; numbers with all their digits, none left empty.

    ``kind`` is ``tap``, ``loss`` or ``gradient``.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for kind, entries in _kinds(comparison):
        for entry in entries:
            cells = {
                name: _csv_cell(getattr(entry, name, None))
                for name in _CSV_COLUMNS
                if name != "kind"
            }
            cells.update(
                kind=kind,
                status=entry.status.value,
                shape=wording.shape(entry.shape) if entry.dtype else "",
            )
            cells["at"] = "" if entry.at is None else wording.index(entry.at)
            writer.writerow([cells[name] for name in _CSV_COLUMNS])
    return stream.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    if isinstance(value, float):
        return wording.special(value) or repr(float(value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


def _kinds(comparison: Comparison) -> tuple[tuple[str, tuple[TapResult, ...]], ...]:
    return (
        ("tap", comparison.taps),
        ("loss", comparison.losses),
        ("gradient", comparison.gradients),
        ("step", comparison.steps),
    )


def side_rows(comparison: Comparison) -> list[tuple[str, str, str, bool]]:
    """(property, reference's, candidate's, whether they are expected to be and are equal)."""

    def row(name: str, read: str, alike: bool = True) -> tuple[str, str, str, bool]:
        both = getattr(comparison.reference, read), getattr(comparison.candidate, read)
        texts = [wording.printable(str(text)) or wording.NOTHING for text in both]
        return name, texts[0], texts[1], not alike or both[0] == both[1]

    rows = [
        row("backend", "backend", alike=False),
        row("precision", "dtype"),
        row("device", "device", alike=False),
        row("weights (SHA-256)", "weights_sha256"),
        row("inputs (SHA-256)", "inputs_sha256"),
        row("trace", "path", alike=False),
    ]
    for package in _packages(comparison.reference, comparison.candidate):
        texts = [
            wording.printable(side.versions[package])
            if package in side.versions
            else wording.NOTHING
            for side in (comparison.reference, comparison.candidate)
        ]
        rows.append((wording.printable(package), texts[0], texts[1], True))
    return rows


def _packages(*sides: Side) -> list[str]:
    return sorted({package for side in sides for package in side.versions})


def markdown(text: str) -> str:
    """``text`` so that Markdown (and the HTML in it) shows it as it stands, on one line."""
    text = wording.printable(text)
    if _SIMPLE_NAME.fullmatch(text):
        return f"`{text}`"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # The dots and slashes of addresses are left alone in names, so a scheme must not start a link.
    text = _MARKDOWN_START.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\1", text))
    return text.replace("://", ":&#47;&#47;").replace("@", "&#64;")


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are Markdown already."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (heading, ["---"] * len(heading), *rows)]
    return "\n".join(lines)


def indented(text: str) -> str:
    """``text`` as a Markdown code block by indentation, which nothing inside it can end."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _entry_table(comparison: Comparison, noun: str, entries: Sequence[TapResult]) -> str:
    heading = ("#", noun, *_ENTRY_HEADING)
    rows = [
        (
            str(entry.order),
            markdown(label(comparison, entry)),
            entry.status.value,
            wording.entry_shape(entry),
            wording.difference(entry.max_abs),
            wording.index(entry.at),
            *wording.pair(entry.reference, entry.candidate, entry.dtype),
            wording.difference(entry.rms_rel),
            markdown(entry.note) if entry.note else "",
        )
        for entry in entries
    ]
    return markdown_table(heading, rows)


def markdown_text(
    comparison: Comparison,
    *,
    pictures: Sequence[tuple[str, str]] = (),
    remarks: Sequence[str] = (),
    commands: Sequence[str] = (),
) -> str:
    """The whole report for a reader of plain text or of a code host.

    ``pictures`` are (path relative to the report, caption); ``remarks`` are sentences of our own
    about what the report could not show.
    """
    blocks = [
        f"# {markdown(comparison.stage)}: {comparison.verdict.value}",
        markdown(sentence(comparison)),
        f"Judged by: {basis(comparison)}.",
    ]
    first = find(comparison, comparison.first_divergence)
    if first is not None:
        blocks += ["## First divergence", indented(message(comparison, first))]
        found = [*diagnosis_lines(comparison), *hints(comparison)]
        blocks += ["\n".join(f"- {markdown(line)}" for line in found)] if found else []
    sides = [
        (markdown(name), markdown(reference), markdown(candidate), "" if equal else "not equal")
        for name, reference, candidate, equal in side_rows(comparison)
    ]
    blocks += ["## What was compared"]
    blocks += [markdown_table(("", "reference", "candidate", ""), sides)]
    for noun, entries in _kinds(comparison):
        # Of the steps' entries, thousands in all, a reader gets a row a step.
        if entries and noun != "step":
            plural = {"tap": "Taps", "loss": "Losses", "gradient": "Gradients"}[noun]
            blocks += [f"## {plural}", _entry_table(comparison, noun, entries)]
    blocks += _step_blocks(comparison)
    for path, caption in pictures:
        blocks += [f"![{markdown(caption)}]({path})", markdown(caption)]
    blocks += list(remarks)
    coverage = coverage_of(comparison)
    told = [coverage_words(comparison), *coverage.findings]
    told += [f"{name}: {value}" for name, value in coverage.rows]
    blocks += ["## Coverage", "\n".join(f"- {markdown(line)}" for line in told)]
    for title, names in (
        ("In one trace only", comparison.missing),
        ("Not requested", comparison.not_requested),
    ):
        if names:
            blocks += [f"## {title}", "\n".join(f"- {markdown(name)}" for name in names)]
    if comparison.unmatched:
        reasons = [
            f"- {markdown(tap)}: {markdown(why)}" for tap, why in comparison.unmatched.items()
        ]
        blocks += ["## Declared absent by a backend", "\n".join(reasons)]
    if comparison.notes:
        blocks += ["## Notes", "\n".join(f"- {markdown(note)}" for note in comparison.notes)]
    if commands:
        lines = "\n".join(wording.spelled_out(command) for command in commands)
        blocks += ["## Again", indented(lines)]
    return "\n\n".join(blocks) + "\n"


STEP_HEADING = (
    "step", "total, reference", "total, candidate", *STEP_PARTS, "statuses", "optimiser",
)  # fmt: skip
STEP_WORDS = (
    "The greatest difference of each kind over its own greatest magnitude: loss terms, Adam's "
    "means of the gradient (m) and of its square (v), variables. What was found of single "
    "variables is in taps.csv and report.json."
)


def step_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """A row a training step, under ``STEP_HEADING``."""
    rows = []
    for step in comparison.step_summaries:
        first, second = step.total
        totals = wording.pair(first, second, comparison.reference.dtype)
        worst = [wording.difference(step.worst[name][1]) for name in STEP_PARTS]
        tally = ", ".join(f"{count} {status}" for status, count in step.statuses.items())
        rows.append((str(step.step), *totals, *worst, tally, wording.printable(step.optimiser)))
    return rows


def _step_blocks(comparison: Comparison) -> list[str]:
    if not comparison.step_summaries:
        return []
    rows = [(*cells[:-1], markdown(cells[-1])) for cells in step_rows(comparison)]
    return ["## Training steps", STEP_WORDS, markdown_table(STEP_HEADING, rows)]
