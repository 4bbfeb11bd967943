"""A user's own port from the command line: one line where it fails, one JSON value where not."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity_tests.commands.cli import Outcome, assert_trouble, p2m
from parity_tests.parity.traces.ports import Written, plain, write
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


COUNTING = """
from pathlib import Path
from torch_impl.backend import factory as torch_factory

class Counting:
    def __init__(self, *choice):
        self.backend = torch_factory(*choice)
        self.losses = self.backend.losses

    def run(self, *given):
        Path("was_run").touch()
        return self.backend.run(*given)
"""
TRUTH = ("--ground-truth", PLANE / "model_normal.xyz")


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("import absent", (), ("cannot be imported", "absent")),
        ("def factory(*choice):\n    raise ValueError('no')", (), ("its factory failed", "no")),
        ("class factory:\n    def __init__(*choice): pass", (), ("has no run()",)),
        ("class factory:\n    def __init__(*choice): pass\n    def run(*given): pass", TRUTH,
         ("has no losses()", "a backend that computes losses")),
        ("class factory:\n    def __init__(*choice): pass\n    def run(*given): pass\n"
         "    def losses(*given): pass", (*TRUTH, "--gradients"), ("has no gradients()",)),
        ("class factory:\n    def __init__(*choice): pass\n    def run(*given): pass\n"
         "    def losses(*given): pass", (*TRUTH, "--steps", "1"),
         ("cannot take training steps",)),
    ],
    ids=["import", "factory", "run", "losses", "gradients", "steps"],
)  # fmt: skip
def test_what_is_wrong_with_a_port_is_said_before_the_reference_is_run(
    source: str, options: tuple[object, ...], words: tuple[str, ...], folder: Path
) -> None:
    write(folder, "wrong_port", source)
    write(folder, "counting", COUNTING)
    done = p2m("run", "coarse", "--reference", "counting:Counting", "--candidate",
               "wrong_port:factory", *ONE_TAP, *options, "--out", "out", cwd=folder)  # fmt: skip
    assert_trouble(done, "wrong_port:factory", *words)
    assert not (folder / "was_run").exists()
    assert not (folder / "out").exists()


def test_the_reference_of_a_right_port_is_run(folder: Path) -> None:
    """So that the test above can fail."""
    write(folder, "counting", COUNTING)
    done = p2m("run", "coarse", "--reference", "counting:Counting", "--candidate", "torch",
               *ONE_TAP, "--no-float64", "--out", "out", cwd=folder)  # fmt: skip
    assert done.status == 0, done.stderr
    assert (folder / "was_run").exists()


def test_what_is_wrong_in_a_later_stage_is_said_before_the_first_is_run(folder: Path) -> None:
    refine = WeightSet("refine", seeded_weights("refine"), 1, "seed 0")
    save_weights(folder / "r.npz", refine)
    write(folder, "counting", COUNTING)
    write(folder, "coarse_port", "from counting import Counting\n\ndef factory(stage, *rest):\n"
          "    if stage != 'coarse':\n        raise NotImplementedError(stage)\n"
          "    return Counting(stage, *rest)\n")  # fmt: skip
    done = p2m("run", "both", "--reference", "torch", "--candidate", "coarse_port:factory",
               "--weights", "c.npz", "--weights", "r.npz", "--item", PLANE, "--out", "out",
               cwd=folder)  # fmt: skip
    assert_trouble(done, "coarse_port:factory", "NotImplementedError", "refine")
    assert not (folder / "was_run").exists()
