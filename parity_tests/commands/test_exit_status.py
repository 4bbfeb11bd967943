"""Exit status, one line of error, and nothing half-written, for every command."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from network.weights import WEIGHTS
from parity_tests.commands.cli import assert_trouble, p2m, p2m_process
from weight_conversion.formats import WeightSet, save_weights

PLANE = demo_item_path("plane")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded coarse weights and a trace of them."""
    place = tmp_path_factory.mktemp("exit")
    save_weights(place / "c.ckpt-1", WeightSet("coarse", seeded_weights("coarse"), 1, "seed 0"))
    done = p2m("trace", "coarse", "--backend", "torch", "--weights", place / "c.ckpt-1",
               "--item", PLANE, "--out", place / "reference.h5")  # fmt: skip
    assert done.status == 0, done.stderr
    return place


def test_agreement_is_0(folder: Path, tmp_path: Path) -> None:
    done = p2m("compare", folder / "reference.h5", folder / "reference.h5",
               "--taps", "cnn.conv2d_[1-3]", "--out", tmp_path / "r")  # fmt: skip
    assert done.status == 0, done.stderr
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["verdict"] == "agree"
    assert report["compared"] == 3
    assert report["first_divergence"] is None
    for name in ("taps.csv", "report.md", "report.html", "figures/difference_by_tap.svg"):
        assert (tmp_path / "r" / name).stat().st_size > 0


@pytest.mark.parametrize(
    ("variable", "tap", "amount", "around"),
    [
        ("cnn/conv2d_1/W", "cnn.conv2d_1", "one element", "cnn.conv2d_[12]"),
        ("graph_conv_blk1_1_layer_1_vars/weights_0", "graph_conv_blk1_1_layer_1", "one element",
         "graph_conv_blk1_[12]_*"),
        ("graph_conv_blk2_7_layer_23_vars/weights_1", "graph_conv_blk2_7_layer_23", "all",
         "graph_conv_blk2_[678]_*"),
        ("graph_conv_blk3_15_layer_47_vars/bias", "graph_conv_blk3_15_layer_47", "one element",
         "graph_conv_blk3_1[45]_*"),
        pytest.param("graph_conv_blk2_7_layer_23_vars/weights_1", "graph_conv_blk2_7_layer_23",
                     "all", "*", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_changed_weight_is_1_and_names_the_layer(
    variable: str, tap: str, amount: str, around: str, folder: Path, tmp_path: Path
) -> None:
    arrays = seeded_weights("coarse")
    (key,) = (row.key for row in WEIGHTS["coarse"] if variable in row.key)
    # One element is the greatest, so that its change is well above rounding.
    kept = np.abs(arrays[key]) < np.abs(arrays[key]).max() if amount == "one element" else False
    arrays[key] = np.where(kept, arrays[key], arrays[key] * np.float32(1.01))
    save_weights(tmp_path / "w.npz", WeightSet("coarse", arrays, 1, "changed"))
    done = p2m("trace", "coarse", "--backend", "torch", "--weights", tmp_path / "w.npz",
               "--item", PLANE, "--taps", around, "--out", tmp_path / "candidate.h5")  # fmt: skip
    assert done.status == 0, done.stderr
    done = p2m("compare", folder / "reference.h5", tmp_path / "candidate.h5", "--taps", around,
               "--json")  # fmt: skip
    assert done.status == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"] == "differ"
    assert report["first_divergence"] == tap
    assert any("different weights" in note for note in report["notes"])


def test_a_truncated_checkpoint_is_2(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("c.ckpt-1.*"):
        shutil.copy(path, tmp_path)
    data = tmp_path / "c.ckpt-1.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1000])
    out = tmp_path / "out.h5"
    done = p2m("trace", "coarse", "--backend", "torch", "--weights", tmp_path / "c.ckpt-1",
               "--item", PLANE, "--out", out)  # fmt: skip
    assert_trouble(done, "c.ckpt-1")
    assert not out.exists()


def test_a_missing_image_is_2(folder: Path, tmp_path: Path) -> None:
    item = tmp_path / "item"
    shutil.copytree(PLANE, item)
    (item / "rendering" / "06.png").unlink()
    done = p2m_process("run", "coarse", "--weights", folder / "c.ckpt-1", "--item", item,
               "--reference", "torch", "--out", tmp_path / "out")  # fmt: skip
    assert_trouble(done, "06.png")
    assert {path.name for path in tmp_path.iterdir()} == {"item"}


def test_nan_in_the_mesh_is_2(folder: Path, tmp_path: Path) -> None:
    mesh = np.zeros((156, 3), np.float32)
    mesh[7, 1] = np.nan
    np.save(tmp_path / "mesh.npy", mesh)
    done = p2m("run", "coarse", "--weights", folder / "c.ckpt-1", "--item", PLANE,
               "--mesh", tmp_path / "mesh.npy", "--reference", "torch",
               "--out", tmp_path / "out")  # fmt: skip
    assert_trouble(done, "mesh.npy")
    assert {path.name for path in tmp_path.iterdir()} == {"mesh.npy"}


def test_an_empty_trace_is_2(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "reference.h5", tmp_path / "empty.h5")
    with h5py.File(tmp_path / "empty.h5", "r+") as file:
        del file["taps"]
    done = p2m("compare", folder / "reference.h5", tmp_path / "empty.h5", "--out", tmp_path / "r")
    assert_trouble(done, "empty.h5", "no taps")
    assert {path.name for path in tmp_path.iterdir()} == {"empty.h5"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("Missing command", "(p2m-parity --help)")),
        (("nonsense",), ("nonsense", "(p2m-parity --help)")),
        (("seed", "coarse"), ("DESTINATION", "(p2m-parity seed --help)")),
        (("seed", "middle", "x.npz"), ("middle", "coarse", "refine")),
        (("inspect", "absent.npz"), ("absent.npz",)),
        (("compare", "absent.h5", "absent.h5"), ("absent.h5", "no such file")),
        (("trace", "refine", "--backend", "torch", "--weights", "{c}", "--item", PLANE,
          "--out", "t.h5"), ("coarse", "refine")),
        (("trace", "coarse", "--backend", "magic", "--weights", "{c}", "--item", PLANE,
          "--out", "t.h5"), ("magic", "module:factory")),
        (("trace", "coarse", "--backend", "metagraph", "--weights", "{c}", "--item", PLANE,
          "--out", "t.h5"), ("--metagraph", "not given")),
        (("trace", "coarse", "--backend", "torch", "--weights", "{c}", "--item", PLANE,
          "--views", "0,6", "--out", "t.h5"), ("three",)),
        (("trace", "coarse", "--backend", "torch", "--weights", "{c}", "--item", PLANE,
          "--device", "cuda:7", "--out", "t.h5"), ("cuda:7",)),
        (("trace", "coarse", "--backend", "torch", "--weights", "{c}", "--item", PLANE,
          "--taps", "no*", "--out", "t.h5"), ("no*", "matched no tap")),
        (("predict", "--weights", "{c}", "--item", PLANE, "--out", "mesh.stl"), (".stl", ".obj")),
        (("convert", "{c}", "absent-folder-is-made/../c.onnx/x.npz"), ()),
    ],
    ids=lambda value: "-".join(map(str, value[:5]))[:60] if isinstance(value, tuple) else None,
)  # fmt: skip
def test_wrong_arguments_are_2(
    arguments: tuple[object, ...], words: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.onnx").write_text("a file where a folder is wanted")
    filled = [str(folder / "c.ckpt-1") if word == "{c}" else word for word in arguments]
    done = p2m(*filled, cwd=tmp_path)
    if not arguments:
        # The bare command shows what there is.
        assert done.status in (0, 2)
        return
    assert_trouble(done, *words)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"c.onnx"}


def test_a_failed_run_keeps_the_report_that_was_there(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("the old report")
    done = p2m("run", "coarse", "--weights", folder / "c.ckpt-1", "--item", PLANE,
               "--reference", "torch", "--candidate", "nosuchmodule:factory",
               "--out", out)  # fmt: skip
    assert_trouble(done, "nosuchmodule:factory", "cannot be imported")
    assert [path.name for path in out.iterdir()] == ["report.json"]
    assert (out / "report.json").read_text() == "the old report"


def test_json_is_one_value_and_nothing_else(folder: Path) -> None:
    done = p2m_process("inspect", folder / "c.ckpt-1", "--json")
    assert done.status == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["stage"] == "coarse"


@pytest.mark.parametrize(
    "arguments", [("compare", "", ""), ("trace", "coarse", "--out", ""), ("inspect", "")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_an_empty_path_is_not_the_current_folder(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    assert_trouble(p2m(*arguments, cwd=tmp_path), "an empty path")
    assert not any(tmp_path.iterdir())
