import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from parity.verdict.result import Comparison, TapResult, Verdict
from reports.page.entries import MOST_STEPS
from reports.page.html import Picture
from reports.page.page import PartPictures, report_page, summary_page
from reports.tables.comparison import STEP_PARTS
from reports.tables.summary import Part

Planted = Callable[[str], Comparison]

PICTURE = Picture(b"\x89PNG", "png", 'what "it" <shows>')
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and words of a page, checking that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words += data

    def values(self, attribute: str) -> list[str]:
        return [str(found[attribute]) for _, found in self.tags if attribute in found]


def page(comparison: Comparison) -> Page:
    return Page(
        report_page(
            comparison,
            PartPictures([PICTURE], [PICTURE], ["No rendering: <none>."]),
            commands=["p2m-parity run <coarse>"],
        )
    )


def test_needs_nothing_but_itself(each: Comparison) -> None:
    found = page(each)
    assert not {tag for tag, _ in found.tags} & {"link", "iframe", "object", "form", "base"}
    assert all(source.startswith("data:image/png;base64,") for source in found.values("src"))
    assert all(link.startswith("#") for link in found.values("href"))
    assert not [name for _, attributes in found.tags for name in attributes if name[:2] == "on"]


def test_the_policy_admits_its_own_scripts_only(each: Comparison) -> None:
    text = report_page(each, PartPictures([PICTURE]))
    (policy,) = [value for value in Page(text).values("content") if "default-src" in value]
    assert policy.startswith("default-src 'none';")
    (admitted,) = [part for part in policy.split("; ") if part.startswith("script-src")]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(found.encode()).digest()) for found in scripts]
    assert admitted.split()[1:] == [f"'sha256-{digest.decode()}'" for digest in digests]
    assert len(scripts) == 1  # without samples there is nothing to plot


def test_the_data_are_the_entries_of_the_report(each: Comparison) -> None:
    text = report_page(each, PartPictures())
    (data,) = re.findall(r'<script type="application/json" id="data-0">(.*?)</script>', text)
    found = json.loads(data)["entries"]
    report = each.to_json()
    for shown, entry in zip(
        found, report["taps"] + report["losses"] + report["gradients"], strict=True
    ):
        names = {name for name in entry if name not in ("tap", "note")}
        assert {name: shown[name] for name in names} == {name: entry[name] for name in names}


def test_cells_hold_the_numbers_of_the_report(each: Comparison) -> None:
    found = page(each)
    cells: dict[str, dict[str, str]] = {}
    for tag, attributes in found.tags:
        if tag == "tr" and "data-entry" in attributes:
            row = cells.setdefault(str(attributes["data-entry"]), {})
        elif tag == "td" and attributes.get("data-value") is not None and cells:
            row[str(attributes.get("data-head"))] = str(attributes["data-value"])
    report = each.to_json()
    entries = report["taps"] + report["losses"] + report["gradients"]
    assert len(cells) == len(entries)
    heads = {"max |Δ|": "max_abs", "reference": "reference", "candidate": "candidate"}
    for index, entry in enumerate(entries):
        row = cells[str(index)]
        for head, name in {**heads, "rms rel": "rms_rel", "#": "order"}.items():
            expected = entry[name]
            if expected is None:
                assert head not in row
            elif isinstance(expected, str):
                assert row[head] == expected
            else:
                assert float(row[head]) == expected


def test_links_lead_somewhere(each: Comparison) -> None:
    found = page(each)
    names = found.values("id")
    assert len(set(names)) == len(names)
    assert {link[1:] for link in found.values("href")} <= set(names)


def test_verdict_and_divergence_come_first(planted: Planted) -> None:
    words = page(planted("differ")).words
    verdict = words.index("coarse: differ, first at graph_conv_blk1_3_layer_3 (86")
    divergence = words.index("21 earlier taps agree: the first divergence is here")
    assert verdict < divergence < words.index("cnn.conv2d_1") < words.index("Difference by tap")


def test_every_entry_has_its_row(each: Comparison) -> None:
    found = page(each)
    status = [name for name in found.values("class") if name.startswith("status status-")]
    legend = len({entry.status for entry in each.entries})
    expected = [f"status status-{entry.status.value}" for entry in each.entries]
    assert status[legend:] == expected


def test_status_is_told_in_words(planted: Planted) -> None:
    comparison = planted("differ")
    assert page(comparison).words.count("inherited") >= 64


def test_names_stay_text(planted: Planted) -> None:
    found = page(planted("hostile"))
    assert {tag for tag, _ in found.tags} <= {
        "html", "head", "meta", "title", "style", "body", "a", "main", "h1", "h2", "div", "p",
        "strong", "pre", "figure", "img", "figcaption", "table", "thead", "tbody", "tr", "th", "td",
        "ul", "li", "span", "details", "summary", "section", "label", "input", "script", "h3", "h4",
        "svg", "g", "rect", "text", "path",
    }  # fmt: skip
    for name in ("<script>alert(1)</script>", "{{ 7 * 7 }}", "[red]x", "a & b \"quoted\" 'name'"):
        assert found.words.count(name) >= 3
    for name in ("\\x1b[31mred\\x07", "\\u202egnirts", "lone \\udcff surrogate"):
        assert name in found.words


def test_pictures_have_words(planted: Planted) -> None:
    found = page(planted("agree"))
    assert [value for value in found.values("alt") if value] == [PICTURE.caption] * 2


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            "differ",
            "Judged by each layer alone on what the runs recorded, in float64 and in float32.",
        ),
        ("missing", "In one trace only"),
        ("missing", "Not requested"),
        ("nothing", "There is no tap to show."),
        ("nothing", "no tap matches --taps 'zzz*'"),
        ("hostile", "Declared absent by a backend"),
        ("trained", "gradients/meshnetmvp2m/pixel2mesh/cnn/conv2d_6/W:0"),
        ("agree", "No rendering: <none>."),
        ("agree", "p2m-parity run <coarse>"),
    ],
)
def test_says(planted: Planted, state: str, words: str) -> None:
    assert words in page(planted(state)).words


def test_unequal_weights_are_marked(planted: Planted) -> None:
    assert page(planted("differ")).values("class").count("unequal") == 1
    assert "unequal" not in page(planted("agree")).values("class")


def test_the_first_divergence_is_marked_once(planted: Planted) -> None:
    classes = page(planted("differ")).values("class")
    assert classes.count("first") == 1
    assert classes.count("node node-differ diverges") == 1
    assert "first" not in page(planted("agree")).values("class")


@pytest.mark.parametrize(
    ("field", "heading"),
    [("local_roundings", "own error (roundings)"), ("float64_roundings", "float64 (roundings)")],
)
def test_a_judge_s_numbers_have_a_column_where_there_are_some(
    planted: Planted, field: str, heading: str
) -> None:
    comparison = planted("agree")
    assert heading not in page(comparison).words

    class Judged(TapResult):
        """An entry of a judge that measures ``field``."""

    taps = tuple(Judged(**vars(tap)) for tap in comparison.taps)
    object.__setattr__(taps[3], field, 1234.5)
    assert heading in page(replace(comparison, taps=taps)).words
    assert "1234.5" in page(replace(comparison, taps=taps)).values("data-value")


def test_summary_links_each_report(planted: Planted) -> None:
    parts = [
        Part("plane, coarse", planted("agree"), "plane/coarse"),
        Part("<b>", planted("hostile"), 'a b/"><script>'),
        Part("alone", planted("missing"), ""),
    ]
    pictures = [PartPictures([PICTURE], [PICTURE]) for _ in parts]
    text = summary_page(parts, pictures, title="<i>demo</i>", commands=["p2m-parity demo"])
    found = Page(text)
    links = [link for link in found.values("href") if not link.startswith("#")]
    assert len(links) == 4  # each in the overview and after its part
    assert set(links) == {"plane/coarse/report.html", "a%20b/%22%3E%3Cscript%3E/report.html"}
    assert [attributes for tag, attributes in found.tags if tag == "script"] == [
        {"type": "application/json", "id": f"data-{number}"} for number in range(3)
    ] + [{}]
    assert "differ, first at <script>alert(1)</script> of <b> (3 comparisons" in found.words
    assert {link[1:] for link in found.values("href") if link.startswith("#")} <= set(
        found.values("id")
    )


def test_training_steps_have_a_row_each(planted: Planted) -> None:
    summary = SimpleNamespace(
        step=1, total=(0.5, 0.25), statuses={"agree": 3, "differ": 1}, optimiser="<b>Adam</b>",
        worst=dict.fromkeys(STEP_PARTS, ("losses/total", 0.125)),
    )  # fmt: skip
    taps = planted("differ").taps
    step = replace(taps[21], tap="steps/1/weights/KEY")
    comparison = replace(
        planted("agree"),
        verdict=Verdict.DIFFER,
        first_divergence="steps/1/weights/KEY",
        steps=(step,) * 1000,
        step_summaries=(summary,),
    )
    found = page(comparison)
    shown = len([name for name in found.values("data-entry") if name])
    assert shown == 2 * 86 + MOST_STEPS  # taps in graph and table, the steps that say most
    assert "The 300 of 1,000 entries that say most; report.json has them all." in found.words
    assert "3 agree, 1 differ" in found.words
    assert "<b>Adam</b>" in found.words
    assert "steps/1/weights/KEY  differ" in found.words
    assert {link[1:] for link in found.values("href")} <= set(found.values("id"))
