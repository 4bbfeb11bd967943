"""The projections against geometry and hand-made maps, where the answer is known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tf_reference.projection import coarse_projection, local_projection, pixels
from tf_reference.runtime import tf

# Azimuth 0, elevation 0, distance 1: the rotation is a permutation, and nothing is rounded.
AHEAD = np.tile(np.array([[0.0, 0.0, 0.0, 1.0, 25.0]]), (3, 1))
AROUND = np.array([[20.0, 25, 0, 1.2, 25], [250, -33, 0, 1.35, 25], [130, 62, 0, 1.1, 25]])


def at_pixel(h: float, w: float) -> np.ndarray:
    """The point at depth -1 that the camera ahead sees at (h, w)."""
    return np.array([(w - 112) / 248, -(h - 112) / 248, -1.0])


@dataclass(frozen=True)
class Linear:
    """Maps whose value at view, row h and column w is a linear function of the three."""

    constant: float = 0.0
    view: float = 0.0
    h: float = 0.0
    w: float = 0.0

    def maps(self, sides: tuple[int, ...]) -> list[tf.Tensor]:
        """Per side a (3, side, side, 1) map."""
        made = []
        for side in sides:
            view, h, w = np.meshgrid(np.arange(3), np.arange(side), np.arange(side), indexing="ij")
            values = self.constant + self.view * view + self.h * h + self.w * w
            made.append(tf.constant(values[..., None]))
        return made


def refine_features(points: Any, function: Linear, cameras: np.ndarray = AHEAD) -> np.ndarray:
    """(N, 3 statistics, 3 maps) of the refine stage's projection."""
    points = np.asarray(points, np.float64)
    maps = function.maps((224, 112, 56))
    row = local_projection(tf.constant(points[:, None]), tf.constant(cameras), maps)
    assert np.array_equal(row[:, :3], points)
    return row.numpy()[:, 3:].reshape(-1, 3, 3)


def coarse_features(points: Any, function: Linear, cameras: np.ndarray = AHEAD) -> np.ndarray:
    """(N, 3 statistics, 4 maps) of the coarse stage's projection."""
    points = np.asarray(points, np.float64)
    maps = function.maps((56, 28, 14, 7))
    row = coarse_projection(tf.constant(points), tf.constant(cameras), maps)
    assert np.array_equal(row[:, :3], points)
    return row.numpy()[:, 3:].reshape(-1, 3, 4)


@pytest.mark.parametrize("view", range(3))
def test_the_world_origin_is_in_every_views_centre(view: int) -> None:
    points = tf.constant([[0.0, 0.0, -AROUND[0, 3]]], tf.float64)
    h, w = pixels(points, tf.constant(AROUND), view)
    np.testing.assert_allclose([h[0], w[0]], [112, 112], atol=1e-5)


@pytest.mark.parametrize("view", range(3))
def test_the_world_up_direction_is_up_in_every_view(view: int) -> None:
    # World (0, 0.1, 0) in view 0's frame: right is level, so only up and depth change.
    elevation = np.deg2rad(AROUND[0, 1])
    point = [0.0, 0.1 * np.cos(elevation), 0.1 * np.sin(elevation) - AROUND[0, 3]]
    h, w = pixels(tf.constant(np.array([point])), tf.constant(AROUND), view)
    phi = np.deg2rad(AROUND[view, 1])
    expected = 112 - 248 * 0.1 * np.cos(phi) / (AROUND[view, 3] - 0.1 * np.sin(phi))
    np.testing.assert_allclose([h[0], w[0]], [expected, 112], atol=1e-4)


def test_the_first_view_sees_its_own_frame() -> None:
    points = np.array([[0.1, 0.2, -0.7], [-0.3, 0.05, -0.9]])
    h, w = pixels(tf.constant(points), tf.constant(AROUND), 0)
    np.testing.assert_allclose(h, 248 * points[:, 1] / points[:, 2] + 112, rtol=1e-12)
    np.testing.assert_allclose(w, -248 * points[:, 0] / points[:, 2] + 112, rtol=1e-12)


@pytest.mark.parametrize(("h", "w"), [(20.25, 30.75), (143.5, 17.625), (0.25, 219.75)])
def test_refine_interpolates_linearly(h: float, w: float) -> None:
    found = refine_features([at_pixel(h, w)], Linear(h=3, w=-2))
    expected = [3 * h / scale - 2 * w / scale for scale in (1, 2, 4)]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[0, 1], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[0, 2], 1e-3, rtol=1e-6)


def test_refine_features_vanish_at_an_integer() -> None:
    # 143 = 112 + 31: exact. Only the 224 map sees an integer there.
    found = refine_features([at_pixel(143, 30.3)], Linear(constant=1))
    np.testing.assert_allclose(found[0, 1], [0, 1, 1], atol=1e-12)


def test_refine_past_the_border_reads_zero() -> None:
    # Clamped at 223: an integer in the 224 map, 111.5 and 55.75 in the others, whose ceil is out.
    found = refine_features([at_pixel(400, 30.3)], Linear(constant=1))
    np.testing.assert_allclose(found[0, 1], [0, 0.5, 0.25], atol=1e-12)


def test_refine_views_read_their_own_maps() -> None:
    found = refine_features([at_pixel(40.5, 50.5)], Linear(constant=10, view=1))
    np.testing.assert_allclose(found[0, 0], 12)
    np.testing.assert_allclose(found[0, 1], 11)
    np.testing.assert_allclose(found[0, 2], np.sqrt(2 / 3 + np.float64(np.float32(1e-6))))


def test_coarse_views_read_view_0s_maps() -> None:
    found = coarse_features([at_pixel(40.5, 50.5)], Linear(constant=10, view=1))
    np.testing.assert_allclose(found[0, 0], 10)
    np.testing.assert_allclose(found[0, 2], np.sqrt(np.float64(np.float32(1e-6))))


def test_coarse_views_use_their_own_pixels() -> None:
    # The world's origin, and a point to the right of it: only the cameras differ.
    point = np.array([[0.3, 0.0, -1.2]])
    found = coarse_features(point, Linear(w=1), cameras=AROUND)
    seen = [pixels(tf.constant(point), tf.constant(AROUND), view)[1][0] for view in range(3)]
    columns = [int(w / 4) for w in seen]
    assert len(set(columns)) == 3
    np.testing.assert_allclose(found[0, 0, 0], max(columns))
    np.testing.assert_allclose(found[0, 1, 0], np.mean(columns))


@pytest.mark.parametrize(("h", "w"), [(0.0, 0.0), (39.9, 40.1), (222.9, 300.0), (-50.0, 127.9)])
def test_coarse_reads_the_cell(h: float, w: float) -> None:
    clamped = [min(max(h, 0), 223), min(max(w, 0), 223)]
    found = coarse_features([at_pixel(h, w)], Linear(h=100, w=1))
    cells = [[int(value / scale) for value in clamped] for scale in (4, 8, 16, 32)]
    np.testing.assert_allclose(found[0, 1], [100 * row + column for row, column in cells])


@pytest.mark.parametrize("features", [refine_features, coarse_features])
def test_a_point_in_the_cameras_plane_is_no_number_but_no_crash(
    features: Callable[..., Any],
) -> None:
    found = features([[0.0, 0.0, 0.0], at_pixel(40.5, 50.5)], Linear(constant=1))
    assert np.isfinite(found[1]).all()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (50, 3)) - [0, 0, 1]
    whole = refine_features(points, Linear(view=1, h=0.3, w=0.7))
    monkeypatch.setattr("tf_reference.projection._ROWS_AT_ONCE", 7)
    parts = refine_features(points, Linear(view=1, h=0.3, w=0.7))
    assert np.array_equal(whole, parts)
