"""The camera model, on cases worked out by hand and on the official item's silhouettes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inputs.cameras import (
    Floats,
    camera_from_row,
    camera_to_world,
    pixels,
    project,
    world_to_camera,
)
from inputs.ground_truth import load_ground_truth
from inputs.item import load_item
from inputs.png import read_rgba

ROWS = np.array([[250.4, 29.4, 0, 0.65, 25], [8.3, 26.4, 0, 0.71, 25], [182.4, 26.5, 0, 0.9, 25]])


@pytest.mark.parametrize(
    ("row", "position", "rotation"),
    [
        ((0, 0, 0, 2, 25), (2, 0, 0), [(0, 0, -1), (0, 1, 0), (1, 0, 0)]),
        ((90, 0, 0, 1, 25), (0, 0, 1), [(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
        (
            (0, 30, 0, 1, 25),
            (np.sqrt(0.75), 0.5, 0),
            [(0, 0, -1), (-0.5, np.sqrt(0.75), 0), (np.sqrt(0.75), 0.5, 0)],
        ),
    ],
    ids=["x", "z", "raised"],
)
def test_position_and_axes(row: tuple, position: tuple, rotation: list) -> None:
    camera = camera_from_row(row)
    # 1e-7 is what float32's pi leaves of the angles.
    np.testing.assert_allclose(camera.position, position, atol=2e-7)
    np.testing.assert_allclose(camera.rotation, rotation, atol=2e-7)


def test_pixels_by_hand() -> None:
    # One unit away from a camera on the X axis: 0.1 up and 0.2 to its right, which is -Z.
    camera = camera_from_row((0, 0, 0, 1, 25))
    seen = world_to_camera(np.array([[0.0, 0.1, -0.2]]), camera)
    np.testing.assert_allclose(seen, [[0.2, 0.1, -1.0]], atol=1e-6)
    np.testing.assert_allclose(pixels(seen), [[112 - 24.8, 112 + 49.6]], atol=1e-4)


def test_clamping() -> None:
    points = np.array([[9.0, 9.0, -1.0], [-9.0, -9.0, -1.0]])
    np.testing.assert_array_equal(pixels(points), [[0, 223], [223, 0]])
    assert (np.abs(pixels(points, clamp=False)) > 223).all()


def test_points_in_the_cameras_plane_give_no_warning() -> None:
    assert not np.isfinite(pixels(np.zeros((1, 3)), clamp=False)).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", ROWS, ids=["view0", "view1", "view2"])
def test_there_and_back(row: np.ndarray, dtype: type) -> None:
    camera = camera_from_row(row, dtype)
    points: Floats = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype)
    there = camera_to_world(points, camera)
    assert there.dtype == camera.position.dtype == dtype
    np.testing.assert_allclose(
        world_to_camera(there, camera), points, atol=50 * float(np.finfo(dtype).eps)
    )


def test_axes_are_a_right_handed_frame() -> None:
    rotation = camera_from_row(ROWS[0]).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-6)


def test_pi_is_the_graphs_float32() -> None:
    # cos(θ + π) with float32's pi turns "up" out of the plane of the vertical and the direction of
    # view, by 4e-8 here; with float64's it would stay in it to 1e-16.
    _, up, back = camera_from_row((30, 27, 0, 1, 25)).rotation
    assert 1e-8 < abs(float(up @ np.cross(back, [0, 1, 0]))) < 1e-7


def test_rows_are_rounded_to_float32_first() -> None:
    exact, rounded = ROWS[0], ROWS[0].astype(np.float32)
    assert (exact != rounded).any()
    np.testing.assert_array_equal(
        camera_from_row(exact).position, camera_from_row(rounded).position
    )


def test_first_view_sees_its_own_frame() -> None:
    vertices = np.random.default_rng(1).uniform(-0.2, 0.2, (40, 3)) - (0, 0, 0.8)
    seen = project(vertices, ROWS)
    assert seen.shape == (3, 40, 2)
    np.testing.assert_allclose(seen[0], pixels(vertices), atol=1e-4)
    assert np.abs(seen[1] - seen[0]).max() > 1


def test_precisions_agree_to_rounding() -> None:
    vertices = np.random.default_rng(1).uniform(-0.2, 0.2, (400, 3)) - (0, 0, 0.8)
    single, double = project(vertices, ROWS, np.float32), project(vertices, ROWS)
    assert single.dtype == np.float32
    difference = np.abs(single - double).max()
    assert 0 < difference < 2e-4


@pytest.mark.parametrize("view", range(3))
def test_official_ground_truth_falls_on_the_silhouettes(view: int, official: Path) -> None:
    folder = next((official / "shapenet_item").glob("*/*"))
    item = load_item(folder)
    truth = load_ground_truth(folder / "model_normal.xyz", item.cameras[0])
    cells = np.floor(project(truth.points, item.cameras)[view]).astype(int)
    number = (0, 6, 7)[view]
    alpha = read_rgba(folder / "rendering" / f"{number:02d}.png", 137)[..., 3]
    opaque = cv2.resize(alpha, (224, 224)) > 0
    assert opaque[cells[:, 0], cells[:, 1]].mean() > 0.999
    # The same points seen in a mirror do not: the test can tell.
    assert opaque[cells[:, 0], 223 - cells[:, 1]].mean() < 0.99
