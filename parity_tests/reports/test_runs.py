import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from parity.verdict.result import Comparison
from reports.tables.runs import (
    changes,
    labels,
    read_run,
    runs_json,
    same_numbers,
    unequal_settings,
)
from reports.tables.summary import Part, summary_json
from reports.text.runs_text import csv_text, markdown_text, page_text, sentences, show
from weight_conversion.errors import InputError

Planted = Callable[[str], Comparison]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A run's folder: its report.json, and those of its parts."""

    def run(name: str, *comparisons: Comparison, alone: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        parts = [Part(found.stage, found, found.stage) for found in comparisons]
        value = comparisons[0].to_json() if alone else summary_json(parts)
        (folder / "report.json").write_text(json.dumps(value))
        if not alone:
            for part in parts:
                (folder / part.link).mkdir()
                text = json.dumps(part.comparison.to_json())
                (folder / part.link / "report.json").write_text(text)
        return folder

    return run


def read(*folders: Path) -> list[Any]:
    return [read_run(path, label) for path, label in zip(folders, labels(folders), strict=True)]


def test_the_same_twice_has_nothing_to_tell(write: Write, planted: Planted) -> None:
    runs = read(write("a", planted("differ")), write("b", planted("differ")))
    assert changes(runs) == []
    assert unequal_settings(runs) == []
    assert same_numbers(runs, 1) == (86, 86)
    assert sentences(runs) == ["b against a: both differ; all 86 entries that both have hold the same numbers"]  # fmt: skip  # noqa: E501


def test_a_fault_is_told_where_it_begins(write: Write, planted: Planted) -> None:
    runs = read(write("before", planted("agree")), write("after", planted("differ")))
    (sentence,) = sentences(runs)
    assert sentence.startswith("after against before: agree became differ; ")
    assert "coarse first diverges at graph_conv_blk1_3_layer_3, before at none" in sentence
    assert "64 agree became inherited; 1 agree became differ" in sentence
    found = changes(runs)
    assert next(change.key[2] for change in found if change.kind == "status") == (
        "graph_conv_blk1_3_layer_3"
    )


def test_a_mended_fault_reads_the_other_way_round(write: Write, planted: Planted) -> None:
    runs = read(write("before", planted("differ")), write("after", planted("agree")))
    assert "differ became agree" in sentences(runs)[0]
    assert "1 differ became agree" in sentences(runs)[0]


@pytest.mark.parametrize(("factor", "noticed"), [(1.0, 0), (1.9, 0), (2.1, 1), (0.4, 1), (0.0, 1)])
def test_a_difference_that_grows_or_shrinks_is_noticed(
    write: Write, planted: Planted, factor: float, noticed: int
) -> None:
    first = planted("agree")
    taps = list(first.taps)
    assert taps[30].max_abs is not None
    taps[30] = replace(taps[30], max_abs=taps[30].max_abs * factor)
    runs = read(write("a", first), write("b", replace(first, taps=tuple(taps))))
    found = changes(runs)
    assert [change.kind for change in found] == ["size"] * noticed
    assert same_numbers(runs, 1)[0] == (86 if factor == 1.0 else 85)


def test_settings_that_changed_are_listed(write: Write, planted: Planted) -> None:
    first = planted("agree")
    candidate = replace(
        first.candidate, device="cuda:0", versions={**first.candidate.versions, "torch": "2.14"}
    )
    runs = read(write("cpu", first), write("gpu", replace(first, candidate=candidate)))
    assert unequal_settings(runs) == [
        ("coarse", "candidate device", ("cpu", "cuda:0")),
        ("coarse", "candidate torch", ("2.13.0", "2.14")),
    ]


def test_a_stage_and_both_are_held_against_each_other(write: Write, planted: Planted) -> None:
    alone = write("alone", planted("agree"))
    both = write("both", planted("agree"), planted("refine"), alone=False)
    runs = read(both, alone)
    assert same_numbers(runs, 1) == (86, 86)
    assert {change.kind for change in changes(runs)} == {"gone"}
    assert unequal_settings(runs) == []
    assert "42 not there any more" in sentences(runs)[0]


def test_parts_that_are_gone_leave_their_settings_unknown(write: Write, planted: Planted) -> None:
    both = write("both", planted("agree"), alone=False)
    (both / "coarse/report.json").unlink()
    assert unequal_settings(read(both, write("b", planted("agree")))) == []


def test_nan_becomes_a_number(write: Write, planted: Planted) -> None:
    runs = read(write("a", planted("nan")), write("b", planted("nan")))
    assert changes(runs) == []
    runs = [runs[0], read(write("c", planted("agree")))[0]]
    change = next(change for change in changes(runs) if change.key[2] == "cnn.conv2d_10")
    assert change.before is not None
    assert change.before["max_abs"] == "NaN"


def test_json_and_csv_hold_the_numbers_of_each_report(write: Write, planted: Planted) -> None:
    folders = write("a", planted("differ")), write("b", planted("trained"))
    runs = read(*folders)
    value = json.loads(json.dumps(runs_json(runs), allow_nan=False))
    rows = list(csv.DictReader(io.StringIO(csv_text(runs))))
    shown = {(row["section"], row["tap"]): row for row in rows}
    listed = {(row["section"], row["tap"]): row for row in value["entries"]}
    for place, folder in enumerate(folders):
        report = json.loads((folder / "report.json").read_text())
        for section in ("taps", "losses", "gradients"):
            for entry in report[section]:
                key = section, entry["tap"]
                assert listed[key]["max_abs"][place] == entry["max_abs"]
                assert float(shown[key][f"{folder.name} max_abs"]) == entry["max_abs"]
                assert shown[key][f"{folder.name} status"] == entry["status"]
    assert {row["tap"] for row in value["changes"]} >= {"losses/total", "losses/chamfer_1"}


@pytest.mark.parametrize("state", ["hostile", "missing", "invalid", "nothing", "flips"])
def test_every_state_has_every_form(write: Write, planted: Planted, state: str) -> None:
    runs = read(write("a", planted("agree")), write("b", planted(state)))
    console = Console(width=100)
    with console.capture() as captured:
        show(runs, console)
    text = captured.get()
    page = page_text(runs, commands=["p2m-parity report a b"])
    for form in (text, page, markdown_text(runs)):
        assert "agree became" in form
    assert "<script>alert(1)" not in page
    assert "\x1b]" not in text
    assert "\u202e" not in text + page + markdown_text(runs)


def test_many_runs_are_held_against_the_first(write: Write, planted: Planted) -> None:
    runs = read(*(write(name, planted(name)) for name in ("agree", "differ", "missing")))
    assert [line.split(":")[0] for line in sentences(runs)] == [
        "differ against agree",
        "missing against agree",
    ]


def test_labels_tell_folders_of_one_name_apart() -> None:
    assert labels([Path("x/a"), Path("y/b")]) == ["a", "b"]
    assert labels([Path("x/out"), Path("y/out")]) == ["x/out", "y/out"]
    assert labels([Path("x/out"), Path("x/out")]) == ["x/out (1)", "x/out (2)"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no readable JSON"),
        ("[]", "schema 'list'; expected 'p2m-parity-report/2'"),
        ('{"schema": "other/1"}', "schema 'other/1'"),
        ('{"schema": "p2m-parity-report/2"}', "verdict None; expected one of agree"),
        ('{"schema": "p2m-parity-report/2", "verdict": "agree", "taps": 3}', "taps is no list"),
        (
            '{"schema": "p2m-parity-report/2", "verdict": "agree", "taps": [{"tap": 3}]}',
            "taps holds what is no entry",
        ),
        (
            '{"schema": "p2m-parity-report/2", "verdict": "agree",'
            ' "taps": [{"tap": "a", "status": "fine"}]}',
            "status 'fine'; expected one of agree",
        ),
        ('{"schema": "p2m-parity-report/2", "parts": [1]}', "a part that is no object"),
    ],
)
def test_what_is_no_report_is_trouble(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError) as error:
        read_run(tmp_path, "a")
    assert words in str(error.value)
    assert "report.json" in str(error.value)
