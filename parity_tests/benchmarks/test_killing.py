"""Commands killed at random moments, a few of them; the harness finds a writer that tears."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import commands.actions.report
from benchmarks.killing import TornError, files, of_snapshots, study

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def test_nothing_is_torn_and_the_next_run_succeeds() -> None:
    for found in study(6, 1, ("convert", "report")):
        assert found["faults"] == []
        assert found["kills"] == found["next run succeeded"] == 3
        assert found["old"] + found["new"] + found["none"] == 3


@pytest.mark.slow
def test_a_run_and_a_training_run_too() -> None:
    for found in study(4, 2, ("run", "overfit")):
        assert found["faults"] == []
        assert found["kills"] == found["next run succeeded"] == 2


def test_a_writer_that_tears_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def in_place(directory: Path, **_: Any) -> Iterator[Path]:
        directory.mkdir(exist_ok=True)
        yield directory

    monkeypatch.setattr(commands.actions.report, "staging", in_place)
    (found,) = study(8, 1, ("report",))
    assert any("torn" in fault for fault in found["faults"])


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, "none"),
        ({"a": "0", "m": "0"}, "old"),
        ({"a": "1", "b": "1", "m": "1"}, "new"),
        ({"a": "1"}, "none"),
        ({"a": "0", "b": "1"}, None),
        ({"a": "0", "m": "1"}, None),
        ({"a": "1", "m": "1"}, None),
    ],
)
def test_states(found: dict[str, str], state: str | None, tmp_path: Path) -> None:
    snapshots = []
    for name, contents in {
        "0": {"a": "0", "m": "0"}, "1": {"a": "1", "b": "1", "m": "1"}, "out": found,
    }.items():  # fmt: skip
        (tmp_path / name).mkdir()
        for file, text in contents.items():
            (tmp_path / name / file).write_text(text)
        snapshots.append(files(tmp_path / name))
    judge = of_snapshots(snapshots[:2], "m")
    if state is None:
        with pytest.raises(TornError):
            judge(tmp_path, 0)
    else:
        assert judge(tmp_path, 0) == state
