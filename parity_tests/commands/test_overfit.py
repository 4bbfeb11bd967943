"""Overfitting: what it writes, and going on after an interruption, to the bit."""

import csv
import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from inputs.demo import demo_item_path
from parity_tests.commands.cli import assert_trouble, p2m, p2m_process
from weight_conversion.formats import load_weights

PLANE = demo_item_path("plane")
TRUTH = PLANE / "model_normal.xyz"
ARGUMENTS = ("overfit", "coarse", "--item", PLANE, "--ground-truth", TRUTH, "--frozen-cnn",
             "--learning-rate", "3e-4", "--save-every", "2")  # fmt: skip
STEPS = "4"
"""Saved after the second and the last, so that one that is stopped after the third goes on."""
TERMS = [f"{term}_{block}" for block in (1, 2, 3)
         for term in ("chamfer", "edge", "normal", "laplace", "move")]  # fmt: skip


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overfit") / "whole"
    done = p2m_process(*ARGUMENTS, "--steps", STEPS, "--out", folder)
    assert done.status == 0, done.stderr
    # Nor does any framework say anything: TensorBoard would load TensorFlow, which does.
    (line,) = done.stderr.splitlines()
    assert line.startswith("p2m-parity: note: step 2: 36 of the 36 vertices without six neighbours")
    return folder


def test_the_log_has_every_term_of_every_step(uninterrupted: Path) -> None:
    found = rows(uninterrupted)
    assert [int(row["step"]) for row in found] == [1, 2, 3, 4]
    assert set(found[0]) == {"step", "total", "decay", *TERMS}
    assert float(found[-1]["total"]) < float(found[0]["total"])
    assert all(np.isfinite(float(value)) for row in found for value in row.values())


def test_the_mesh_is_looked_at_as_it_goes(uninterrupted: Path) -> None:
    with (uninterrupted / "mesh.csv").open(newline="") as stream:
        looks = list(csv.DictReader(stream))
    assert [row["step"] for row in looks] == ["2", "4"]
    assert set(looks[0]) == {"step", "spikes", "irregular_spikes", "mode_strength"}
    (events,) = uninterrupted.glob("tensorboard/events*")
    content = events.read_bytes()
    assert content.count(b"\x89PNG\r\n") == 2
    assert content.count(b"mesh/mode_strength") == 2


def test_the_newest_weights_are_there_in_both_formats(uninterrupted: Path) -> None:
    assert {path.name for path in uninterrupted.glob("step-*")} == {
        "step-000004.safetensors",
        "step-000004.index",
        "step-000004.data-00000-of-00001",
    }
    first = load_weights(uninterrupted / "step-000004.safetensors").arrays
    second = load_weights(uninterrupted / "step-000004").arrays
    assert all(np.array_equal(first[key], second[key]) for key in first)
    (events,) = uninterrupted.glob("tensorboard/events*")
    assert events.stat().st_size > 4 * len(TERMS) * 20
    assert (uninterrupted / "mesh.obj").stat().st_size > 100_000


def test_killed_and_resumed_is_the_same_to_the_bit(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    program = "from commands.main import main; main()"
    words = [str(word) for word in (*ARGUMENTS, "--steps", STEPS, "--out", folder)]
    process = subprocess.Popen([sys.executable, "-c", program, *words])
    log, end = folder / "log.csv", time.monotonic() + 300
    while time.monotonic() < end and not (log.exists() and len(log.read_text().splitlines()) > 3):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "step-000004.safetensors").exists()
    # In a process as the others: what tests before this one did with threads moves last bits.
    done = p2m_process(*ARGUMENTS, "--steps", STEPS, "--out", folder, "--resume")
    assert done.status == 0, done.stderr
    expected = load_weights(uninterrupted / "step-000004.safetensors").arrays
    found = load_weights(folder / "step-000004.safetensors").arrays
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    assert rows(folder) == rows(uninterrupted)


def test_a_run_is_not_overwritten_nor_continued_as_another(uninterrupted: Path) -> None:
    assert_trouble(
        p2m(*ARGUMENTS, "--steps", STEPS, "--out", uninterrupted),
        "holds a training run",
        "--resume",
    )
    other = p2m(*ARGUMENTS, "--seed", "1", "--steps", "8", "--out", uninterrupted, "--resume")
    assert_trouble(other, "training-state.npz", "seed")
    assert len(rows(uninterrupted)) == 4


def test_tensorflow_takes_the_same_steps(uninterrupted: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    done = p2m(*ARGUMENTS, "--steps", "2", "--backend", "tf", "--out", tmp_path / "tf")
    assert done.status == 0, done.stderr
    for ours, theirs in zip(rows(uninterrupted), rows(tmp_path / "tf"), strict=False):
        assert float(ours["total"]) == pytest.approx(float(theirs["total"]), rel=1e-4)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--loss-weight", "chamfer"), ("NAME=VALUE",)),
        (("--loss-weight", "beauty=1"), ("beauty", "chamfer")),
        (("--learning-rate", "nan"), ("learning rate",)),
        (("--weights", "absent.pt"), ("absent.pt",)),
    ],
)
def test_wrong_settings(extra: tuple[str, ...], words: tuple[str, ...], tmp_path: Path) -> None:
    done = p2m(*ARGUMENTS, *extra, "--steps", "2", "--out", tmp_path / "out", cwd=tmp_path)
    assert_trouble(done, *words)
    assert not (tmp_path / "out").exists()
