import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from network.registry import network_of
from parity.verdict.result import Comparison, Status, TapResult
from reports.figures.differences import difference_figure, group, image
from reports.palette import LOOKS

Planted = Callable[[str], Comparison]


def axes(comparison: Comparison) -> Axes:
    (found,) = difference_figure(comparison, comparison.taps, "tap").axes
    return found


def points(found: Axes, status: Status) -> dict[float, float]:
    """Where the filled markers of a status stand: place -> height."""
    return {
        float(x): float(y)
        for line in found.lines
        if line.get_marker() == LOOKS[status].marker and line.get_markerfacecolor() != "white"
        for x, y in zip(*map(np.asarray, line.get_data()), strict=True)
    }


def ticks(found: Axes) -> dict[str, float]:
    names = found.yaxis.get_major_formatter().format_ticks(found.get_yticks().tolist())
    return dict(zip(names, found.get_yticks().tolist(), strict=True))


def words(found: Axes) -> str:
    return " ".join([text.get_text() for text in found.texts] + [found.get_title(loc="right")])


def test_every_tap_stands_at_its_difference(planted: Planted) -> None:
    comparison = planted("differ")
    found = axes(comparison)
    heights = {}
    for status in Status:
        heights.update(points(found, status))
    assert len(heights) == 86
    for place, tap in enumerate(comparison.taps):
        assert tap.max_rel is not None
        assert heights[place] == pytest.approx(np.log10(tap.max_rel))
    assert list(points(found, Status.DIFFER)) == [21]


def test_zero_stands_on_the_line_called_identical(planted: Planted) -> None:
    found = axes(planted("agree"))
    heights = points(found, Status.AGREE)
    assert heights[0] == heights[1] == ticks(found)["identical"]
    assert min(height for place, height in heights.items() if place > 1) > heights[0]


def test_all_zero(planted: Planted) -> None:
    comparison = planted("agree")
    zeros = replace(comparison, taps=comparison.taps[:2])
    assert set(points(axes(zeros), Status.AGREE)) == {0, 1}


def test_what_is_not_finite_stands_above_all(planted: Planted) -> None:
    found = axes(planted("nan"))
    assert points(found, Status.DIFFER)[9] == ticks(found)["not finite"]
    assert points(found, Status.INHERITED)[10] == ticks(found)["not finite"]
    assert max(points(found, Status.AGREE).values()) < ticks(found)["not finite"]
    assert "not finite" not in ticks(axes(planted("agree")))


def test_missing_taps_are_marked_at_the_foot(planted: Planted) -> None:
    assert points(axes(planted("missing")), Status.MISSING) == {30: 0.02, 31: 0.02}


def test_the_limit_of_entries_that_are_judged_as_wholes_is_drawn(planted: Planted) -> None:
    comparison = planted("agree")
    whole = replace(comparison, taps=tuple(replace(tap, limit=1e-5) for tap in comparison.taps))
    dashed = [line for line in axes(whole).lines if line.is_dashed()]
    assert not any(line.is_dashed() for line in axes(comparison).lines)
    assert [np.asarray(line.get_ydata())[0] for line in dashed] == [pytest.approx(-5)]


def test_says_which_is_first_and_where_decisions_flipped(planted: Planted) -> None:
    assert "first divergence: graph_conv_blk1_3_layer_3 (#21)" in words(axes(planted("differ")))
    assert "8 flips" in words(axes(planted("refine")))
    assert "9,000 flips" in words(axes(planted("flips")))


def test_nothing_compared_is_said(planted: Planted) -> None:
    assert "No tap was compared." in words(axes(planted("nothing")))


def test_markers_differ_in_shape_and_colour() -> None:
    for what in ("marker", "colour", "glyph"):
        assert len({getattr(look, what) for look in LOOKS.values()}) == len(Status)


@pytest.mark.parametrize("status", list(Status))
def test_colours_can_be_read_on_white(status: Status) -> None:
    channels = np.array([int(LOOKS[status].colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 4.5


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_same_bytes_every_time(planted: Planted, form: str) -> None:
    comparison = planted("flips")
    first, second = (
        image(difference_figure(comparison, comparison.taps, "tap"), form) for _ in range(2)
    )
    assert first == second
    for word in (b"Date", b"Software"):
        assert word not in first[:2000] + first[-2000:]


def test_draws_every_state(each: Comparison) -> None:
    svg = image(difference_figure(each, each.taps, "tap"), "svg")
    assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 (we have just written it)


@pytest.mark.parametrize("name", ["$\\frac{1$", "日本語\x1b[31m", "a" * 9999, "<b>&"])
def test_a_hostile_first_divergence(planted: Planted, name: str) -> None:
    comparison = planted("differ")
    tap: TapResult = replace(comparison.taps[21], tap=name)
    hostile = replace(comparison, taps=(tap,), first_divergence=name)
    for form in ("png", "pdf", "svg"):
        assert image(difference_figure(hostile, hostile.taps, "tap"), form)
    assert len(words(axes(hostile))) < 120


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_every_tap_belongs_to_a_part_of_the_network(stage: str) -> None:
    blocks = {"coarse": 3, "refine": 2}[stage]
    rows = network_of(stage).rows
    groups = [group(rows, name) for name in rows]
    # Each part is one run of taps: no name falls out of its block.
    runs = [title for title, before in zip(groups, ["", *groups], strict=False) if title != before]
    assert runs == ["CNN", *(f"block {number}" for number in range(1, blocks + 1))]
