"""The algebra of moves, and their description by axis and angle."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from parity.meshes.similarity import Similarity

AXIS = np.array([2.0, -1.0, 2.0]) / 3.0
SHIFT = np.array([0.1, -0.2, 0.3])


def turned(degrees: float, mirrored: bool = False) -> Similarity:
    rotation = Rotation.from_rotvec(np.deg2rad(degrees) * AXIS).as_matrix()
    return Similarity(-rotation if mirrored else rotation, 2.5, SHIFT)


@pytest.mark.parametrize("mirrored", [False, True], ids=["rigid", "mirrored"])
@pytest.mark.parametrize("degrees", [0.01, 30.0, 179.9, 180.0])
def test_axis_and_angle(degrees: float, mirrored: bool) -> None:
    move = turned(degrees, mirrored)
    assert move.mirrored is mirrored
    assert move.degrees == pytest.approx(degrees, abs=1e-6)
    # At half a turn an axis and its negative are the same.
    sign = np.sign(move.axis @ AXIS) if degrees == 180.0 else 1.0
    np.testing.assert_allclose(sign * move.axis, AXIS, atol=1e-6)


def test_no_turn_has_an_axis_of_length_1() -> None:
    still = Similarity(np.eye(3), 1.0, np.zeros(3))
    assert still.degrees == 0.0
    assert np.linalg.norm(still.axis) == pytest.approx(1.0)


def test_move_is_scale_times_rotation_plus_shift() -> None:
    points = np.random.default_rng(0).standard_normal((5, 3))
    move = turned(40.0)
    expected = [2.5 * (move.rotation @ point) + SHIFT for point in points]
    np.testing.assert_allclose(move.apply(points), expected, rtol=1e-14)


def test_inverse_undoes_and_then_joins() -> None:
    points = np.random.default_rng(0).standard_normal((5, 3))
    first, second = turned(40.0), turned(70.0, mirrored=True)
    np.testing.assert_allclose(first.inverse().apply(first.apply(points)), points, atol=1e-14)
    joined = first.then(second)
    np.testing.assert_allclose(joined.apply(points), second.apply(first.apply(points)), rtol=1e-12)
    assert joined.mirrored


def test_json_says_everything() -> None:
    value = turned(40.0).to_json()
    assert set(value) == {"axis", "degrees", "mirrored", "rotation", "scale", "translation"}
    assert value["degrees"] == pytest.approx(40.0)
    assert np.shape(value["rotation"]) == (3, 3)
