"""The demo items: complete, small, and rendered with the network's own camera model."""

import cv2
import numpy as np
import pytest

from inputs.cameras import camera_from_row, camera_to_world, pixels, world_to_camera
from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.models import modelled
from inputs.graphs import directed_edges, enclosed_volume
from inputs.ground_truth import load_ground_truth
from inputs.item import load_item, read_cameras
from inputs.png import read_rgba
from weight_conversion.errors import InputError

VIEWS = [(name, view) for name in DEMO_ITEMS for view in range(24)]


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_is_a_complete_small_item(name: str) -> None:
    folder = demo_item_path(name)
    item = load_item(folder)
    assert item.name == name
    assert read_cameras(folder / "rendering" / "rendering_metadata.txt").shape == (24, 5)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 400_000
    truth = load_ground_truth(folder / "model_normal.xyz", item.cameras[0])
    assert truth.points.shape == (5000, 3)
    assert truth.normals is not None
    np.testing.assert_allclose(np.linalg.norm(truth.normals, axis=1), 1.0, atol=2e-4)


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_cameras_have_shapenets_ranges(name: str) -> None:
    rows = read_cameras(demo_item_path(name) / "rendering" / "rendering_metadata.txt")
    low, high = rows.min(axis=0), rows.max(axis=0)
    assert (low >= [0, 25, 0, 0.65, 25]).all()
    assert (high <= [360, 30, 0, 0.95, 25]).all()


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_object_is_normalised_as_shapenets(name: str) -> None:
    points = np.loadtxt(demo_item_path(name) / "model_normal.xyz")[:, :3]
    low, high = points.min(axis=0), points.max(axis=0)
    assert np.linalg.norm(high - low) == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose((low + high) / 2, 0.0, atol=0.01)


def silhouette(name: str, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of the 224 image show the object, and the cells of its ground truth (N, 2)."""
    folder = demo_item_path(name)
    rows = read_cameras(folder / "rendering" / "rendering_metadata.txt")
    truth = load_ground_truth(folder / "model_normal.xyz", rows[0])
    world = camera_to_world(truth.points.astype(np.float64), camera_from_row(rows[0]))
    seen = pixels(world_to_camera(world, camera_from_row(rows[view])), clamp=False)
    assert seen.min() > 0
    assert seen.max() < 224
    alpha = read_rgba(folder / "rendering" / f"{view:02d}.png", 137)[..., 3]
    return cv2.resize(alpha, (224, 224)), np.floor(seen).astype(int)


@pytest.mark.parametrize(("name", "view"), VIEWS)
def test_ground_truth_falls_on_the_silhouette(name: str, view: int) -> None:
    alpha, cells = silhouette(name, view)
    assert (alpha[cells[:, 0], cells[:, 1]] > 0).mean() > 0.998
    # And the other way round: what is drawn is near some point.
    near = np.zeros((224, 224), np.uint8)
    near[cells[:, 0], cells[:, 1]] = 1
    covered = cv2.dilate(near, np.ones((9, 9), np.uint8)) > 0
    assert covered[alpha > 128].mean() > 0.98


@pytest.mark.parametrize("name", DEMO_ITEMS)
@pytest.mark.parametrize("fault", ["mirrored", "moved", "other-view"])
def test_a_wrong_camera_does_not_fit(name: str, fault: str) -> None:
    alpha, cells = silhouette(name, 0)
    if fault == "mirrored":
        alpha = alpha[:, ::-1]
    elif fault == "moved":
        alpha = np.roll(alpha, 4, axis=1)
    else:
        alpha = silhouette(name, 6)[0]
    assert (alpha[cells[:, 0], cells[:, 1]] > 0).mean() < 0.99


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_parts_are_closed_and_outward(name: str) -> None:
    faults = []
    for number, part in enumerate(modelled(name)):
        sides = {tuple(side) for side in directed_edges(part.triangles).tolist()}
        closed = sides == {(b, a) for a, b in sides} and len(sides) == 3 * len(part.triangles)
        if not closed or enclosed_volume(part.vertices, part.triangles) <= 0:
            faults.append(number)
    assert faults == []


@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_files_are_what_the_script_makes(name: str) -> None:
    make = pytest.importorskip("inputs.demo.make")
    folder = demo_item_path(name)
    rows = read_cameras(folder / "rendering" / "rendering_metadata.txt")
    np.testing.assert_array_equal(rows, make.camera_rows(make.SEEDS[name]))
    kept = np.loadtxt(folder / "model_normal.xyz")
    made = make.surface_points(modelled(name), make.SEEDS[name])
    np.testing.assert_allclose(kept, made, atol=6e-5)


def test_refuses_other_names() -> None:
    with pytest.raises(InputError, match="no item 'car'; expected plane or sofa"):
        demo_item_path("car")


def test_the_script_says_how_to_use_it(capsys: pytest.CaptureFixture[str]) -> None:
    make = pytest.importorskip("inputs.demo.make")
    assert make.main([]) == 2
    assert "usage: python -m inputs.demo.make OUT" in capsys.readouterr().err
