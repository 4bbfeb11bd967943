from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from parity.verdict.result import Comparison
from reports.page.page import PartPictures, report_page
from reports.tables.comparison import markdown_text
from reports.text.told import coverage_of, coverage_words, diagnosis_lines

Planted = Callable[[str], Comparison]


@pytest.fixture
def judged(planted: Planted) -> Comparison:
    """A difference with a diagnosis, and coverage that leaves something out."""
    return replace(
        planted("differ"),
        diagnosis=SimpleNamespace(
            tap="graph_conv_blk1_3_layer_3",
            operand="bias",
            explanation="the bias is <b>not</b> added",
            confirmed=True,
            evidence=("without it the output comes out", "no other operand does it"),
        ),
        coverage={
            "compared": {"taps": 86, "losses": 0},
            "variables": {"conv/W": 1.0, "layer_3/bias": 0.25},
            "cases": {"score logits that the ReLU clips": 7},
            "findings": ["a quarter of layer_3/bias never mattered"],
        },
    )


def test_the_cause_is_told_first_and_with_its_evidence(judged: Comparison) -> None:
    assert diagnosis_lines(judged) == [
        "Confirmed (bias): the bias is <b>not</b> added",
        "without it the output comes out",
        "no other operand does it",
    ]
    page = report_page(judged, PartPictures())
    verdict = page[page.index('class="verdict') : page.index("Judged by")]
    assert "Confirmed (bias): the bias is &lt;b&gt;not&lt;/b&gt; added" in verdict
    assert "no other operand does it" in markdown_text(judged)


def test_what_is_not_confirmed_is_a_suspicion(judged: Comparison) -> None:
    diagnosis = SimpleNamespace(**{**vars(judged.diagnosis), "confirmed": False})
    assert diagnosis_lines(replace(judged, diagnosis=diagnosis))[0].startswith("Suspected (bias)")


def test_coverage_says_what_no_input_could_tell(judged: Comparison) -> None:
    found = coverage_of(judged)
    assert found.findings == ("a quarter of layer_3/bias never mattered",)
    assert found.variables == (("layer_3/bias", 0.25), ("conv/W", 1.0))
    assert ("cases, score logits that the ReLU clips", "7") in found.rows
    for form in (report_page(judged, PartPictures()), markdown_text(judged)):
        assert "a quarter of layer_3/bias never mattered" in form.replace("\\_", "_")
        assert "86 of 86 taps compared" in form
    assert 'data-value="0.25">25 %' in report_page(judged, PartPictures())


def test_without_a_diagnosis_nothing_is_said(planted: Planted) -> None:
    comparison = planted("differ")
    assert diagnosis_lines(comparison) == []
    assert coverage_of(comparison).rows == ()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("missing", "84 of 86 taps compared, 2 in one trace only; 2 taps not requested; no losses"),
        ("trained", "86 of 86 taps compared; 2 losses and 12 gradients."),
        ("nothing", "0 of 0 taps compared; no losses and no gradients were recorded."),
    ],
)
def test_coverage_in_words(planted: Planted, state: str, words: str) -> None:
    assert coverage_words(planted(state)).startswith(words)
