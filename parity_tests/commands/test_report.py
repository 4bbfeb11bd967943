import json
from pathlib import Path

import pytest

from parity_tests.commands.cli import assert_trouble, p2m
from parity_tests.reports.conftest import BUILDERS


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "before", tmp_path / "after"
    for folder, state in zip(folders, ("agree", "differ"), strict=True):
        folder.mkdir()
        (folder / "report.json").write_text(json.dumps(BUILDERS[state]().to_json()))
    return folders


def test_text_says_what_changed(runs: tuple[Path, Path]) -> None:
    done = p2m("report", *runs)
    assert done.status == 0, done.stderr
    assert "after against before: agree became differ" in done.stdout


def test_json_is_one_value(runs: tuple[Path, Path]) -> None:
    done = p2m("report", *runs, "--json")
    assert done.status == 0, done.stderr
    value = json.loads(done.stdout)
    assert [run["verdict"] for run in value["runs"]] == ["agree", "differ"]


def test_markdown_for_a_step_summary(runs: tuple[Path, Path]) -> None:
    done = p2m("report", *runs, "--markdown")
    assert done.status == 0, done.stderr
    assert done.stdout.startswith("# Runs side by side\n\n- after against before: agree became")


def test_all_forms_in_a_folder(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = p2m("report", *runs, "--out", tmp_path / "new" / "out")
    assert done.status == 0, done.stderr
    files = {path.name for path in (tmp_path / "new" / "out").iterdir()}
    assert files == {"runs.json", "runs.csv", "runs.md", "runs.html"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["before"], "one run; expected two or more"),
        ([], "Missing argument"),
        (["before", "nowhere"], "nowhere: no such file"),
        (["before", "after", "--json", "--markdown"], "given with --markdown"),
        (["before", "after", "--out", "before/report.json"], "report.json"),
    ],
)
def test_trouble(
    runs: tuple[Path, Path], arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs[0].parent)
    done = p2m("report", *arguments)
    assert_trouble(done, words)
