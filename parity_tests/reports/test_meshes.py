from pathlib import Path

import numpy as np
import pytest

from inputs.meshes import load_mesh
from reports.meshes import mean_edge_length, obj_text

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def test_obj_reads_back_bit_for_bit(tmp_path: Path) -> None:
    vertices = np.random.default_rng(0).normal(0, 1, (50, 3)).astype(np.float32)
    faces = np.random.default_rng(1).integers(0, 50, (80, 3))
    path = tmp_path / "m.obj"
    path.write_text(obj_text(vertices, faces))
    assert np.array_equal(load_mesh(path).vertices, vertices)
    assert np.array_equal(load_mesh(path).faces, faces)


def test_obj_keeps_float64() -> None:
    lines = obj_text(np.array([[1 / 3, 0, -1e-300]]), TWO[:0]).splitlines()
    assert [float(word) for word in lines[0].split()[1:]] == [1 / 3, 0, -1e-300]
    assert len(lines) == 1


def test_each_edge_counts_once() -> None:
    # Four sides of length 1 and one diagonal, shared by both triangles.
    assert mean_edge_length(SQUARE, TWO) == pytest.approx((4 + 2**0.5) / 5)


def test_edges_without_a_length_are_left_out() -> None:
    broken = SQUARE.copy()
    broken[3] = np.nan
    assert mean_edge_length(broken, TWO) == pytest.approx((2 + 2**0.5) / 3)
    assert mean_edge_length(np.full_like(SQUARE, np.nan), TWO) == 0
