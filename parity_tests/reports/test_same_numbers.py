"""Every number in the table, the CSV, Markdown, the page and the terminal is report.json's."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from parity.verdict.result import Comparison, Status
from parity_tests.reports.conftest import BUILDERS
from reports.page.entries import shown_entries
from reports.page.page import PartPictures, report_page
from reports.tables.comparison import csv_text, json_text, markdown_text
from reports.text.terminal import show

SECTIONS = ("taps", "losses", "gradients", "steps")


def _stepped() -> Comparison:
    """The state "trained" with training steps."""
    trained = BUILDERS["trained"]()
    steps = tuple(
        replace(entry, tap=f"steps/1/weights/{entry.tap}", order=order)
        for order, entry in enumerate(trained.gradients)
    )
    return replace(trained, steps=steps)


def _both() -> Comparison:
    """Losses and gradients beside taps that float64 runs judged."""
    judged, trained = BUILDERS["judged"](), _stepped()
    return replace(judged, losses=trained.losses, gradients=trained.gradients, steps=trained.steps)


STATES: dict[str, Callable[[], Comparison]] = {
    "trained": _stepped,
    "flips": BUILDERS["flips"],
    "not finite": BUILDERS["nan"],
    "missing": BUILDERS["missing"],
    "judged": _both,
    "refine": BUILDERS["refine"],
}


@pytest.fixture(params=STATES)
def comparison(request: pytest.FixtureRequest) -> Comparison:
    return STATES[request.param]()


def report(comparison: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_text(comparison.to_json()))
    return found


def entries(comparison: Comparison, sections: tuple[str, ...] = SECTIONS) -> list[dict[str, Any]]:
    found = report(comparison)
    return [entry for section in sections for entry in found[section]]


def number(text: str) -> float:
    return float(text.replace(",", ""))


def same(text: str, value: Any) -> bool:
    """Whether a shown text is the report's value, to all the digits that the text has."""
    if value is None or text == "—":
        return text == "—" and value is None
    if isinstance(value, str):  # NaN and the infinities
        return text == value
    if text == "identical":
        return bool(value == 0)
    mantissa = text.lower().partition("e")[0]
    digits = len(re.sub(r"^0+", "", mantissa.lstrip("-").replace(".", "")))
    return (value != 0 and number(text) == float(f"{value:.{max(digits, 1) - 1}e}")) or (
        value == 0 and number(text) == 0
    )


@pytest.mark.parametrize(
    ("text", "value", "right"),
    [
        ("1.03e-03", 1.0312e-3, True),
        ("1.04e-03", 1.0312e-3, False),
        ("0.4120", 0.41201, True),
        ("0.4121", 0.41201, False),
        ("identical", 0.0, True),
        ("identical", 1e-30, False),
        ("0.000", 1e-9, False),
        ("NaN", "NaN", True),
        ("inf", "NaN", False),
        ("—", None, True),
        ("—", 0.0, False),
    ],
)
def test_the_comparison_of_texts_can_tell(text: str, value: Any, right: bool) -> None:
    assert same(text, value) is right


def test_csv(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(comparison))))
    expected = entries(comparison)
    assert len(rows) == len(expected)
    for row, entry in zip(rows, expected, strict=True):
        for name, value in entry.items():
            cell = row[name]
            if value is None or value == "" or name in ("shape", "at"):
                assert name in ("shape", "at") or cell == ""
            elif isinstance(value, str):
                assert cell == value, name
            elif isinstance(value, dict):
                assert cell == ", ".join(f"{key} {count}" for key, count in value.items())
            elif isinstance(value, list):
                assert [str(part) in cell for part in value] == [True] * len(value)
            else:
                assert float(cell) == value, name
        if entry["at"] is not None:
            assert json.loads(row["at"]) == entry["at"]
        if entry["dtype"]:
            shape = [] if row["shape"] == "scalar" else list(map(int, row["shape"].split("x")))
            assert shape == entry["shape"]


def test_the_page_s_data(comparison: Comparison) -> None:
    text = report_page(comparison, PartPictures())
    (data,) = re.findall(r'<script type="application/json" id="data-0">(.*?)</script>', text)
    found = json.loads(data)["entries"]
    assert len(found) == len(shown_entries(comparison))
    for shown, entry in zip(found, entries(comparison), strict=True):
        for name, value in entry.items():
            assert shown[name] == value, name


class Cells(HTMLParser):
    """Rows of a page's or a Markdown text's tables: heading to (text, data-value)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.rows: list[list[tuple[str, str | None]]] = []
        self.inside = False
        self.body = False
        self.tables: list[tuple[list[str], list[list[tuple[str, str | None]]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.heads, self.rows, self.body = [], [], False
            self.tables.append((self.heads, self.rows))
        elif tag == "tbody":
            self.body = True
        elif tag == "tr" and self.body:
            self.rows.append([])
        elif tag in ("td", "th"):
            self.inside = True
            if self.body:
                self.rows[-1].append(("", dict(attrs).get("data-value")))
            else:
                self.heads.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside and self.body:
            text, value = self.rows[-1][-1]
            self.rows[-1][-1] = text + data, value
        elif self.inside:
            self.heads[-1] += data

    def entries(self) -> Iterator[dict[str, tuple[str, str | None]]]:
        """Of every table that begins with a number and lists entries."""
        for heads, rows in self.tables:
            if heads[:1] == ["#"]:
                for row in rows:
                    yield dict(zip(heads, row, strict=True))


PAGE = {
    "max |Δ|": "max_abs", "reference": "reference", "candidate": "candidate",
    "rms rel": "rms_rel", "own error (roundings)": "local_roundings",
    "reference's own": "local_roundings_reference", "float64 (roundings)": "float64_roundings",
}  # fmt: skip


def test_the_page_s_tables(comparison: Comparison) -> None:
    rows = list(Cells(report_page(comparison, PartPictures())).entries())
    expected = entries(comparison)
    assert len(rows) == len(expected)
    seen = set()
    for row, entry in zip(rows, expected, strict=True):
        for head, name in PAGE.items():
            if head in row:
                seen.add(head)
                text, exact = row[head]
                assert same(text, entry[name]), (head, text, entry[name])
                value = entry[name]
                assert (
                    (exact is None)
                    if value is None
                    else math.isclose(float(exact or "nan"), float(value), rel_tol=0)
                    or exact == value
                )
    assert len(seen) == (len(PAGE) if any(e.local_roundings for e in comparison.taps) else 4)


MARKDOWN = {"max abs Δ": "max_abs", "reference": "reference", "candidate": "candidate",
            "rms rel": "rms_rel"}  # fmt: skip


def test_markdown(comparison: Comparison) -> None:
    html = MarkdownIt("commonmark").enable("table").render(markdown_text(comparison))
    rows = list(Cells(html).entries())
    expected = entries(comparison, SECTIONS[:3])
    assert len(rows) == len(expected)
    for row, entry in zip(rows, expected, strict=True):
        assert row["#"][0] == str(entry["order"])
        assert row["status"][0] == entry["status"]
        for head, name in MARKDOWN.items():
            assert same(row[head][0], entry[name]), (head, row[head], entry[name])


def test_terminal(comparison: Comparison) -> None:
    stream = io.StringIO()
    show(comparison, Console(file=stream, width=4000))
    lines = [re.split(r"\s{2,}", line.strip()) for line in stream.getvalue().splitlines()]
    heads: list[str] = []
    rows = []
    for line in lines:
        if line[0] in ("tap", "loss", "gradient") and line[1:2] == ["status"]:
            heads = line
        elif heads and len(line) == len(heads) and line[1] in {status.value for status in Status}:
            rows.append(dict(zip(heads, line, strict=True)))
    agreeing = [e for e in entries(comparison, ("gradients",)) if e["status"] == "agree"]
    expected = [e for e in entries(comparison, SECTIONS[:3]) if e not in agreeing]
    assert len(rows) == len(expected)
    names = {"max|Δ|": "max_abs", **{head: head for head in ("reference", "candidate")},
             "rms rel": "rms_rel"}  # fmt: skip
    for row, entry in zip(rows, expected, strict=True):
        assert row["status"] == entry["status"]
        for head, name in names.items():
            assert same(row[head], entry[name]), (head, row[head], entry[name])


def test_the_first_divergence_is_the_same_everywhere(comparison: Comparison) -> None:
    first = report(comparison)["first_divergence"]
    stream = io.StringIO()
    show(comparison, Console(file=stream, width=4000))
    texts = (markdown_text(comparison), report_page(comparison, PartPictures()), stream.getvalue())
    for text in texts:
        if first is None:
            assert "irst divergence" not in text
        else:
            assert "the first divergence is here" in text
            assert first in text.replace("&#47;", "/")
