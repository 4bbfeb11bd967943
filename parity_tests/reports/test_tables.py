import csv
import io
import json
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from parity.verdict.result import Comparison, TapResult
from reports.tables.comparison import (
    csv_text,
    json_text,
    markdown,
    markdown_text,
)

Planted = Callable[[str], Comparison]


def rows(comparison: Comparison) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(comparison))))


def test_csv_has_a_row_for_every_entry(each: Comparison) -> None:
    found = rows(each)
    assert [row["tap"] for row in found] == [entry.tap for entry in each.entries]
    assert [row["status"] for row in found] == [entry.status.value for entry in each.entries]


def test_csv_numbers_read_back_exactly(planted: Planted) -> None:
    comparison = planted("differ")
    for row, tap in zip(rows(comparison), comparison.taps, strict=True):
        assert float(row["max_abs"]) == tap.max_abs
        assert float(row["candidate"]) == tap.candidate
        assert row["shape"] == "x".join(map(str, tap.shape))
        assert json.loads(row["at"]) == list(tap.at or ())
    assert all(row["kind"] == "tap" for row in rows(comparison))


def test_csv_tells_nan_from_nothing(planted: Planted) -> None:
    nan = rows(planted("nan"))
    assert (nan[9]["max_abs"], nan[9]["candidate"], nan[10]["max_abs"]) == ("NaN", "NaN", "inf")
    missing = rows(planted("missing"))[30]
    assert (missing["max_abs"], missing["shape"], missing["at"]) == ("", "", "")


def test_csv_has_every_field_of_a_result(planted: Planted) -> None:
    (first, *_) = rows(planted("agree"))
    assert set(first) == {*TapResult.__dataclass_fields__, "kind"}


def test_csv_kinds(planted: Planted) -> None:
    kinds = [row["kind"] for row in rows(planted("trained"))]
    assert kinds == ["tap"] * 86 + ["loss"] * 2 + ["gradient"] * 12


def test_json_is_strict_and_whole(each: Comparison) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    text = json_text(each.to_json())
    value = json.loads(text, parse_constant=refuse)
    assert text.isascii()
    assert value["verdict"] == each.verdict.value
    assert [tap["tap"] for tap in value["taps"]] == [tap.tap for tap in each.taps]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def rendered(text: str) -> Tags:
    return Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def test_markdown_is_a_table_a_tap(each: Comparison) -> None:
    page = rendered(markdown_text(each))
    assert page.found[0][0] == "h1"
    taps = sum(tag == "tr" for tag, _ in page.found)
    assert taps >= len(each.entries)
    assert f"{each.stage}: {each.verdict.value}" in page.words


def test_markdown_keeps_names_text(planted: Planted) -> None:
    text = markdown_text(planted("hostile"), commands=["```", "<script>", "a\nb"])
    page = rendered(text)
    tags = {tag for tag, _ in page.found}
    assert tags <= {
        "h1", "h2", "p", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "ul", "li",
    }  # fmt: skip
    for name in ("[red]x", "<script>alert(1)</script>", "a|b`c`*d*[e](http://f)", "$\\frac{1}$"):
        assert page.words.count(name) >= 2
    heading = next(line for line in text.splitlines() if line.startswith("| #"))
    columns = heading.count("|") - 1
    names = [line for line in text.splitlines() if line.startswith(("| 3 |", "| 12 |"))]
    for line in names:
        assert line.replace("\\|", "").count("|") - 1 == columns


@pytest.mark.parametrize(
    "name",
    [
        "a|b",
        "*bold*",
        "_x_",
        "`code`",
        "[l](u)",
        "<b>",
        "&lt;",
        "# h",
        "- x",
        "1. x",
        "\\",
        "~~s~~",
    ],
)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    assert rendered(f"word {markdown(name)} word").words.strip() == f"word {name} word"
    for start in ("", "- ", "# "):
        page = rendered(start + markdown(name))
        assert page.words.strip() == name
        assert len(page.found) <= 3  # at most a list, its entry, and the code of a plain name
    assert name in rendered(f"| a |\n|---|\n| {markdown(name)} |").words


@pytest.mark.parametrize("name", ["2.13.0+cpu", "2.21.0", "c+d", "graph_conv_blk1_3_layer_3"])
def test_a_version_is_code_as_other_names_are(name: str) -> None:
    assert markdown(name) == f"`{name}`"


def test_markdown_tells_the_first_divergence(planted: Planted) -> None:
    text = markdown_text(planted("differ"))
    assert "## First divergence\n\n    graph_conv_blk1_3_layer_3  differ  (156, 192)" in text
    assert "not equal" in text
    assert "First divergence" not in markdown_text(planted("agree"))


def test_markdown_links_pictures_and_commands(planted: Planted) -> None:
    text = markdown_text(
        planted("agree"),
        pictures=[("figures/a.png", "what it shows")],
        remarks=["No rendering: no OpenGL."],
        commands=["p2m-parity run coarse"],
    )
    images = [attributes["src"] for tag, attributes in rendered(text).found if tag == "img"]
    assert images == ["figures/a.png"]
    assert "No rendering: no OpenGL." in text
    assert "    p2m-parity run coarse" in text
