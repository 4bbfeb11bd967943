"""Mesh files: order and number of vertices are kept, and nothing but meshes is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.meshes import load_mesh, save_obj
from inputs.obj import obj_triangles
from weight_conversion.errors import InputError

# The same point twice and one that no face uses: a library that tidies up would drop them.
VERTICES = np.array([(0, 0, 1), (0, 1, 0), (0, 0, 1), (1 / 3, 1e-8, -7.5)], dtype=np.float32)
FACES = np.array([(0, 1, 2)])


def test_obj_there_and_back(tmp_path: Path) -> None:
    save_obj(tmp_path / "m.obj", VERTICES, FACES)
    loaded = load_mesh(tmp_path / "m.obj")
    assert loaded.vertices.dtype == np.float32
    np.testing.assert_array_equal(loaded.vertices, VERTICES)
    np.testing.assert_array_equal(loaded.faces, FACES)


def test_float64_keeps_its_digits(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    save_obj(tmp_path / "m.obj", points)
    lines = (tmp_path / "m.obj").read_text().splitlines()
    written = np.array([line.split()[1:] for line in lines], dtype=np.float64)
    np.testing.assert_array_equal(written, points)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype: str, order: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.asarray(VERTICES, dtype=dtype, order=order))
    loaded = load_mesh(tmp_path / "m.npy", 4).vertices
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, VERTICES.astype(dtype).astype(np.float32))


@pytest.mark.parametrize(
    "text",
    [
        "v 1 2 3\n",
        "v 1 2 3 1\n",
        "v 1 2 3 0.5 0.5 0.5\n",
        "\ufeff# x\n  v\t1 2 3 # y\r\nvn 0 0 1\n",
    ],
    ids=["plain", "weight", "colour", "untidy"],
)
def test_dialects(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.obj").write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(load_mesh(tmp_path / "m.obj").vertices, [(1, 2, 3)])


def test_triangles_with_textures(tmp_path: Path) -> None:
    (tmp_path / "m.obj").write_text("f 1/5/6 2//7 3\n")
    np.testing.assert_array_equal(obj_triangles(tmp_path / "m.obj", 3), [(0, 1, 2)])


@pytest.mark.parametrize("name", ["mvp2m_prediction.obj", "mvp2m_gt_points.obj"])
def test_reads_the_papers_meshes(name: str, official: Path) -> None:
    path = official / "paper_port" / name
    count = sum(line.startswith("v ") for line in path.read_text().splitlines())
    assert len(load_mesh(path).vertices) == count


def npy(header: bytes, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + body


def described(shape: str, dtype: str = "'<f4'") -> bytes:
    return f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()


SPOILED: dict[str, tuple[str, bytes, str]] = {
    "short": ("m.obj", b"v 1 2\n", "line 1: 2 values"),
    "nan": ("m.obj", b"v 1 2 3\nv 1 nan 3\n", "line 2: 'nan' is not a finite number"),
    "overflow": ("m.obj", b"v 1 2 1e39\n", "beyond float32"),
    "no-vertices": ("m.obj", b"f 1 2 3\n", "vertex 3; expected vertices, of which there are none"),
    "binary": ("m.obj", b"\x00\xff\xfe", "is not text"),
    "suffix": ("m.glb", b"glTF", "has suffix '.glb'; expected a mesh: .obj, .ply, .stl, .off or"),
    "no-suffix": ("m", b"v 1 2 3\n", "has suffix ''"),
    "two-columns": ("m.npy", npy(described("(2, 2)"), bytes(16)), "has shape (2, 2)"),
    "cut": ("m.npy", npy(described("(2, 3)"), bytes(20)), "says (2, 3) but 20 bytes follow"),
    "longer": ("m.npy", npy(described("(2, 3)"), bytes(28)), "says (2, 3) but 28 bytes follow"),
    "bomb": ("m.npy", npy(described("(999999999999, 3)")), "but 0 bytes follow"),
    "overflowing-bomb": ("m.npy", npy(described(f"({2**62}, {2**62})")), "but 0 bytes follow"),
    "negative": ("m.npy", npy(described("(-1, -3)"), bytes(12)), "says (-1, -3)"),
    "empty": ("m.npy", npy(described("(0, 3)")), "has 0 vertices"),
    "objects": ("m.npy", npy(described("(1, 3)", "'|O'"), b"cos\n"), "is an array of 'object'"),
    "fields": ("m.npy", npy(described("(1,)", "[('x', '<f4')]"), bytes(4)), "is an array of"),
    "long-double": ("m.npy", npy(described("(1, 3)", "'<f16'"), bytes(48)), "is an array of"),
    "text": ("m.npy", b"v 1 2 3\n", "is not a readable .npy file"),
    "no-header": ("m.npy", b"\x93NUMPY\x01\x00", "is not a readable .npy file"),
    "version": ("m.npy", npy(b"{}", version=b"\x09\x00"), "is not a readable .npy file"),
    "code": ("m.npy", npy(b"__import__('os').abort()\n"), "is not a readable .npy file"),
    "nested": ("m.npy", npy(b"(" * 5000), "is not a readable .npy file"),
    "nan-npy": (
        "m.npy",
        npy(described("(1, 3)"), np.array([1, np.nan, 2], "<f4").tobytes()),
        "1 of 3 values are NaN, infinite or beyond float32, the first at [0, 1]",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path) -> None:
    file, content, message = SPOILED[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_mesh(tmp_path / file)
    assert str(caught.value).startswith(str(tmp_path / file))
    assert message in str(caught.value)


@pytest.mark.parametrize("suffix", [".obj", ".npy"])
def test_refuses_another_number_of_vertices(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    save: Callable[[Path, np.ndarray], Any] = save_obj if suffix == ".obj" else np.save
    save(path, VERTICES)
    with pytest.raises(InputError, match="has 4 vertices; expected a mesh of 156 vertices"):
        load_mesh(path, 156)


WRITES: dict[str, tuple[Any, Any, str]] = {
    "nan": (VERTICES * np.float32(np.nan), None, "vertices that are NaN or infinite"),
    "columns": (VERTICES[:, :2], None, r"vertices of shape \(4, 2\)"),
    "range": (VERTICES, FACES + 2, "faces out of range; expected indices from 0 to 3"),
    "negative": (VERTICES, FACES - 1, "faces out of range"),
    "quads": (VERTICES, np.zeros((1, 4), int), r"faces of shape \(1, 4\)"),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_refused_mesh_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    vertices, faces, message = WRITES[name]
    (tmp_path / "m.obj").write_text("old")
    with pytest.raises(InputError, match=message):
        save_obj(tmp_path / "m.obj", vertices, faces)
    assert [path.name for path in tmp_path.iterdir()] == ["m.obj"]
    assert (tmp_path / "m.obj").read_text() == "old"
