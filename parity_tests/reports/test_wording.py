import math

import pytest

from parity.verdict.result import Status, TapResult
from reports import wording


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain_name.1", "plain_name.1"),
        ("é 日本", "é 日本"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("\udcff", "\\udcff"),
        ("\x00\x9b", "\\x00\\x9b"),
    ],
)
def test_printable_spells_out_what_cannot_be_seen(text: str, shown: str) -> None:
    assert wording.printable(text) == shown


def test_printable_leaves_out_the_middle_of_a_monster() -> None:
    shown = wording.printable("a" * 5000 + "z")
    assert len(shown) == 800
    assert shown.startswith("aaa")
    assert "…" in shown
    assert shown.endswith("z")
    assert wording.spelled_out("a" * 5000) == "a" * 5000


@pytest.mark.parametrize("length", [5, 6, 7])
def test_shortened_keeps_to_its_length(length: int) -> None:
    assert len(wording.shortened("0123456789", length)) == length
    assert wording.shortened("01234", length) == "01234"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (None, "—"),
        (0.0, "identical"),
        (-0.0, "identical"),
        (3.0999e-3, "3.10e-03"),
        (5e-324, "4.94e-324"),
        (12345.0, "1.23e+04"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_difference(number: float | None, shown: str) -> None:
    assert wording.difference(number) == shown


@pytest.mark.parametrize(
    ("reference", "candidate", "dtype", "shown"),
    [
        (0.40891, 0.41201, "float32", ("0.4089", "0.4120")),
        (0.41234567, 0.41234577, "float32", ("0.41234567", "0.41234577")),
        (1.0, 1.0 + 2**-52, "float64", ("1.0000000000000000", "1.0000000000000002")),
        (1.0, 1.0 + 2**-23, "float32", ("1.0000000", "1.0000001")),
        (1.0, 1.0, "float32", ("1.000", "1.000")),
        (0.0, 0.0, "float32", ("0.000", "0.000")),
        (0.0, 1e-30, "float32", ("0.000", "1.000e-30")),
        (1234.0, 1235.0, "float32", ("1234.0", "1235.0")),
        (12340.0, 99999.0, "float32", ("1.234e+04", "1.000e+05")),
        (math.nan, 0.5, "float32", ("NaN", "0.5000")),
        (1.0, math.inf, "float32", ("1.000", "inf")),
        (-1e308, 1e308, "float64", ("-1.000e+308", "1.000e+308")),
        (None, 1.0, "float32", ("—", "1.000")),
    ],
)
def test_pair_shows_where_two_values_part(
    reference: float | None, candidate: float | None, dtype: str, shown: tuple[str, str]
) -> None:
    assert wording.pair(reference, candidate, dtype) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (412, 29952, "1.4 %"),
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (1, 301056, "< 0.01 %"),
        (301055, 301056, "> 99 %"),
        (1, 2, "50 %"),
        (0, 0, "—"),
    ],
)
def test_share_never_rounds_to_nothing_or_all(part: int, whole: int, shown: str) -> None:
    assert wording.share(part, whole) == shown


def test_counts_and_lists() -> None:
    assert wording.counted(1, "loss") == "1 loss"
    assert wording.counted(2, "loss") == "2 losses"
    assert wording.counted(12345, "tap") == "12,345 taps"
    assert wording.listed(("a", "b", "c", "d\n"), 4) == "a, b, c, d\\n"
    assert wording.listed(("a", "b", "c", "d"), 2) == "a, b and 2 more"


def test_a_missing_entry_has_no_shape_and_a_loss_is_a_scalar() -> None:
    assert wording.entry_shape(TapResult("x", 0, Status.MISSING, (), "")) == "—"
    assert wording.entry_shape(TapResult("x", 0, Status.AGREE, (), "float32")) == "scalar"
    assert wording.entry_shape(TapResult("x", 0, Status.AGREE, (3, 7), "float32")) == "3x7"
