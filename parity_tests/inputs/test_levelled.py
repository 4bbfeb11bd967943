"""Levelled rows: what changes in a template, and the file that carries it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inputs.levelled import level_rows, levelled, save_template
from inputs.template import SparseMatrix, build_template, load_template
from parity_tests.inputs.test_template import assert_same
from weight_conversion.errors import InputError

OWN = build_template()


def dense(matrix: SparseMatrix) -> np.ndarray:
    found = np.zeros(matrix.shape)
    found[tuple(matrix.indices.T)] = matrix.values
    return found


def test_rows_sum_to_minus_one_and_nothing_beside_the_diagonal_changes() -> None:
    after = levelled(OWN)
    for (identity, scaled), (kept, level) in zip(OWN.supports, after.supports, strict=True):
        assert kept is identity
        before, now = dense(scaled), dense(level)
        assert np.abs(before.sum(axis=1) + 1).max() > 0.1
        np.testing.assert_allclose(now.sum(axis=1), -1, rtol=0, atol=6e-8)
        np.fill_diagonal(before, 0)
        np.fill_diagonal(now, 0)
        np.testing.assert_array_equal(now, before)


def test_levelled_twice_is_levelled_once() -> None:
    once = levelled(OWN)
    assert_same(levelled(once), once)


def test_a_diagonal_that_is_not_stored_is_made() -> None:
    """Two vertices and one edge: L = I − A, λmax = 2, so that 2L/λmax − I has no diagonal left."""
    edge = SparseMatrix(np.array([[0, 1], [1, 0]]), np.array([-0.75, -1.0], np.float32), (2, 2))
    np.testing.assert_array_equal(dense(level_rows(edge)), [[-0.25, -0.75], [-1.0, 0.0]])


@pytest.mark.parametrize("change", [lambda each: each, levelled], ids=["own", "levelled"])
def test_a_saved_template_is_read_again(tmp_path: Path, change: Callable) -> None:
    save_template(tmp_path / "t.dat", change(OWN))
    assert_same(load_template(tmp_path / "t.dat"), change(OWN))


def test_old_numpy_finds_its_own_modules_in_it(tmp_path: Path) -> None:
    save_template(tmp_path / "t.dat", OWN)
    content = (tmp_path / "t.dat").read_bytes()
    assert b"cnumpy.core.multiarray\n" in content
    assert b"numpy._core" not in content
    assert content.startswith(b"\x80\x02")  # protocol 2


def test_the_official_template(official: Path, tmp_path: Path) -> None:
    template = load_template(official / "template" / "info_ellipsoid.dat")
    save_template(tmp_path / "t.dat", levelled(template))
    for _, scaled in load_template(tmp_path / "t.dat").supports:
        np.testing.assert_allclose(dense(scaled).sum(axis=1), -1, rtol=0, atol=1.2e-7)


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        save_template(tmp_path / "file" / "t.dat", OWN)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
