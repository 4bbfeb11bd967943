import io
from collections.abc import Callable

import pytest
from rich.console import Console

from parity.verdict.result import Comparison
from reports.text.terminal import show

Planted = Callable[[str], Comparison]


def shown(comparison: Comparison, width: int = 80, colour: bool = False) -> str:
    stream = io.StringIO()
    show(comparison, Console(file=stream, width=width, force_terminal=colour))
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 80, 100, 132, 200])
def test_fits_the_window(planted: Planted, width: int) -> None:
    for line in shown(planted("differ"), width).splitlines():
        # A command is to be pasted whole, a name is never broken.
        assert len(line) <= width or line.startswith("  again: ")


@pytest.mark.parametrize("state", ["agree", "differ", "nan", "missing", "flips", "trained"])
def test_fits_eighty_columns(planted: Planted, state: str) -> None:
    lines = shown(planted(state)).splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith("  again: ")] == []


def test_verdict_first_and_last(each: Comparison) -> None:
    lines = shown(each, 5000).splitlines()
    assert lines[0] == lines[-1]
    assert f"{each.stage}: {each.verdict.value}" in lines[0]


def test_plain_without_a_terminal(each: Comparison) -> None:
    assert "\x1b" not in shown(each)


def test_colour_only_adds_to_the_words(planted: Planted) -> None:
    text = shown(planted("differ"), 120, colour=True)
    assert "\x1b[1;31mdiffer" in text
    assert "\x1b[32magree" in text


def test_every_tap_has_a_line_with_its_status(planted: Planted) -> None:
    comparison = planted("differ")
    lines = shown(comparison, 200).splitlines()
    for tap in comparison.taps:
        (line,) = [
            line for line in lines if line.split()[:1] == [tap.tap] and "float32" not in line
        ]
        assert line.split()[1] == tap.status.value


def test_columns_go_in_order_of_importance(planted: Planted) -> None:
    comparison = planted("agree")
    narrow, middle, wide = (shown(comparison, width) for width in (80, 110, 200))
    header = ["tap", "status", "max|Δ|", "rms", "rel"]
    assert narrow.splitlines()[5].split() == header
    assert "shape, at, reference, candidate: in a wider window" in narrow
    assert "reference, candidate: in a wider window" in middle
    assert "[1, 112, 112, 8]" in middle
    assert "wider window" not in wide
    assert "rms rel" in wide


def test_zero_is_identical_and_nothing_is_a_dash(planted: Planted) -> None:
    (line,) = [line for line in shown(planted("agree")).splitlines() if "cnn.conv2d_1 " in line]
    assert line.split() == ["cnn.conv2d_1", "agree", "identical", "identical"]
    (line,) = [
        line
        for line in shown(planted("missing")).splitlines()
        if line.endswith("—") and "9 " in line
    ]
    assert line.split() == ["graph_conv_blk1_9_layer_9", "missing", "—", "—"]


def test_the_first_divergence_is_told_in_full(planted: Planted) -> None:
    text = shown(planted("differ"), 120)
    assert "21 earlier taps agree: the first divergence is here" in text
    assert "  again: p2m-parity compare out/coarse/reference.h5" in text


def test_agreeing_gradients_are_counted_not_listed(planted: Planted) -> None:
    text = shown(planted("trained"), 120)
    assert "11 gradients agree, not listed" in text
    assert "conv2d_6/W:0" in text
    assert "conv2d_7/W:0" not in text
    assert "losses/chamfer_1" in text


@pytest.mark.parametrize("text", ["[red]x", ":smile:", "line\\nbreak\\ttab", "\\x1b[31mred\\x07"])
def test_names_stay_text(planted: Planted, text: str) -> None:
    output = shown(planted("hostile"), 200)
    assert output.count(text) >= 2
    assert output.replace("\n", "").isprintable()


def test_lists_what_is_missing_and_why(planted: Planted) -> None:
    text = shown(planted("missing"), 200)
    assert "in one trace only: 2 names: graph_conv_blk1_9_layer_9, " in text
    assert "not requested: 2 taps" in text
    assert "note: no tap matches --taps 'zzz*'" in shown(planted("nothing"))


def test_an_output_that_knows_only_ascii(each: Comparison) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(each, Console(file=stream, width=80))
    stream.flush()
    assert f"{each.stage}: {each.verdict.value}".encode() in raw.getvalue()
