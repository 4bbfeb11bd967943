"""Lists of items, and the data set that the modeller makes."""

from pathlib import Path

import numpy as np
import pytest

from inputs.cameras import OBJECT_TO_WORLD
from inputs.dataset import CATEGORIES, Entry, find_entries, read_lists, truth_path
from inputs.demo.dataset import LIST, entries_of
from inputs.demo.varied import KINDS, varied
from inputs.graphs import enclosed_volume
from inputs.ground_truth import load_ground_truth
from inputs.item import load_item
from parity_tests.commands.cli import p2m_process
from weight_conversion.errors import InputError


@pytest.mark.parametrize(
    "line",
    [
        "02691156/abc-1",
        "02691156_abc-1_00.dat",
        "Data/ShapeNetP2M/02691156/abc-1/rendering/00.dat",
        "  train/02691156_abc-1_00.dat  ",
    ],
)
def test_a_line_names_an_item(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# the test split\n\n{line}\n")
    (entry,) = read_lists([path])
    assert entry == Entry("02691156", "abc-1")
    assert truth_path(Path("root"), entry, None) == Path("root/02691156/abc-1/model_normal.xyz")
    assert truth_path(Path("root"), entry, Path("gt")) == Path("gt/02691156_abc-1_00.dat")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("# nothing\n\n", "names no item"),
        ("a/b\nc/d\na_b_00.dat\n", r"line 3: a/b again; expected once, as in .*list.txt, line 1"),
        ("../../etc/passwd\n", r"line 1: '../../etc/passwd'; expected CATEGORY/ITEM"),
        ("a/..\n", "line 1"),
        ("plane\n", "line 1: 'plane'"),
    ],
)
def test_a_list_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_lists([path])


def test_an_item_in_two_lists_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("a/b\n")
    with pytest.raises(InputError, match="two, line 1: a/b again"):
        read_lists([tmp_path / "one", tmp_path / "two"])


def test_items_are_found_by_their_renderings(tmp_path: Path) -> None:
    for name in ("b/2/rendering", "a/1/rendering", "a/no"):
        (tmp_path / name).mkdir(parents=True)
    assert find_entries(tmp_path) == [Entry("a", "1"), Entry("b", "2")]
    with pytest.raises(InputError, match="holds no item"):
        find_entries(tmp_path / "a")
    with pytest.raises(InputError, match="no such folder"):
        find_entries(tmp_path / "c")


@pytest.mark.parametrize("kind", KINDS)
def test_a_varied_object_is_one_of_shapenets(kind: str) -> None:
    first, second = (varied(kind, np.random.default_rng(seed)) for seed in (1, 2))
    corners = np.concatenate([part.vertices for part in first])
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert np.linalg.norm(high - low) == pytest.approx(1.0)
    np.testing.assert_allclose(low + high, 0.0, atol=1e-12)
    assert all(enclosed_volume(part.vertices, part.triangles) > 0 for part in first)
    other = np.concatenate([part.vertices for part in second])
    assert other.shape != corners.shape or np.abs(other - corners).max() > 0.01
    assert KINDS[kind] in CATEGORIES


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="kind of object: 'ship'; expected plane, sofa"):
        varied("ship", np.random.default_rng(0))


def test_a_data_set_is_made_by_its_seed(tmp_path: Path) -> None:
    """In a process of its own: VTK's renderer may end one that has loaded TensorFlow before."""
    made = ("demo-dataset", tmp_path / "a", "--items", 1, "--seed", 5, "--views", 8)
    done = p2m_process(*made)
    assert done.status == 0, done.stderr
    (entry,) = read_lists([tmp_path / "a" / LIST])
    assert entries_of(8)[0] == entry
    assert len({each.category for each in entries_of(8)}) == len(KINDS)
    folder = tmp_path / "a" / entry.name
    item = load_item(folder)
    truth = load_ground_truth(folder / "model_normal.xyz", item.cameras[0])
    assert truth.points.shape == (5000, 3)
    # Seen from 0.65 to 0.9 away, and half a diagonal large.
    assert truth.points[:, 2].max() < 0
    assert np.ptp(truth.points, axis=0).max() < 1.05 * OBJECT_TO_WORLD
    # The object covers some of each image, and none of its border.
    assert ((item.images < 1).any(axis=3).mean(axis=(1, 2)) > 0.01).all()
    assert (item.images[:, 0] == 1).all() and (item.images[:, :, -1] == 1).all()
    before = (folder / "model_normal.xyz").stat().st_mtime_ns
    assert p2m_process(*made).status == 0
    assert (folder / "model_normal.xyz").stat().st_mtime_ns == before
