"""The faults command: list, figures, files, exit status, going on after an interruption."""

import csv
import json
from pathlib import Path

import pytest

from commands.actions.faults import JOURNAL, _Journal
from parity_tests.commands.cli import assert_trouble, p2m
from studies.faults.verdict_judge import VerdictJudge
from weight_conversion.errors import InputError

ONE = "drop.relu.coarse.conv2d_1"
"""A fault in the first layer, which is judged at once."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "report"
    done = p2m("faults", "--only", ONE, "--out", folder, "--json")
    assert done.status == 0, done.stderr
    (folder / "stdout.json").write_text(done.stdout)
    return folder


def test_json_has_the_contracts_keys(report: Path) -> None:
    value = json.loads((report / "stdout.json").read_text())
    assert value["recall"] == 1.0
    assert value["false_alarms"] == 0
    assert value["localised_exactly"] == 1.0
    assert value["harmless"] == []
    (fault,) = value["faults"]
    assert fault["id"] == ONE
    assert fault["detected"] is True
    assert fault["first_divergence"] == fault["expected"] == "cnn.conv2d_1"
    assert (fault["operand"], fault["operand_named"]) == ("activation", "confirmed")
    assert value["operands"]["confirmed"] == 1


def test_float32_alone(tmp_path: Path) -> None:
    """As of a port that cannot run in float64; what is resumed must be of the same judge."""
    asked = ("faults", "--only", ONE, "--out", tmp_path, "--no-float64")
    done = p2m(*asked, "--json")
    assert done.status == 0, done.stderr
    (fault,) = json.loads(done.stdout)["faults"]
    assert fault["first_divergence"] == "cnn.conv2d_1"
    assert fault["operand"] == "activation"
    (tmp_path / JOURNAL).write_text(json.dumps({"judge": VerdictJudge().name}) + "\n")
    assert_trouble(p2m(*asked, "--resume"), "was judged by", "verdict without float64")


def test_the_tables_say_the_same(report: Path) -> None:
    assert json.loads((report / "faults.json").read_text()) == json.loads(
        (report / "stdout.json").read_text()
    )
    with (report / "faults.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["id"], row["stage"], row["verdict"]) == (ONE, "coarse", "differ")
    text = (report / "faults.md").read_text("utf-8")
    assert f"| {ONE} |" in text
    assert "found: 1 of 1 (100.0%) faults" in text
    assert not (report / "judged.jsonl").exists()


def test_an_interrupted_run_goes_on_with_what_is_left(tmp_path: Path) -> None:
    """What stands in the journal is not judged again: here it says that a fault was missed."""
    folder = tmp_path / "report"
    folder.mkdir()
    entry = {"kind": "fault", "id": ONE, "stage": "coarse", "verdict": "agree",
             "identical": False}  # fmt: skip
    first = json.dumps({"judge": VerdictJudge().name})
    journal = folder / "judged.jsonl"
    journal.write_text(f'{first}\n{json.dumps(entry)}\n{{"kind": "fau')
    done = p2m("faults", "--only", ONE, "--out", folder, "--resume")
    assert done.status == 1, done.stderr
    assert f"missed: {ONE}" in done.stdout
    assert not journal.exists()


def test_the_list_is_printed_without_judging(tmp_path: Path) -> None:
    done = p2m("faults", "--list", "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    value = json.loads(done.stdout)
    assert len(value["faults"]) >= 60
    assert len(value["harmless"]) >= 30
    assert all(each["expected"] and each["shows_in"] for each in value["faults"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "absent"), ("--only", "absent", "faults --list")),
        (("--only", ONE, "--out", "a-file"), ("a-file", "a folder")),
    ],
)
def test_wrong_arguments(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("kept")
    assert_trouble(p2m("faults", *arguments, cwd=tmp_path), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]
    assert (tmp_path / "a-file").read_text() == "kept"


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"judged\.jsonl: no such file"):
        _Journal(tmp_path, resume=True, judge="verdict")


def test_a_journal_of_another_judge_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"judge": "another"}\n')
    with pytest.raises(InputError, match=r"was judged by .*another"):
        _Journal(tmp_path, resume=True, judge="verdict")
    assert (tmp_path / JOURNAL).read_text() == '{"judge": "another"}\n'


def test_the_small_form_finds_all_and_nothing_else(tmp_path: Path) -> None:
    """The marked faults and variations with the verdict itself as the judge."""
    done = p2m("faults", "--small", "--out", tmp_path / "report", "--json")
    value = json.loads(done.stdout)
    assert value["recall"] == 1.0
    assert value["false_alarms"] == 0
    assert value["localised_exactly"] == 1.0
    assert value["operands_right"] >= 0.9
    assert value["operands"]["confirmed wrong"] == value["operands"]["hinted wrong"] == 0
    assert done.status == 0
