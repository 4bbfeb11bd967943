"""``losses`` from options to output, and one line for each way to misuse it."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from commands.loss_sources import labelled
from commands.losses import command
from inputs.demo import demo_item_path
from inputs.files import Float64
from inputs.meshes import load_mesh, save_obj
from inputs.sampling import choose_faces, points_on
from inputs.template import build_template
from parity.meshes.losses import unpooled
from parity_tests.commands.cli import assert_trouble, p2m, p2m_process
from weight_conversion.errors import InputError

TEMPLATE = build_template()
ELLIPSOID = TEMPLATE.coordinates.astype(np.float64)
TABLE_1 = """Loss,Sofa Ours,Plane Original
Chamfer,0.6197,224.5983
Edge,0.0014,0.0001
Normal,0.2558,0.2644
All,1.2642,224.7690
"""


def losses(*arguments: object) -> tuple[str, int]:
    """What the command prints, and the status that it returns.

    Raises:
        InputError: as the command does; the command line turns it into one line.
    """
    done = CliRunner().invoke(command, [str(each) for each in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.stdout, done.return_value


def measured(*arguments: object) -> list[dict[str, Any]]:
    """The columns as ``--json`` tells them."""
    text, status = losses(*arguments, "--json")
    assert status == 0
    columns: list[dict[str, Any]] = json.loads(text)["columns"]
    return columns


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a mesh, its lower levels, and ground truth of both kinds."""
    for count in (156, 618, 2466):
        mesh = unpooled(ELLIPSOID, count, TEMPLATE)
        assert mesh is not None
        save_obj(tmp_path / f"mesh{count}.obj", mesh * 1.02)
        np.save(tmp_path / f"before{count}.npy", mesh)
    points = ELLIPSOID * 1.1
    np.save(tmp_path / "points.npy", points)
    np.save(tmp_path / "normals.npy", np.concatenate([points, points - points.mean(axis=0)], 1))
    return tmp_path


def test_one_mesh(files: Path) -> None:
    (column,) = measured(
        "--ground-truth", files / "normals.npy", "--mesh", f"ours={files / 'mesh618.obj'}",
        "--before", files / "before156.npy", "--all-weights", "coarse", "--no-frames",
    )  # fmt: skip
    assert (column["item"], column["implementation"]) == ("normals", "ours")
    assert column["before"] == f"{files / 'before156.npy'}, unpooled from 156 vertices"
    assert column["all"] == pytest.approx(
        column["chamfer"] + 350 * column["edge"] + 0.5 * column["normal"]
        + 1500 * column["laplace"]
    )  # fmt: skip
    assert column["frame"] is None


def test_items_and_implementations(files: Path) -> None:
    columns = measured(
        "--ground-truth", f"sofa={files / 'points.npy'}",
        "--ground-truth", f"plane={files / 'normals.npy'}",
        "--mesh", f"sofa/ours={files / 'mesh618.obj'}",
        "--mesh", f"plane/theirs={files / 'mesh618.obj'}",
        "--mesh", f"plane={files / 'mesh156.obj'}",
        "--before", f"plane/theirs={files / 'before618.npy'}",
        "--before", f"ours={files / 'before156.npy'}", "--no-frames",
    )  # fmt: skip
    names = [(column["item"], column["implementation"]) for column in columns]
    assert names == [("sofa", "ours"), ("plane", "theirs"), ("plane", "mesh156")]
    assert [column["laplace"] is None for column in columns] == [False, False, True]
    assert [column["normal"] is None for column in columns] == [True, False, False]


def test_vertices_and_samples(files: Path) -> None:
    base = ("--ground-truth", files / "points.npy", "--mesh", files / "mesh2466.obj", "--no-frames")
    mesh = load_mesh(files / "mesh2466.obj").vertices
    random = np.random.default_rng(5)
    samples: dict[str, Any] = {}
    for block in (1, 2):
        samples[f"face_{block}"] = choose_faces(mesh, TEMPLATE.faces[2], random.random(4000))
        samples[f"r1_{block}"] = random.random(4000, dtype=np.float32)
        samples[f"r2_{block}"] = random.random(4000, dtype=np.float32)
    np.savez(files / "s.npz", **samples)
    options: list[tuple[object, ...]] = [
        (), ("--seed", 1), ("--vertices-only",), ("--samples", files / "s.npz"),
    ]  # fmt: skip
    found = [measured(*base, *each)[0]["terms"] for each in options]
    chamfers = [terms["chamfer"] for terms in found]
    assert len(set(chamfers)) == 4
    assert len({terms["edge"] for terms in found}) == 1
    more = points_on(mesh, TEMPLATE.faces[2], *(samples[f"{k}_2"] for k in ("face", "r1", "r2")))
    points = np.concatenate([mesh.astype(np.float64), more])
    truth = np.load(files / "points.npy").astype(np.float32).astype(np.float64)
    squares = sum((points[:, None, axis] - truth[:, axis]) ** 2 for axis in range(3))
    assert isinstance(squares, np.ndarray)
    expected = squares.min(axis=0).mean() + float(np.float32(0.55)) * squares.min(axis=1).mean()
    assert chamfers[3] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("form", "first"),
    [("text", " "), ("csv", "Loss,"), ("markdown", "| Loss"), ("latex", "% ")],
)
def test_every_form_is_printed_and_written(files: Path, form: str, first: str) -> None:
    out = files / "out"
    text, _ = losses(
        "--ground-truth", files / "points.npy", "--mesh", files / "mesh156.obj", "--no-frames",
        "--format", form, "--out", out,
    )  # fmt: skip
    assert text.startswith(first)
    names = {"losses.csv", "losses.md", "losses.tex", "losses.json"}
    assert {path.name for path in out.iterdir()} == names
    written = {"csv": "losses.csv", "markdown": "losses.md", "latex": "losses.tex"}
    if form in written:
        assert (out / written[form]).read_text() == text
    rows = list(csv.reader(io.StringIO((out / "losses.csv").read_text())))
    value = json.loads((out / "losses.json").read_text())
    assert float(rows[1][1]) == value["columns"][0]["chamfer"]
    assert losses("--table", out / "losses.csv")[1] == 0


def test_table_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE_1)
    text, status = losses("--table", path)
    assert status == 0
    assert "Plane Original: chamfer 224.598 is a distance of 0.22 (RMS)" in " ".join(text.split())
    path.write_text(TABLE_1.replace("1.2642", "1.3642"))
    text, status = losses("--table", path, "--json")
    assert status == 1
    columns = json.loads(text)["columns"]
    assert [column["consistent"] for column in columns] == [False, True]
    assert columns[0]["recomputed"] == pytest.approx(1.2502)


def test_contradiction_is_status_1(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE_1.replace("1.2642", "1.3642"))
    outcome = p2m_process("losses", "--table", path)
    assert outcome.status == 1
    assert outcome.stderr == ""


def test_weights_are_run_on_an_item(tmp_path: Path) -> None:
    weights = tmp_path / "seeded.safetensors"
    assert p2m("seed", "coarse", weights).status == 0
    item = demo_item_path("sofa")
    (column,) = measured("--item", f"sofa={item}", "--weights", weights, "--no-frames")
    assert (column["item"], column["implementation"]) == ("sofa", "torch")
    assert column["before"].startswith("output of the coarse stage's last block but one")
    assert column["before"].endswith("unpooled from 618 vertices")
    assert "with normals" in column["ground_truth"]
    assert column["all"] > 0 and column["laplace"] > 0


def test_paper_port(official: Path) -> None:
    folder = official / "paper_port"
    text, status = losses(
        "--ground-truth", f"plane={folder / 'mvp2m_gt_points.obj'}",
        "--mesh", f"paper={folder / 'mvp2m_prediction.obj'}",
    )  # fmt: skip
    words = " ".join(text.split())
    assert status == 0
    assert "plane/paper: no Normal: the ground truth has no normals" in words
    assert "plane/paper: no All: it lacks Normal; the other terms add up to" in words
    assert "plane/paper: in the ground truth's frame" in words
    assert "Normal —" in words and "All —" in words
    assert "nan" not in text.lower()


def test_demo_mesh_moved(official: Path, tmp_path: Path) -> None:
    path = official / "demo/predict.obj"
    vertices = load_mesh(path).vertices.astype(np.float64)
    faces = load_mesh(path).faces
    np.save(tmp_path / "points.npy", sampled(vertices, faces))
    turn = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn)
    save_obj(tmp_path / "moved.obj", 0.43 * vertices @ turn.T + [0.3, -0.1, 0.6], faces)
    (column,) = measured(
        "--ground-truth", tmp_path / "points.npy", "--mesh", tmp_path / "moved.obj"
    )
    assert column["frame"]["mismatch"] is True
    move = column["frame"]["move"]
    moved = load_mesh(tmp_path / "moved.obj").vertices.astype(np.float64)
    undone = move["scale"] * moved @ np.transpose(move["rotation"]) + move["translation"]
    error = np.linalg.norm(undone - vertices, axis=1).max()
    assert error <= 0.01 * np.linalg.norm(np.ptp(vertices, axis=0))
    assert move["scale"] == pytest.approx(1 / 0.43, rel=0.01)


def sampled(vertices: Float64, faces: Any) -> Float64:
    random = np.random.default_rng(1)
    face = choose_faces(vertices, faces, random.random(10_000))
    return points_on(vertices, faces, face, random.random(10_000), random.random(10_000))


@pytest.mark.parametrize(
    ("value", "label", "path"),
    [
        ("m.obj", "", "m.obj"),
        ("ours=m.obj", "ours", "m.obj"),
        ("sofa/ours=a=b.obj", "sofa/ours", "a=b.obj"),
    ],
)
def test_labels(value: str, label: str, path: str) -> None:
    assert labelled(value) == (label, Path(path))


def test_existing_file_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "lr=3.obj"
    path.touch()
    assert labelled(str(path)) == ("", path)


TWO = ("--ground-truth", "a={0}/points.npy", "--ground-truth", "b={0}/points.npy")
ONE = ("--ground-truth", "{0}/points.npy")
MESH = ("--mesh", "{0}/mesh156.obj")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (MESH, "no ground truth; expected --ground-truth FILE, or --item FOLDER"),
        (ONE, "nothing to measure; expected --mesh FILE or --weights W"),
        ((*ONE, "--mesh", "{0}/none.obj"), "none.obj: no such file"),
        ((*TWO, *MESH), "does not say of which item; expected ITEM/NAME=FILE, ITEM one of a, b"),
        ((*ONE, *MESH, *MESH), "two columns points/mesh156"),
        ((*ONE, "--ground-truth", "{0}/points.npy", *MESH), "two of the name 'points'"),
        ((*ONE, *MESH, "--before", "x={0}/before156.npy"), "is for no mesh"),
        ((*ONE, *MESH, *(2 * ("--before", "{0}/before156.npy"))), "several for points/mesh156"),
        ((*ONE, *MESH, "--before", "{0}/before618.npy"), "has 618 vertices; expected the 156"),
        ((*ONE, *MESH, "--samples", "{0}/s.npz", "--vertices-only"), "given with --samples"),
        ((*ONE, *MESH, "--samples", "{0}/none.npz"), "none.npz"),
        ((*ONE, *MESH, "--all-weights", "mine"), "--all-weights: 'mine'; expected one of paper"),
        ((*ONE, "--weights", "{0}/none.npz"), "none.npz"),
        (("--ground-truth", "{0}/gt.xyz", *MESH), "expected --item gt=FOLDER"),
        (("--item", "{0}", *MESH), "is not an item"),
        (("--table", "{0}/none.csv"), "none.csv: no such file"),
        (("--table", "{0}/none.csv", *MESH), "given with meshes or items"),
        ((*ONE, "--mesh", "{0}/points.npy", "--mesh", "{0}/cube.obj"), "cube.obj: has 8 vertices "
         "and no triangles; expected triangles, or 156, 618, 2466 vertices"),
        ((*ONE, *MESH, "--out", "{0}/points.npy"), "a file; expected a folder to write to"),
    ],
)  # fmt: skip
def test_misuse_is_one_line(files: Path, arguments: tuple[str, ...], words: str) -> None:
    (files / "gt.xyz").write_text("0 0 0 0 0 1\n")
    save_obj(files / "cube.obj", np.random.default_rng(0).random((8, 3)))
    with pytest.raises(InputError) as caught:
        losses(*(argument.format(files) for argument in arguments), "--no-frames")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trouble_is_status_2(files: Path) -> None:
    outcome = p2m("losses", "--ground-truth", files / "none.npy", "--mesh", files / "mesh156.obj")
    assert_trouble(outcome, "none.npy", "no such file")
