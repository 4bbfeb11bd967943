from collections.abc import Callable
from dataclasses import replace

from parity.verdict.result import Comparison
from reports.figures.flips import decision_counts, flips_figure

Planted = Callable[[str], Comparison]


def test_nothing_flipped(planted: Planted) -> None:
    assert decision_counts(planted("agree")) == {}


def test_pixels_are_counted_by_the_verdict(planted: Planted) -> None:
    comparison = planted("flips")
    tap = comparison.taps[19].tap
    assert decision_counts(comparison) == {"pixels": {tap: (8999, 1)}}
    (axes,) = flips_figure(comparison).axes
    assert axes.get_title(loc="left") == "Rows that read other pixels"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "ties: 8,999",
        "no ties: 1",
    ]


def test_signs_are_counted_by_the_verdict(judged: Comparison) -> None:
    tap = judged.taps[25].tap
    assert decision_counts(judged) == {"signs": {tap: (2, 1)}}
    (axes,) = flips_figure(judged).axes
    drawn = {str(line.get_label()).partition(":")[0]: line for line in axes.get_lines()}
    ties, others = drawn["ties"], drawn["no ties"]
    assert (list(ties.get_xdata()), list(ties.get_ydata())) == ([25], [2])
    assert (list(others.get_xdata()), list(others.get_ydata())) == ([25], [1])


def test_both_kinds_have_their_axes(judged: Comparison) -> None:
    taps = list(judged.taps)
    taps[18] = replace(taps[18], decisions={"pixels": 8, "ties": 8})
    both = replace(judged, taps=tuple(taps))
    assert list(decision_counts(both)) == ["pixels", "signs"]
    assert len(flips_figure(both).axes) == 2
