"""What a comparison shows of itself: the HTML of a notebook and the table of all entries."""

from dataclasses import fields, replace
from html.parser import HTMLParser

import pytest

from parity.diagnosis.diagnosis import Diagnosis
from parity.traces.trace import Side
from parity.verdict.result import MOST_SHOWN, Comparison, Status, TapResult, Verdict

SIDE = Side("t.h5", "torch", "float32", "cpu", "w", "i")
HOSTILE = (
    "<script>alert(1)</script>",
    "a & b \"quoted\" 'name'",
    "{{ 7 * 7 }}",
    "\x1b[31mred\x07",
    "\u202egnirts",
    "lone \udcff surrogate",
)


def entry(name: str, status: Status = Status.AGREE, **others: object) -> TapResult:
    values = {"size": 6, "max_abs": 0.0, "at": (0, 1), "reference": 1.0, "candidate": 1.0, **others}
    return TapResult(name, 0, status, (2, 3), "float32", **values)  # type: ignore[arg-type]


def comparison(*taps: TapResult, **others: object) -> Comparison:
    values: dict[str, object] = {
        "stage": "coarse", "verdict": Verdict.AGREE, "first_divergence": None, "taps": taps,
        "losses": (), "gradients": (), "missing": (), "not_requested": (), "unmatched": {},
        "notes": (), "reference": replace(SIDE, backend="tf"), "candidate": SIDE, **others,
    }  # fmt: skip
    return Comparison(**values)  # type: ignore[arg-type]


class Page(HTMLParser):
    """The tags of a page, and its text by cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert not attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_only_what_is_beyond_rounding_is_in_the_table() -> None:
    found = comparison(
        entry("first"),
        entry("second", Status.ROUNDING),
        entry("third", Status.DIFFER, max_abs=0.125, cause="function"),
        entry("fourth", Status.INHERITED, origin="third"),
        verdict=Verdict.DIFFER,
        first_divergence="third",
        diagnosis=Diagnosis("third", "bias", "with no bias it is reproduced", True),
        notes=("judged in float32 alone",),
    )
    page = Page(found._repr_html_())
    assert page.text[:4] == [
        "coarse: differ (1 agree, 1 rounding, 1 inherited, 1 differ)",
        "first divergence: third",
        "confirmed (bias): with no bias it is reproduced",
        "judged in float32 alone",
    ]
    assert page.tags.count("tr") == 3
    assert {"third", "0.125", "function", "fourth", "tf", "torch"} <= set(page.text)
    assert not {"first", "second"} & set(page.text)


def test_without_a_divergence_there_is_no_table() -> None:
    page = Page(comparison(entry("first"))._repr_html_())
    assert page.text == ["coarse: agree (1 agree)", "first divergence: none"]
    assert "table" not in page.tags


def test_a_long_table_is_cut_and_says_so() -> None:
    many = [entry(f"tap {n}", Status.DIFFER) for n in range(MOST_SHOWN + 2)]
    page = Page(comparison(*many)._repr_html_())
    assert page.tags.count("tr") == MOST_SHOWN + 1
    assert f"the first {MOST_SHOWN} of {MOST_SHOWN + 2} entries beyond rounding:" in page.text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_of_others_are_text(name: str) -> None:
    harmless = Page(comparison(entry("x", Status.DIFFER), stage="x")._repr_html_())
    hostile = comparison(
        entry(name, Status.DIFFER, note=name, cause=name),
        stage=name,
        first_divergence=name,
        reference=replace(SIDE, backend=name),
        diagnosis=Diagnosis(name, name, name, False),
        notes=(name,),
    )
    html = hostile._repr_html_()
    html.encode("utf-8")
    page = Page(html)
    assert set(page.tags) == set(harmless.tags)
    assert all(character.isprintable() for character in html)
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    assert "".join(page.text).count(shown) == 9


def test_the_frame_has_a_row_an_entry_and_a_column_a_field() -> None:
    found = comparison(
        entry("first", max_abs=0.5),
        entry("second", Status.MISSING, max_abs=None),
        losses=(entry("losses/total", Status.ROUNDING),),
    )
    frame = found.to_frame()
    assert set(frame.columns) == {each.name for each in fields(TapResult)}
    assert list(frame["tap"]) == ["first", "second", "losses/total"]
    assert list(frame["status"]) == ["agree", "missing", "rounding"]
    assert frame["max_abs"].isna().tolist() == [False, True, False]
    assert frame["at"][0] == (0, 1)


def test_the_frame_of_nothing_has_the_columns() -> None:
    frame = comparison().to_frame()
    assert frame.empty
    assert "tap" in frame.columns
