from collections.abc import Callable

import pytest

from parity.verdict.result import Comparison, Verdict
from reports.tables.summary import Part, overall, summary_json, summary_markdown, worse

Planted = Callable[[str], Comparison]

AGREE, DIFFER, INVALID = Verdict.AGREE, Verdict.DIFFER, Verdict.INVALID


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([AGREE, AGREE], AGREE),
        ([AGREE, INVALID], INVALID),
        ([INVALID, AGREE], INVALID),
        ([INVALID, DIFFER], DIFFER),
        ([DIFFER, INVALID, AGREE], DIFFER),
        ([], INVALID),
    ],
)
def test_worse(verdicts: list[Verdict], worst: Verdict) -> None:
    assert worse(verdicts) is worst


@pytest.fixture
def parts(planted: Planted) -> list[Part]:
    return [
        Part("coarse", planted("missing"), "coarse"),
        Part("refine", planted("flips"), "refine"),
    ]


def test_json_has_both_verdicts_and_the_worse_on_top(parts: list[Part]) -> None:
    value = summary_json(parts)
    assert value["schema"] == "p2m-parity-report/2"
    assert value["verdict"] == "differ"
    assert value["verdicts"] == {"coarse": "invalid", "refine": "differ"}
    assert value["first_divergence"] == "graph_localproj_1_layer_1"
    assert value["first_divergence_in"] == "refine"
    assert value["compared"] == 84 + 42
    assert len(value["missing"]) == 2
    assert [part["report"] for part in value["parts"]] == [
        "coarse/report.json",
        "refine/report.json",
    ]


def test_json_is_a_report_itself(parts: list[Part]) -> None:
    value = summary_json(parts)
    single = parts[0].comparison.to_json()
    for key in ("verdict", "first_divergence", "compared", "missing", "not_requested"):
        assert type(value[key]) is type(single[key]) or value[key] is not None
    assert [tap["part"] for tap in value["taps"]] == ["coarse"] * 86 + ["refine"] * 42
    assert value["taps"][30]["status"] == "missing"
    assert value["losses"] == []


def test_of_no_parts_nothing_was_compared() -> None:
    assert summary_json([])["verdict"] == "invalid"
    assert overall([]) == "invalid: nothing was compared"


def test_overall_names_the_first_place(parts: list[Part], planted: Planted) -> None:
    assert overall(parts) == (
        "differ, first at graph_localproj_1_layer_1 of refine (2 comparisons: 1 differ, 1 invalid)"
    )
    assert overall([Part("a", planted("agree"), "")]) == "agree (1 comparison: 1 agree)"


def test_markdown_links_the_parts(parts: list[Part]) -> None:
    text = summary_markdown(parts, title="both stages", commands=["p2m-parity run both"])
    assert "[`coarse`](coarse/report.md)" in text
    assert "    graph_localproj_1_layer_1  differ  (106038, 339) float32" in text
    assert text.endswith("    p2m-parity run both\n")
