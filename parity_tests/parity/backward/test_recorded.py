"""Gradients at taps through traces and the command line; a user's module among the candidates."""

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from network.taps import TAPS
from parity.oracle.context import Context
from parity.verdict.gradients import BackwardJudge
from parity.verdict.result import Status
from parity_tests.commands.cli import assert_trouble, p2m
from studies.faults.memory import MemoryBackward
from studies.faults.probes import probe
from torch_impl.backend import factory

STOPPED, BEFORE = "graph_conv_blk2_5_layer_21", "graph_conv_blk2_4_layer_20"
CANDIDATE = f"""
from studies.faults.injection import Mutant, layers

def factory(stage, dtype, device):
    def make(_, old):
        return lambda x, *rest, **named: old(x.detach(), *rest, **named)
    return Mutant(layers(make, "{STOPPED}"), stage, dtype, device)
"""
EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "my_port.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose candidate detaches the input of one layer, its traces kept."""
    place = tmp_path_factory.mktemp("backward")
    (place / "stopped.py").write_text(CANDIDATE, encoding="utf-8")
    assert p2m("seed", "coarse", "w.npz", cwd=place).status == 0
    item = demo_item_path("sofa")
    done = p2m(
        "run", "coarse", "--reference", "torch", "--candidate", "stopped:factory",
        "--weights", "w.npz", "--item", item, "--ground-truth", item / "model_normal.xyz",
        "--gradients", "--keep-traces", "--out", "out", cwd=place,
    )  # fmt: skip
    assert done.status == 1, done.stderr
    yield place
    for trace in traces(place):  # three gigabytes
        trace.unlink()


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "report.json").read_text())
    return found


def traces(folder: Path) -> tuple[Path, Path]:
    return folder / "out" / "reference.h5", folder / "out" / "candidate.h5"


def test_the_layer_is_named_from_the_command_line(folder: Path) -> None:
    found = report(folder)
    assert found["verdict"] == "differ"
    assert found["first_divergence"] == f"gradients/{BEFORE}"
    assert {entry["status"] for entry in found["taps"]} == {"agree"}
    told = found["diagnosis"]
    assert (told["tap"], told["operand"], told["confirmed"]) == (
        f"gradients/{BEFORE}", "detach", True,
    )  # fmt: skip
    assert STOPPED in told["explanation"]
    gradients = {entry["tap"]: entry for entry in found["gradients"]}
    assert len(gradients) == 86 + 165 + 1
    wrong = [entry for entry in found["gradients"] if entry["status"] == "differ"]
    assert [entry["tap"] for entry in wrong] == [f"gradients/{BEFORE}"]
    assert wrong[0]["cause"] == "function"
    assert wrong[0]["layers"] == [STOPPED]
    inherited = [entry for entry in found["gradients"] if entry["status"] == "inherited"]
    assert {entry["origin"] for entry in inherited} == {f"gradients/{BEFORE}"}
    # Nearer to the loss nothing changed, and the image network inherits.
    names = list(gradients)
    assert all(
        gradients[name]["status"] in ("agree", "rounding")
        for name in names[: names.index(f"gradients/{BEFORE}")]
    )
    assert gradients["gradients/cnn.conv2d_1"]["status"] == "inherited"
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "nothing is handed back" in page
    rows = (folder / "out" / "taps.csv").read_text(encoding="utf-8").splitlines()
    (row,) = (each for each in rows if each.startswith(f"gradients/{BEFORE},"))
    assert row.endswith(STOPPED)


def test_the_trace_holds_gradients_at_every_tap(folder: Path) -> None:
    with h5py.File(traces(folder)[0]) as file:
        assert set(file["tap_gradients"]) == {row.name for row in TAPS["coarse"]}
        for row in TAPS["coarse"]:
            assert file["tap_gradients"][row.name].shape == row.shape
            assert file["tap_gradients"][row.name].dtype == "f4"
            assert file["float64_tap_gradients"][row.name].dtype == "f8"
        # View 0's maps alone are read.
        assert not file["tap_gradients"]["cnn.conv2d_18"][1:].any()
        assert file["tap_gradients"]["cnn.conv2d_18"][0].any()


@pytest.mark.slow
def test_a_gradient_that_is_nan_on_both_sides_in_float64_alone(
    folder: Path, tmp_path: Path
) -> None:
    key = "meshnetmvp2m/pixel2mesh/graph_conv_blk3_9_layer_41_vars/bias:0"
    paths = []
    for path in traces(folder):
        paths.append(shutil.copy(path, tmp_path))
        with h5py.File(paths[-1], "r+") as file:
            file["float64_gradients"][key][3] = np.nan
    done = p2m("compare", *paths, "--json")
    found = {entry["tap"]: entry for entry in json.loads(done.stdout)["gradients"]}
    assert found[f"gradients/{key}"]["status"] == "invalid"
    assert "1 elements are NaN on both sides in float64 alone" in found[f"gradients/{key}"]["note"]


@pytest.mark.slow
def test_one_gradient_alone_is_compared_again(folder: Path) -> None:
    done = p2m("compare", *traces(folder), "--taps", f"gradients/{BEFORE}", "--json")
    found = json.loads(done.stdout)
    assert done.status == 1
    assert [entry["tap"] for entry in found["gradients"]] == [f"gradients/{BEFORE}"]


@pytest.mark.slow
def test_without_gradients_at_taps_they_are_judged_as_wholes(folder: Path, tmp_path: Path) -> None:
    reference, candidate = traces(folder)
    changed = shutil.copy(candidate, tmp_path / "changed.h5")
    with h5py.File(changed, "r+") as file:
        del file["tap_gradients"], file["float64_tap_gradients"]
    done = p2m("compare", reference, changed, "--json")
    found = json.loads(done.stdout)
    assert done.status == 1
    assert len(found["gradients"]) == 165 + 1
    Path(changed).unlink()
    assert any("judged as wholes" in note and "tap_gradients" in note for note in found["notes"])


@pytest.mark.slow
def test_samples_of_no_triangle_are_trouble(folder: Path, tmp_path: Path) -> None:
    reference, candidate = traces(folder)
    changed = shutil.copy(candidate, tmp_path / "changed.h5")
    with h5py.File(changed, "r+") as file:
        file["samples/face_1"][0] = 10**6
    assert_trouble(p2m("compare", reference, changed), "changed.h5")
    Path(changed).unlink()


@pytest.mark.slow
def test_a_module_tells_its_gradients(
    contexts: dict[str, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of the docs, mended, and with one layer's input detached."""
    spec = importlib.util.spec_from_file_location("my_port", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    port = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(port)
    monkeypatch.setattr(port, "SAME_PADDING", True)
    monkeypatch.setattr(port, "GCN_BIAS", True)
    asked, context = probe("plane", "coarse", "gradient"), contexts["coarse"]

    def run(backend: Any) -> MemoryBackward:
        return MemoryBackward.of(backend, asked, context)

    reference = run(factory("coarse", "float64", "cpu"))
    theirs = port.factory("coarse", "float64", "cpu")
    found = BackwardJudge(context, reference, run(theirs)).judge()
    assert {each.status for each in found.values()} <= {Status.AGREE, Status.ROUNDING}
    assert len(found) == 86 + 165 + 1
    assert "mesh" in found

    layer = theirs.module.graph[STOPPED]
    forward = layer.forward
    layer.forward = lambda x, *rest: forward(x.detach(), *rest)
    found = BackwardJudge(context, reference, run(theirs)).judge()
    wrong = [each for each in found.values() if each.status is Status.DIFFER]
    assert [(each.name, each.layers) for each in wrong] == [(BEFORE, (STOPPED,))]
