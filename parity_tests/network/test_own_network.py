"""A network of one's own on the command line and in the pytest suite, and what it reads."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity.traces.backends import BackendChoice
from parity.traces.record import record
from parity.verdict.pair import run_pair
from parity.verdict.result import Verdict
from parity_tests.commands.cli import assert_trouble, p2m, p2m_process
from parity_tests.network import third
from reports.suite.asked import recordings
from weight_conversion.errors import InputError
from weight_conversion.formats import save_weights

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = BackendChoice("parity_tests.network.third:factory")
LAYERS = [row.name for row in third.NETWORK.taps]
pytestmark = pytest.mark.usefixtures("third_network")


def test_inputs_of_another_shape_are_refused() -> None:
    given = {**third.inputs().given, "photos": np.zeros((3, 12, 10, 4), np.float32)}
    with pytest.raises(InputError, match=r"input photos: .*\(3, 12, 10, 4\).*\(2, 12, 10, 4\)"):
        replace(third.inputs(), given=given)


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        (np.zeros(third.PHOTOS), "input photos: float64; expected float32, in either precision"),
        (np.full(third.PHOTOS, np.nan, np.float32), "input photos: NaN or infinity"),
        (np.zeros(third.PHOTOS, np.uint8), "input photos: uint8; expected float32"),
    ],
    ids=["float64", "NaN", "uint8"],
)
def test_inputs_that_no_run_can_be_judged_on_are_refused(photos: np.ndarray, said: str) -> None:
    given = {**third.inputs().given, "photos": photos}
    with pytest.raises(InputError, match=said):
        replace(third.inputs(), given=given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": np.full(30, np.nan, np.float32)},
         "constant graph/far: float32, not all finite"),
        ({"indices": np.zeros((2, 30), np.int64)},
         r"constant graph/far/indices: int64 (2, 30) for values (30,); expected whole numbers"),
        ({"indices": np.zeros((30, 2), np.float32)}, "constant graph/far/indices: float32"),
        ({"values": np.float32(1.0)}, "constant graph/far/indices: int64 (30, 2) for values ()"),
        ({"indices": np.full((30, 2), 28)},
         "constant graph/far: a matrix (29, 29); expected (30, 30) as lift reads; graph/far/shape"),
        ({"indices": np.full((30, 2), -1)}, "graph/far/indices holds an index of no row or column"),
        ({"shape": np.array([30])}, "constant graph/far/shape: int64 (1,); expected two numbers"),
        ({"shape": np.array([20, 20])}, "graph/far/indices holds an index of no row or column"),
    ],
    ids=["NaN", "turned", "float", "scalar", "smaller", "negative", "shape", "beyond"],
)  # fmt: skip
def test_constants_that_are_none_are_refused(change: dict[str, np.ndarray], said: str) -> None:
    far = {"indices": np.stack([np.arange(30)] * 2, axis=1), "values": np.ones(30, np.float32)}
    given = {**third.inputs().given, **{f"graph/far/{k}": v for k, v in {**far, **change}.items()}}
    with pytest.raises(InputError, match=re.escape(said)):
        replace(third.inputs(), given=given)


def test_a_graph_may_end_with_points_without_links() -> None:
    far = {
        "indices": np.stack([np.arange(28)] * 2, axis=1), "values": np.ones(28, np.float32),
        "shape": np.array([30, 30]),
    }  # fmt: skip
    given = {**third.inputs().given, **{f"graph/far/{k}": v for k, v in far.items()}}
    found = run_pair(
        third.weights(), replace(third.inputs(), given=given),
        reference=third.factory, candidate=third.reordered,
    )  # fmt: skip
    assert found.verdict is Verdict.AGREE


def test_the_command_line_knows_a_network_that_is_imported(tmp_path: Path) -> None:
    for side in ("reference", "candidate"):
        record(REFERENCE, third.inputs(), third.weights(), tmp_path / f"{side}.h5")
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "from network import register\nfrom parity_tests.network import third\n"
        "register(third.NETWORK)\n"
    )
    traces = ("compare", "reference.h5", "candidate.h5", "--out", "out")
    unknown = p2m_process(*traces, cwd=tmp_path)
    assert_trouble(unknown, "stage 'gated'", "coarse or refine")
    done = p2m_process("--network", "mine", *traces, cwd=tmp_path)
    assert (done.status, done.stderr) == (0, "")
    assert "--network mine compare" in (tmp_path / "out" / "report.md").read_text()
    assert_trouble(p2m_process("--network", "absent", *traces, cwd=tmp_path), "--network", "absent")
    assert_trouble(
        p2m_process("--network", "json", *traces, cwd=tmp_path), "json registers no network"
    )


@pytest.fixture
def commanded(tmp_path: Path) -> Path:
    """A folder with a module that registers the network and has ports of it, inputs and weights."""
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.append({str(ROOT)!r})\n"
        "from network import register\nfrom parity_tests.network import third\n"
        "from parity_tests.network.third import factory, reordered\n"
        "register(third.NETWORK)\n\n"
        "def padded(stage, dtype, device):\n"
        "    module = third.Gated()\n"
        "    module.first.strided_pad = (1, 1, 1, 1)\n"
        "    return third.port(module, dtype)\n"
    )
    np.savez(tmp_path / "inputs.npz", **third.inputs().given)
    save_weights(tmp_path / "w.npz", third.weights())
    return tmp_path


READS = ("--inputs", "inputs.npz", "--weights", "w.npz")
PORTS = ("--reference", "mine:factory", "--candidate", "mine:reordered")


def test_the_command_line_runs_it(commanded: Path) -> None:
    program = ("--network", "mine")
    done = p2m_process(*program, "run", third.NAME, *READS, *PORTS, "--keep-traces",
                       "--out", "out", cwd=commanded)  # fmt: skip
    assert (done.status, done.stderr) == (0, "")
    assert "gated: agree (7 taps compared" in done.stdout
    again = (commanded / "out" / "report.md").read_text()
    assert "p2m-parity --network mine compare out/reference.h5 out/candidate.h5" in again
    recorded = p2m_process(*program, "trace", third.NAME, *READS, "--backend", "mine:factory",
                           "--out", "t.h5", cwd=commanded)  # fmt: skip
    assert (recorded.status, recorded.stdout, recorded.stderr) == (0, "t.h5\n", "")
    proposed = p2m_process(*program, "propose", "mine:reordered", "--inputs", "inputs.npz",
                           "--out", "map.toml", cwd=commanded)  # fmt: skip
    assert (proposed.status, proposed.stderr) == (0, "")
    assert proposed.stdout.startswith("gated: 7 taps and 13 variables found, 0 to be answered\n")


def suite(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``pytest --p2m-candidate``, the plugin by its name: it may be installed or not."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "reports.pytest_plugin", "-c", os.devnull,
         "--p2m-inputs", "inputs.npz", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


SUITE = ("--p2m-network", "mine", "--p2m-weights", "w.npz", "--p2m-reference", "mine:factory")


def test_the_suite_has_a_test_for_every_tap_of_it(commanded: Path) -> None:
    done = suite(commanded, *SUITE, "--p2m-candidate", "mine:reordered", "-v")
    assert done.returncode == 0, done.stdout
    assert re.findall(r"gated::tap\[(.*)\] PASSED", done.stdout) == LAYERS
    done = suite(commanded, *SUITE, "--p2m-candidate", "mine:padded")
    assert done.returncode == 1, done.stdout
    assert re.findall(r"^FAILED .*::(.*?)(?: - .*)?$", done.stdout, re.M) == ["tap[first]"]
    assert "padding" in done.stdout


def test_a_wrong_option_of_the_suite_is_one_line(commanded: Path) -> None:
    words = ("--p2m-network", "absent", *SUITE[2:], "--p2m-candidate", "mine:factory")
    done = suite(commanded, *words)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, (done.stdout + done.stderr).splitlines())
    assert line.startswith("ERROR: --p2m-candidate: --p2m-network: absent cannot be imported")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "torch"}, "backend torch: it knows coarse and refine, not gated"),
        ({"weights": []}, "--p2m-weights: no gated weights"),
        ({"items": ["plane"]}, "--p2m-inputs: given with --p2m-item"),
        ({"inputs": ["inputs.npz", "inputs.npz"]}, "two of inputs, gated; expected files of"),
    ],
    ids=["reference", "weights", "item", "twice"],
)
def test_what_the_suite_cannot_record_is_refused(
    commanded: Path, change: dict[str, Any], said: str
) -> None:
    ports = f"{third.__name__}:factory"
    given: dict[str, Any] = {
        "candidate": ports, "reference": ports, "items": [], "inputs": ["inputs.npz"],
        "weights": ["w.npz"], "steps": 1, "device": "cpu", **change,
    }  # fmt: skip
    for option in ("inputs", "weights"):
        given[option] = [commanded / name for name in given[option]]
    with pytest.raises(InputError, match=re.escape(said)):
        recordings(**given)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((third.NAME, *READS, *PORTS, "--item", "I"), "--item: given for gated; expected --inputs"),
        ((third.NAME, *READS, *PORTS, "--views", "0,1,2"), "--views: given for gated; expected"),
        ((third.NAME, *READS, *PORTS, "--ground-truth", "t.xyz"), "--ground-truth: given for"),
        ((third.NAME, *READS[2:], *PORTS), "--inputs: not given; expected the arrays that gated"),
        ((third.NAME, "--inputs", "absent.npz", *READS[2:], *PORTS), "absent.npz: no such file"),
        ((third.NAME, "--inputs", "w.npz", *READS[2:], *PORTS), "w.npz: input photos: nothing"),
        ((third.NAME, "--inputs", "part.npz", *READS[2:], *PORTS), "part.npz: constant graph/far"),
        ((third.NAME, *READS, "--candidate", "mine:factory"),
         "backend tf: it knows coarse and refine, not gated; expected module:factory"),
        ((third.NAME, *READS, *PORTS, "--steps", "2"), "--steps: given without --ground-truth"),
        (("coarse", *READS, *PORTS), "w.npz: weights of the gated stage; expected the coarse"),
        (("fourth", *READS, *PORTS), "'fourth' is not one of 'coarse', 'refine', 'both', 'gated'"),
    ],
    ids=["item", "views", "truth", "no inputs", "absent", "weights", "constant", "tf", "steps",
         "coarse", "unknown"],
)  # fmt: skip
def test_what_it_does_not_read_is_refused(
    commanded: Path, words: tuple[str, ...], said: str
) -> None:
    given = third.inputs().given
    part = {name: array for name, array in given.items() if name != "graph/far/values"}
    np.savez(commanded / "part.npz", **part)
    outcome = p2m("run", *words, "--out", "out", cwd=commanded)  # it is registered here already
    assert_trouble(outcome, said)
    assert not (commanded / "out").exists()


def test_inputs_for_an_official_stage_are_refused(commanded: Path) -> None:
    weights = ("seed", "coarse", "coarse.npz")
    assert p2m(*weights, cwd=commanded).status == 0
    run = ("run", "coarse", "--weights", "coarse.npz", "--out", "out")
    outcome = p2m(*run, "--inputs", "inputs.npz", cwd=commanded)
    assert_trouble(outcome, "--inputs: given for coarse; expected --item")
    assert_trouble(p2m(*run, cwd=commanded), "--item: not given; expected the folder of one item")


def test_a_proposal_needs_the_inputs_of_one_network(commanded: Path) -> None:
    np.savez(commanded / "other.npz", pictures=np.zeros(3, np.float32))
    proposing = ("propose", "mine:factory", "--out", "map.toml")
    outcome = p2m(*proposing, "--inputs", "other.npz", cwd=commanded)
    assert_trouble(outcome, "other.npz: pictures, as no registered network reads")
    outcome = p2m(*proposing, "--inputs", "inputs.npz", "--item", "I", cwd=commanded)
    assert_trouble(outcome, "--inputs: given with --item; expected one of them")
    assert not (commanded / "map.toml").exists()
