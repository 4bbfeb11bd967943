"""``docs/examples/overfits.py``: which steps of which folder count."""

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A run of 120 steps looked at every 50, and one of 30 that went on from its step 100."""
    for name, steps, first in (("first", 120, 1000.0), ("second", 30, 10.0)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [f"{step},{first / step}\r\n" for step in range(1, steps + 1)]
        (folder / "log.csv").write_text("step,total\r\n" + "".join(rows), newline="")
    looks = "step,spikes,irregular_spikes,mode_strength\r\n50,3,2,0.5\r\n100,1,1,0.25\r\n"
    (tmp_path / "first" / "mesh.csv").write_text(f"{looks}120,9,9,1.0\r\n", newline="")
    return tmp_path


def summed_up(folder: Path, *runs: str) -> tuple[list[dict], str]:
    main = runpy.run_path(str(ROOT / "docs" / "examples" / "overfits.py"))["main"]
    arguments = [*runs, "--out", str(folder / "runs.json"), "--figure", str(folder / "runs.png")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert (folder / "runs.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / "runs.json").read_text()), done.stdout


def test_one_run(folders: Path) -> None:
    (run,), said = summed_up(folders, f"alone={folders / 'first'}")
    assert (run["steps"], run["total_first"]) == (120, 1000.0)
    assert [row["step"] for row in run["losses"]] == [1, 2, 5, 10, 20, 50, 100, 120]
    assert [row["step"] for row in run["mesh"]] == [50, 100, 120]
    assert said == "alone: 120 steps, total 1000 to 8.333, 9 irregular spikes\n"


def test_one_that_went_on_in_another_folder(folders: Path) -> None:
    (run,), said = summed_up(folders, f"both={folders / 'first'}@100+{folders / 'second'}")
    assert run["steps"] == 130
    assert [row["step"] for row in run["losses"]] == [1, 2, 5, 10, 20, 50, 100, 130]
    assert [row["step"] for row in run["mesh"]] == [50, 100]
    assert run["total_last"] == pytest.approx(10 / 30)
    assert said.endswith("1 irregular spikes\n")


def test_a_run_that_was_not_looked_at(folders: Path) -> None:
    (run,), said = summed_up(folders, f"blind={folders / 'second'}")
    assert run["mesh"] == []
    assert said.endswith("not looked at\n")
