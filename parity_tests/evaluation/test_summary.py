"""What a table comes to: means, quantiles, the worst, verdicts; and how it is said."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import pytest

from evaluation.columns import columns
from evaluation.summary import Summary, summarise
from parity.verdict.result import Verdict
from reports.figures.evaluation import distribution_figure
from reports.text import evaluation_text as words

SETTINGS = {
    "stages": ["coarse", "refine"], "backend": "my:port", "reference": "tf", "dtype": "float32",
    "dataset": "/data", "ground_truth": None,
}  # fmt: skip
COLUMNS = columns(["coarse", "refine"], ["backend", "reference"])


def row(category: str, item: str, chamfer: float, **more: Any) -> dict[str, Any]:
    figures = {name: chamfer for name, kind in COLUMNS.items() if kind is float}
    verdicts = {"coarse_verdict": "agree", "refine_verdict": "agree"}
    keys = {"category": category, "item": item, "status": "done", "reason": None}
    return dict.fromkeys(COLUMNS) | figures | verdicts | keys | more


ROWS = [
    row("02691156", "a", 1.0),
    row("02691156", "b", 3.0, refine_verdict="differ", refine_first_divergence="score"),
    row("04256520", "c", 7.0, coarse_verdict="invalid", reference_chamfer_distance=0.5),
    dict.fromkeys(COLUMNS)
    | {"category": "04256520", "item": "d", "status": "failed", "reason": "d/x.png: is|no PNG"},
]  # fmt: skip


@pytest.fixture
def summary() -> Summary:
    return summarise(SETTINGS, ROWS)


def test_means(summary: Summary) -> None:
    plane, couch = summary.categories
    assert (plane.items, plane.failed, couch.items, couch.failed) == (2, 0, 2, 1)
    assert plane.means["chamfer_distance"] == 2.0
    assert couch.means["chamfer_distance"] == 7.0
    assert summary.mean_of_categories["chamfer_distance"] == 4.5
    assert summary.mean_of_items["chamfer_distance"] == pytest.approx(11 / 3)
    assert summary.mean_of_items["reference_chamfer_distance"] == 1.5
    assert summary.quantiles["chamfer_distance"][0.5] == 3.0
    assert summary.quantiles["refine_vertex_distance"][1.0] == 7.0


def test_notes_are_counted_by_kind() -> None:
    rows = [dict(each) for each in ROWS]
    rows[0] |= {"note_kinds": "alike | empty | empty", "notes": "a: 1 | a: 2 | a: 3"}
    rows[2] |= {"note_kinds": "empty", "notes": "c: 4"}
    found = summarise(SETTINGS, rows)
    assert [(each.kind, each.items, each.first["item"], each.note) for each in found.noted] == [
        ("empty", 2, "a", "a: 2"), ("alike", 1, "a", "a: 1")
    ]  # fmt: skip
    assert words.notes(found)[0] == "2 of 4 items with empty; the first, 02691156/a: a: 2"
    assert words.sheets(found)[-1].rows[0] == ("empty", "2", "02691156/a", "a: 2")


def test_parity(summary: Summary) -> None:
    coarse, refine = summary.parity
    assert coarse.verdicts == {"agree": 2, "invalid": 1}
    assert refine.verdicts == {"agree": 2, "differ": 1}
    assert refine.first_divergences == {"score": 1}
    # A difference outranks what could not be compared.
    assert summary.verdict is Verdict.DIFFER


@pytest.mark.parametrize(
    ("left", "verdict"), [([ROWS[0]], Verdict.AGREE), ([ROWS[0], ROWS[2]], Verdict.INVALID)]
)
def test_the_verdict_is_the_worst(left: list[Mapping[str, Any]], verdict: Verdict) -> None:
    assert summarise(SETTINGS, left).verdict is verdict


def test_an_item_without_scores_counts_with_its_verdict() -> None:
    lost = ROWS[-1] | {"coarse_verdict": "differ", "coarse_first_divergence": "mesh"}
    found = summarise(SETTINGS, [ROWS[0], lost])
    assert found.verdict is Verdict.DIFFER
    assert found.parity[0].verdicts == {"agree": 1, "differ": 1}
    assert found.parity[1].verdicts == {"agree": 1}
    assert [each["item"] for each in found.failed] == ["d"]


def test_the_worst_are_first(summary: Summary) -> None:
    assert [each.column for each in summary.worst] == [
        "chamfer_distance", "coarse_vertex_distance", "refine_vertex_distance"
    ]  # fmt: skip
    assert [each["item"] for each in summary.worst[0].rows] == ["c", "b", "a"]


def test_said_in_words(summary: Summary) -> None:
    lines = words.sentences(summary)
    assert lines[0].startswith("3 of 4 items evaluated, 1 item failed; coarse and refine stage")
    assert "refine: 2 agree, 1 differ; first divergence at score (1)" in lines
    first, *_, last = words.sheets(summary)
    assert first.heading[2:4] == ("chamfer ×10000, my:port", "chamfer ×10000, tf")
    assert first.rows[1][:4] == ("couch", "1 (1 failed)", "70000.000", "5000.000")
    assert last.rows == (("04256520/d", "d/x.png: is|no PNG"),)
    assert [sheet.title for sheet in words.brief_sheets(summary)] == [first.title, last.title]
    commands = words.page_commands(summary, "again", lambda name: f"page {name}")
    assert commands == [
        "again", "page 04256520/c", "page 02691156/b", "page 02691156/a"
    ]  # fmt: skip


def test_csv_has_all_digits(summary: Summary) -> None:
    table = list(csv.DictReader(io.StringIO(words.csv_text(summary))))
    assert [each["name"] for each in table] == [
        "plane", "couch", "mean of categories", "mean of items"
    ]  # fmt: skip
    assert float(table[3]["chamfer_distance"]) == summary.mean_of_items["chamfer_distance"]
    items = list(csv.DictReader(io.StringIO("".join(words.items_csv(ROWS)))))
    assert [each["chamfer_distance"] for each in items] == ["1.0", "3.0", "7.0", ""]


def test_the_figure_has_both_sides_and_every_category(summary: Summary) -> None:
    left, right = distribution_figure(ROWS, summary.sides).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["my:port", "tf"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["couch", "plane"]
    empty = distribution_figure([ROWS[3]], summary.sides).axes[0]
    assert [text.get_text() for text in empty.texts] == ["No item was evaluated."]
