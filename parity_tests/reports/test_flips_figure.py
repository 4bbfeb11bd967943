from collections.abc import Callable
from dataclasses import replace

from parity.verdict.result import Comparison
from reports.figures.flips import decision_counts, flips_figure

Planted = Callable[[str], Comparison]


def test_nothing_flipped(planted: Planted) -> None:
    assert decision_counts(planted("agree")) == {}


def test_pixels_are_the_listed_flips(planted: Planted) -> None:
    comparison = planted("flips")
    (tap,) = {flip.tap for flip in comparison.flips}
    assert decision_counts(comparison) == {"pixels": {tap: (480, 1)}}
    (axes,) = flips_figure(comparison).axes
    assert axes.get_title(loc="left") == ("Pixel decisions taken differently (481 listed of 9,000)")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "ties: 480",
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


def test_both_kinds_have_their_axes(planted: Planted, judged: Comparison) -> None:
    flips = tuple(replace(flip, tap=judged.taps[18].tap) for flip in planted("refine").flips)
    both = replace(judged, flips=flips, flip_count=len(flips))
    assert list(decision_counts(both)) == ["pixels", "signs"]
    assert len(flips_figure(both).axes) == 2
