"""The third computation of pixel coordinates, and the bound on what float32 makes of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from inputs.cameras import project
from network.taps import TAPS
from parity.oracle.confidence import UNIT_ROUNDOFF, arithmetic_of
from parity.oracle.context import Context
from parity.oracle.local import pixels_of
from parity.oracle.number import Number, exactly
from parity.oracle.primitives import RULES, State
from torch_impl.projection import pixels as torch_pixels

ROW = next(row for row in TAPS["coarse"] if "cameras" in row.constants)

DRAWS = 40
POINTS = 300


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three cameras anywhere around the object, and points about the origin of the world."""
    generator = np.random.default_rng(seed)
    elevation = generator.uniform(*((25, 30) if seed % 2 else (-80, 80)), 3)
    cameras = np.stack(
        [
            generator.uniform(0, 360, 3),
            elevation,
            np.zeros(3),
            generator.uniform(0.6, 2, 3),
            np.full(3, 25),
        ],
        axis=1,
    ).astype(np.float32)
    points = generator.uniform(-0.35, 0.35, (POINTS, 3)) - [0, 0, cameras[0, 3]]
    return points.astype(np.float32), cameras


def bounded_pixels(points: np.ndarray, cameras: np.ndarray, dtype: str) -> Number:
    """Values and errors (views, N, 2)."""
    context = Context.of("coarse", {"cameras": cameras}, {})
    found = pixels_of(ROW, points.astype(np.float64), context, dtype)
    error = np.broadcast_to(found.error, found.value.shape)
    return Number(found.value.swapaxes(0, 1), error.swapaxes(0, 1))


def by_numpy(points: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    return project(points, cameras, np.float32)


def by_torch(points: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    return torch_pixels(torch.tensor(points), torch.tensor(cameras)).numpy()


def term_by_term(points: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Every product and sum rounded by itself, added from the last, divided before the focal."""
    one = np.float32
    pi = one(np.pi)
    frames = []
    for azimuth, elevation, _, distance, _ in cameras:
        theta, phi = azimuth * pi / one(180), elevation * pi / one(180)
        y, level = distance * np.sin(phi), distance * np.cos(phi)
        position = np.array([level * np.cos(theta), y, level * np.sin(theta)], one)
        up = np.array([y * np.cos(theta + pi), level, y * np.sin(theta + pi)], one)
        rows = np.stack([np.cross(up, position), up, position])
        squares = rows * rows
        length = np.sqrt(squares[:, 2] + squares[:, 1] + squares[:, 0], dtype=one)
        frames.append((position, (rows.T / length).T))
    inverse = np.linalg.inv(frames[0][1].T)
    products = points[:, :, None] * inverse[None]
    world = (products[:, 2] + products[:, 1] + products[:, 0]) + frames[0][0]
    views = []
    for position, rows in frames:
        terms = (world - position)[:, None, :] * rows[None]
        x, y, z = (terms[..., 2] + terms[..., 1] + terms[..., 0]).T
        h, w = one(248) * (-y / -z) + one(112), one(248) * (x / -z) + one(112)
        views.append(np.clip(np.stack([h, w], axis=1), 0, 223))
    return np.stack(views)


EVALUATIONS = (by_numpy, by_torch, term_by_term)


@pytest.mark.parametrize("seed", range(6))
def test_values_are_those_of_the_inputs_package(seed: int) -> None:
    points, cameras = draw(seed)
    found = bounded_pixels(points, cameras, "float32").value
    assert found.shape == (3, POINTS, 2)
    np.testing.assert_allclose(found, project(points, cameras, clamp=False), rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("evaluate", EVALUATIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", range(DRAWS))
def test_float32_stays_within_the_bound(
    evaluate: Callable[[np.ndarray, np.ndarray], np.ndarray], seed: int
) -> None:
    points, cameras = draw(seed)
    bounded = bounded_pixels(points, cameras, "float32")
    found = evaluate(points, cameras)
    assert found.dtype == np.float32
    error = np.abs(found - np.clip(bounded.value, 0, 223))
    assert (error <= bounded.error).all()


@pytest.mark.parametrize("seed", range(20))
def test_float32_inverse_of_an_exact_rotation_stays_within_its_bound(seed: int) -> None:
    u = UNIT_ROUNDOFF["float32"]
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0].astype(np.float32)
    state = State(arithmetic_of("coarse", "float32"))
    inverse = RULES["inverse"].number(state, {}, exactly(rotation.T))
    value, error = inverse.value, inverse.error
    found = np.linalg.inv(rotation.T)
    assert found.dtype == np.float32
    difference = np.abs(found - value)
    assert difference.max() > 0
    assert (difference <= error).all()
    assert (error < 40 * u).all()


def test_bound_is_not_absurdly_loose() -> None:
    """Over all draws the greatest error uses more than 1 % of its bound, of a few 1e-3 pixels."""
    used, bounds = [], []
    for seed in range(DRAWS):
        points, cameras = draw(seed)
        bounded = bounded_pixels(points, cameras, "float32")
        inside = ((bounded.value > 0) & (bounded.value < 223)).all(axis=2)
        error = np.abs(term_by_term(points, cameras) - bounded.value)
        used.append((error / bounded.error)[inside].max())
        bounds.append(np.median(bounded.error[inside]))
    assert max(used) > 0.01
    assert np.median(bounds) < 0.005


def test_bound_of_float64_is_that_much_smaller() -> None:
    points, cameras = draw(1)
    wide, narrow = (bounded_pixels(points, cameras, dtype) for dtype in ("float64", "float32"))
    ratio = wide.error / narrow.error
    # Twice 2**-29, the run's own float64 and ours, less what float64 computes without rounding.
    assert (ratio > 2**-29).all() and (ratio < 2.2 * 2**-29).all()


NOWHERE = {
    "point in the camera's plane": (np.zeros((2, 3)), None),
    "NaN point": (np.full((2, 3), np.nan), None),
    "infinite point": (np.full((2, 3), np.inf), None),
    "huge point": (np.full((2, 3), 1e38), None),
    "camera at the origin": (np.ones((2, 3)), np.zeros((3, 5))),
    "NaN camera": (np.ones((2, 3)), np.full((3, 5), np.nan)),
    "camera straight above": (-np.ones((2, 3)), np.array([[0, 90, 0, 1, 25]] * 3)),
}


@pytest.mark.parametrize("case", NOWHERE)
def test_what_has_no_pixel_is_no_error(case: str) -> None:
    points, cameras = NOWHERE[case]
    cameras = draw(1)[1] if cameras is None else cameras
    bounded = bounded_pixels(points.astype(np.float32), cameras, "float32")
    assert bounded.value.shape == bounded.error.shape == (3, 2, 2)
    if case not in ("camera straight above", "huge point"):
        assert not np.isfinite(bounded.error[0]).any()
