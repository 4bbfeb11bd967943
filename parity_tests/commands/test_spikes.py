"""``spikes``, ``spikes repair``, ``spikes diagnose`` and ``sweep`` as a user runs them."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click import ClickException
from click.testing import CliRunner

from commands.main import cli
from inputs.demo import demo_item_path
from inputs.meshes import load_mesh, save_obj
from inputs.seeded import seeded_weights
from inputs.template import build_template
from parity_tests.commands.cli import assert_trouble, p2m
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, save_weights

PLANE = demo_item_path("plane")
PLANTED = [3, 80, 1500]


def told(*arguments: object) -> str:
    """What the command prints.

    Raises:
        InputError, ClickException: as the command does; the command line makes one line of them.
    """
    done = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return str(done.stdout)


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a mesh that has three spikes, and one that has none."""
    folder = tmp_path_factory.mktemp("meshes")
    template = build_template()
    vertices = template.coordinates.astype(np.float64)
    for pairs in template.unpooling:
        vertices = np.concatenate([vertices, vertices[pairs].mean(axis=1)])
    save_obj(folder / "smooth.obj", vertices, template.faces[2])
    np.save(folder / "smooth.npy", vertices)
    vertices[PLANTED] += 0.6 * (vertices[PLANTED] - [0.0, 0.0, -0.8])
    save_obj(folder / "spiky.obj", vertices, template.faces[2])
    np.save(folder / "odd.npy", vertices[:100])
    save_obj(folder / "open.obj", vertices, template.faces[1])
    return folder


def test_json_is_the_contracts(meshes: Path) -> None:
    text = told("spikes", meshes / "spiky.obj", meshes / "smooth.npy", "--json", "--item", PLANE)
    spiky, smooth = json.loads(text)
    assert spiky["spikes"] == 3
    assert spiky["spike_rate"] == pytest.approx(3 / 2466)
    assert spiky["spiky_vertices"] == PLANTED
    assert [row["level"] for row in spiky["by_level"]] == [0, 1, 2]
    assert [row["vertices"] for row in spiky["by_level"]] == [156, 462, 1848]
    assert [row["spikes"] for row in spiky["by_level"]] == [2, 0, 1]
    assert all(row["median_residual"] > 0 for row in spiky["by_level"])
    shares = [row["r2"] for row in spiky["explained_by"]]
    assert shares == sorted(shares, reverse=True)
    names = {row["property"] for row in spiky["explained_by"]}
    assert {"unpooling level", "number of neighbours", "template z"} <= names
    assert not names & {row["property"] for row in spiky["explained_by_positions"]}
    assert smooth["spikes"] == 0
    assert "no triangles in the file" in smooth["notes"][0]


def test_a_levelled_template_trains_without_the_mode(tmp_path: Path) -> None:
    """The same few steps on both: the mode is there at once, or not at all."""
    strengths = []
    text = told("spikes", "level", tmp_path / "level.dat")
    assert text.startswith(f"{tmp_path / 'level.dat'}: rows of the second supports sum to -1")
    for name, template in (("official", ()), ("level", ("--template", tmp_path / "level.dat"))):
        told("overfit", "coarse", "--item", PLANE, "--ground-truth", PLANE / "model_normal.xyz",
             "--frozen-cnn", "--learning-rate", 3e-4, "--steps", 5, "--out", tmp_path / name,
             *template)  # fmt: skip
        header, row = (tmp_path / name / "mesh.csv").read_text().splitlines()
        seen = dict(zip(header.split(","), map(float, row.split(",")), strict=True))
        strengths.append(seen["mode_strength"])
    assert strengths[0] > 0.9
    assert abs(strengths[1]) < 0.2


def test_tables_and_pictures(meshes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = told("spikes", meshes / "spiky.obj", "--out", out)
    assert "3 of 2466 vertices are spikes" in text
    assert "by number of neighbours" in text
    names = {path.name for path in out.iterdir()}
    written = {"spikes.json", "spikes.md", "01-spiky.csv", "01-spiky-residuals.png"}
    assert written <= names
    rows = (out / "01-spiky.csv").read_text().splitlines()
    assert len(rows) == 2467
    spikes = [int(row.split(",")[0]) for row in rows[1:] if row.split(",")[3] == "1"]
    assert spikes == PLANTED
    assert "01-spiky.png" in names or "no rendering" in text


def test_repair_writes_the_mesh_and_says_what_moved(meshes: Path, tmp_path: Path) -> None:
    out = tmp_path / "repaired.obj"
    text = told("spikes", "repair", meshes / "spiky.obj", "--out", out, "--json",
                "--ground-truth", meshes / "smooth.npy")  # fmt: skip
    report = json.loads(text)
    assert sorted(row["vertex"] for row in report["moved"]) == PLANTED
    assert report["spikes_after"] == 0
    assert report["chamfer_after"] < report["chamfer_before"]
    before, after = load_mesh(meshes / "spiky.obj").vertices, load_mesh(out).vertices
    assert np.flatnonzero((before != after).any(axis=1)).tolist() == PLANTED
    faces = load_mesh(meshes / "spiky.obj").faces
    assert np.array_equal(load_mesh(out).faces, faces)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spikes",), "Missing parameter: meshes"),
        (("spikes", "{0}/none.obj"), "none.obj: no such file"),
        (("spikes", "{0}/odd.npy"), "odd.npy: 100 vertices and no triangles"),
        (("spikes", "{0}/open.obj"), "1848 vertices are in no triangle"),
        (("spikes", "{0}/smooth.obj", "--item", "{0}"), "is not an item"),
        (("spikes", "{0}/smooth.obj", "--ground-truth", "{0}/a.xyz"), "expected --item as well"),
        (("spikes", "repair", "{0}/smooth.obj", "--out", "{0}/x.stl"), "has suffix '.stl'"),
        (("spikes", "repair", "{0}/spiky.obj", "--out", "{0}/x.obj", "--method", "degree"),
         "or --method neighbours"),
        (("spikes", "diagnose", "--item", "{0}", "--weights", "{0}/none.pt"), "none.pt"),
        (("sweep", "--out", "{0}/none", "--summary"), "none: no such folder"),
        (("sweep", "--out", "{0}/s", "--item", "{0}"), "is not an item"),
        (("sweep", "--out", "{0}/s", "--design", "published", "--steps", "3"), "--steps beside it"),
        (("sweep", "--out", "{0}/s", "--summary", "--with", "{0}/smooth.npy"), "cannot be read"),
        (("sweep", "--out", "{0}/s", "--ground-truth", "b={0}/smooth.npy"), "plane, sofa"),
    ],
)  # fmt: skip
def test_misuse_is_one_line(meshes: Path, arguments: tuple[str, ...], words: str) -> None:
    before = sorted(meshes.rglob("*"))
    with pytest.raises((InputError, ClickException)) as caught:
        told(*(argument.format(meshes) for argument in arguments))
    message = getattr(caught.value, "message", str(caught.value))
    assert words in (message or str(caught.value))
    assert "\n" not in str(message)
    assert sorted(meshes.rglob("*")) == before


def test_trouble_is_status_2(meshes: Path) -> None:
    assert_trouble(p2m("spikes", meshes / "none.obj", "--json"), "none.obj", "no such file")


def test_diagnose_names_the_row_of_a_corrupted_trace(tmp_path: Path) -> None:
    weights, clean = tmp_path / "w.safetensors", tmp_path / "clean.h5"
    arrays = dict(seeded_weights("coarse", 0))
    save_weights(weights, WeightSet("coarse", arrays, None, "test"))
    told("trace", "coarse", "--backend", "torch", "--weights", weights, "--item", PLANE,
         "--out", clean)  # fmt: skip
    spoilt = tmp_path / "spoilt.h5"
    shutil.copy(clean, spoilt)
    with h5py.File(spoilt, "r+") as file:
        file["taps/graph_conv_blk2_5_layer_21"][77] += 5.0
    out = tmp_path / "out"
    text = told("spikes", "diagnose", "--weights", weights, "--item", PLANE, "--trace", spoilt,
                "--reference", clean, "--most", "1", "--out", out, "--json")  # fmt: skip
    origin = json.loads(text)["origin"]
    assert (origin["tap"], origin["vertex"]) == ("graph_conv_blk2_5_layer_21", 77)
    assert {"diagnosis.json", "diagnosis.md", "paths.png"} <= {each.name for each in out.iterdir()}


def test_sweep_resumes_and_sums_up(tmp_path: Path) -> None:
    arguments = ("sweep", "--out", tmp_path / "study", "--design", "small", "--blocks", "1",
                 "--steps", "2", "--frozen-cnn", "--item", f"plane={PLANE}")  # fmt: skip
    assert "official.plane.seed0.blocks1.steps2" in told(*arguments)
    result = tmp_path / "study/official.plane.seed0.blocks1.steps2/result.json"
    written = result.stat().st_mtime_ns
    again = json.loads(told(*arguments, "--json"))
    assert result.stat().st_mtime_ns == written
    assert len(again["runs"]) == 2
    assert (tmp_path / "study/study.png").exists()
    with pytest.raises(InputError, match="holds another run"):
        told(*arguments, "--learning-rate", "1e-3")
    # In another folder the runs that an earlier study holds are not made again.
    other = tmp_path / "other"
    merged = json.loads(told("sweep", "--out", other, *arguments[3:], "--json",
                             "--with", tmp_path / "study/study.json"))  # fmt: skip
    assert merged["runs"] == again["runs"]
    assert {path.name for path in other.iterdir()} == {"study.json", "study.md", "study.png"}
