"""Ground truth in its four forms."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.ground_truth import load_ground_truth
from weight_conversion.errors import InputError

# A camera on the Z axis, one unit away: its frame is the world's, moved along Z.
FRONT = (90.0, 0.0, 0.0, 1.0, 25.0)
ROW = (250.4, 29.4, 0.0, 0.65, 25.0)
COLUMNS = np.random.default_rng(0).normal(size=(20, 6))


def test_xyz_is_scaled_and_moved(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1 2 3 0 1 0\n-1 0 0.5 0 0 0\n")
    truth = load_ground_truth(tmp_path / "a.xyz", FRONT)
    expected = np.array([(1, 2, 3), (-1, 0, 0.5)]) * 0.57 - (0, 0, 1)
    np.testing.assert_allclose(truth.points, expected, atol=1e-6)
    assert truth.normals is not None
    np.testing.assert_allclose(truth.normals, [(0, 1, 0), (0, 0, 0)], atol=1e-6)
    assert truth.points.dtype == truth.normals.dtype == np.float32
    # A missing normal stays exactly zero.
    assert (truth.normals[1] == 0).all()


def test_xyz_moves_rigidly(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.xyz", COLUMNS)
    truth = load_ground_truth(tmp_path / "a.xyz", ROW)
    assert truth.normals is not None
    before = COLUMNS[:, :3] * 0.57
    for one, other in ((before, truth.points), (COLUMNS[:, 3:], truth.normals)):
        np.testing.assert_allclose(
            np.linalg.norm(one[:, None] - one, axis=2),
            np.linalg.norm(other[:, None] - other, axis=2),
            atol=1e-5,
        )
    # Normals are turned exactly as differences of points are, and not shifted.
    one, other = before[1:] - before[:1], truth.points[1:] - truth.points[:1]
    turn = np.linalg.lstsq(one, other, rcond=None)[0]
    np.testing.assert_allclose(COLUMNS[:, 3:] @ turn, truth.normals, atol=1e-5)


def write_dat(path: Path, columns: np.ndarray) -> None:
    path.write_bytes(pickle.dumps(columns, 2))


def write_obj(path: Path, columns: np.ndarray) -> None:
    rows = columns.tolist()
    lines = [f"v {x!r} {y!r} {z!r}\n" for x, y, z, *_ in rows]
    lines += [f"vn {row[3]!r} {row[4]!r} {row[5]!r}\n" for row in rows if len(row) == 6]
    path.write_text("".join(lines) + "f 1 2 3\n")


WRITERS: dict[str, Callable[[Path, np.ndarray], Any]] = {
    ".dat": write_dat,
    ".npy": np.save,
    ".obj": write_obj,
}


@pytest.mark.parametrize("columns", [3, 6])
@pytest.mark.parametrize("suffix", WRITERS)
def test_camera_frame_forms_are_kept(suffix: str, columns: int, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    WRITERS[suffix](path, COLUMNS[:, :columns])
    truth = load_ground_truth(path, ROW)
    np.testing.assert_array_equal(truth.points, COLUMNS[:, :3].astype(np.float32))
    assert truth.points.dtype == np.float32
    if columns == 3:
        assert truth.normals is None
    else:
        np.testing.assert_array_equal(truth.normals, COLUMNS[:, 3:].astype(np.float32))


def test_reads_what_python_2_wrote(tmp_path: Path, python2_pickle: Callable[[Any], bytes]) -> None:
    (tmp_path / "a.dat").write_bytes(python2_pickle(COLUMNS))
    truth = load_ground_truth(tmp_path / "a.dat", ROW)
    np.testing.assert_array_equal(truth.points, COLUMNS[:, :3].astype(np.float32))


def test_normals_of_face_corners_are_not_the_vertices(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("v 0 0 1\nv 0 1 0\nvn 0 0 1\n")
    assert load_ground_truth(tmp_path / "a.obj", ROW).normals is None


NAN = COLUMNS.copy()
NAN[3, 2] = np.nan
SPOILED: dict[str, tuple[str, bytes | np.ndarray, str]] = {
    "xyz-columns": (".xyz", b"1 2 3\n", "line 1: 3 values; expected rows x y z nx ny nz"),
    "xyz-ragged": (".xyz", b"1 2 3 4 5 6\n\n1 2 3 4 5\n", "line 3: 5 values"),
    "xyz-nan": (".xyz", b"1 2 nan 4 5 6\n", "line 1: 'nan' is not a finite number"),
    "xyz-word": (".xyz", b"1 2 3 4 5 six\n", "line 1: 'six' is not a finite number"),
    "xyz-overflow": (".xyz", b"1 2 1e200 4 5 6\n", "beyond float32"),
    "xyz-empty": (".xyz", b"", "is empty"),
    "xyz-comment": (".xyz", b"# x y z\n", "has no rows"),
    "xyz-binary": (".xyz", b"\x80\x81", "is not text"),
    "dat-nan": (".dat", NAN, "1 of 120 values are NaN, infinite or beyond float32, the first at"),
    "dat-columns": (".dat", COLUMNS[:, :5], "has shape (20, 5); expected N×6"),
    "dat-empty": (".dat", COLUMNS[:0], "has shape (0, 6)"),
    "dat-flat": (".dat", COLUMNS.ravel(), "has shape (120,)"),
    "dat-integers": (".dat", np.ones((4, 6), int), "holds int64"),
    "dat-list": (".dat", pickle.dumps([1.0, 2.0]), "holds list"),
    "dat-text": (".dat", b"1 2 3\n", "is damaged or not a pickle"),
    "npy-nan": (".npy", NAN, "1 of 120 values are NaN"),
    "npy-columns": (".npy", COLUMNS[:, :4], "has shape (20, 4)"),
    "npy-empty": (".npy", COLUMNS[:0], "has shape (0, 6)"),
    "npy-integers": (".npy", np.ones((4, 6), int), "is an array of 'int64'"),
    "npy-text": (".npy", b"1 2 3\n", "is not a readable .npy file"),
    "obj-empty": (".obj", b"# nothing\n", "has 0 vertices"),
    "ply": (".ply", b"ply\n", "has no header of a .ply file"),
    "obj-nan": (".obj", b"v 0 0 nan\n", "line 1: 'nan' is not a finite number"),
    "obj-short": (".obj", b"v 0 0\n", "line 1: 2 values; expected v x y z"),
    "obj-normal": (".obj", b"v 0 0 1\nvn 0 0 1 0\n", "line 2: 4 values; expected vn x y z"),
    "suffix": (".pcd", b"# .PCD\n", "has suffix '.pcd'; expected ground truth: .xyz, .dat, .npy"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path) -> None:
    suffix, content, message = SPOILED[name]
    path = tmp_path / f"a{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        WRITERS[suffix](path, content)
    with pytest.raises(InputError) as caught:
        load_ground_truth(path, ROW)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("suffix", [".xyz", ".dat", ".npy", ".obj"])
def test_refuses_a_missing_file(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_ground_truth(tmp_path / f"a{suffix}", ROW)


def test_reads_the_official_item(official: Path) -> None:
    path = next((official / "shapenet_item").glob("*/*/model_normal.xyz"))
    truth = load_ground_truth(path, (53.4, 25.1, 0, 0.851, 25))
    assert truth.points.shape == (7587, 3)
    assert truth.normals is not None
    lengths = np.linalg.norm(truth.normals, axis=1)
    assert (lengths == 0).sum() == 35
    np.testing.assert_allclose(lengths[lengths > 0], 1.0, atol=1e-5)
    assert (truth.points[:, 2] < 0).all()


@pytest.mark.parametrize("kind", [list, tuple])
def test_dat_of_the_test_split_has_an_image_first(tmp_path: Path, kind: type) -> None:
    image = np.zeros((137, 137, 4), np.uint8)
    (tmp_path / "a.dat").write_bytes(pickle.dumps(kind([image, COLUMNS]), 2))
    truth = load_ground_truth(tmp_path / "a.dat", ROW)
    np.testing.assert_array_equal(truth.points, COLUMNS[:, :3].astype(np.float32))
