"""A user's own port from the command line: one line where it fails, one JSON value where not."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity_tests.commands.cli import Outcome, assert_trouble, p2m
from parity_tests.parity.traces.ports import Written, plain
from weight_conversion.formats import WeightSet, save_weights

PLANE = demo_item_path("plane")
ONE_TAP = ("--weights", "c.npz", "--item", PLANE, "--taps", "cnn.conv2d_1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ports") / "c.npz"
    save_weights(path, WeightSet("coarse", seeded_weights("coarse"), 1, "seed 0"))
    return path


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    shutil.copy(weights, tmp_path)
    return tmp_path


def trace(port: Written, *options: str) -> Outcome:
    return p2m("trace", "coarse", "--backend", port.name, *ONE_TAP, "--out", "t.h5", *options,
               cwd=port.path.parent)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("np.zeros(2) @ np.zeros(3)  # here", ("its run() failed at {here} after tap cnn.conv2d_1",
                                               "(ValueError: matmul")),
        ("raise SystemExit(0)  # here", ("its run() failed at {here}", "(SystemExit: 0)")),
        ("inputs['mesh'] -= inputs['mesh'].mean(0)  # here",
         ("its run() writes to a read-only array at {here}", "copy an array before changing it")),
    ],
)  # fmt: skip
def test_a_port_that_fails_is_2_in_one_line(
    line: str, words: tuple[str, ...], folder: Path
) -> None:
    port = plain(folder, run=line)
    assert_trouble(trace(port), *(word.format(here=port.here) for word in words))
    assert {path.name for path in folder.iterdir()} <= {"c.npz", "plain_port.py", "__pycache__"}


def test_what_a_port_prints_does_not_break_json(folder: Path) -> None:
    port = plain(folder, run="print('noise')", factory="print('noise')", top="print('noise')")
    done = p2m("run", "coarse", "--reference", "torch", "--candidate", port.name, *ONE_TAP,
               "--no-float64", "--json", "--out", "out", cwd=folder)  # fmt: skip
    assert done.status == 1, done.stderr
    assert json.loads(done.stdout)["first_divergence"] == "cnn.conv2d_1"
    assert "noise" in done.stderr


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ({"factory": "if dtype == 'float64': raise TypeError('narrow')  # here"},
         "its factory failed at {here} (TypeError: narrow)"),
        ({"dtype": "np.float32"}, "tap cnn.conv2d_1: float32 in the run in float64 ({file}:7)"),
    ],
)  # fmt: skip
def test_what_only_the_float64_run_cannot_do_is_noted(
    lines: dict[str, str], reason: str, folder: Path
) -> None:
    port = plain(folder, **lines)
    done = trace(port)
    assert done.status == 0, done.stderr
    here = port.here if "factory" in lines else ""
    with h5py.File(folder / "t.h5") as file:
        assert set(file["taps"]) == {"cnn.conv2d_1"}
        assert "float64" not in file
        assert file.attrs["float64_missing"] == reason.format(here=here, file=port.path)
