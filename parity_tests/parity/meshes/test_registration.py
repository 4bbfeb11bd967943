"""Moves between frames are found again, whatever they were, and nothing is found that is not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inputs.cameras import camera_from_row
from inputs.demo.make import surface_points
from inputs.demo.models import modelled
from inputs.files import Float64
from inputs.item import read_cameras
from inputs.meshes import load_mesh
from inputs.sampling import choose_faces, points_on
from parity.meshes.registration import register
from parity.meshes.similarity import Similarity

CLOSE = 0.01  # of the diagonal
MESHES = ("demo/predict.obj", "paper_port/mvp2m_prediction.obj")


def object_points(name: str, seed: int, count: int = 1500) -> Float64:
    """Points on a demo object, drawn anew for each seed; both are their own mirror image."""
    return surface_points(modelled(name), seed, count)[:, :3]


def any_move(seed: int, mirrored: bool = False) -> Similarity:
    """Any rotation, a scale from 0.3 to 3, a shift of about the object's size."""
    random = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed).as_matrix() * (-1.0 if mirrored else 1.0)
    return Similarity(rotation, float(0.3 * 10 ** random.random()), random.standard_normal(3))


def left_over(points: Float64, done: Similarity, undone: Similarity) -> float:
    """Greatest distance of a point from where it began, as a share of the diagonal."""
    gap = np.linalg.norm(undone.apply(done.apply(points)) - points, axis=1).max()
    return float(gap / np.linalg.norm(np.ptp(points, axis=0)))


def mesh_points(path: Path, seed: int) -> tuple[Float64, Float64]:
    """A mesh's vertices, and 10,000 points on it."""
    vertices = load_mesh(path).vertices.astype(np.float64)
    faces = load_mesh(path).faces
    random = np.random.default_rng(seed)
    face = choose_faces(vertices, faces, random.random(10_000))
    return vertices, points_on(vertices, faces, face, random.random(10_000), random.random(10_000))


@pytest.mark.parametrize(("name", "seed"), [("plane", 0), ("sofa", 1)])
def test_move_is_found(name: str, seed: int) -> None:
    source, target = object_points(name, 1), object_points(name, 2)
    move = any_move(seed)
    found = register(move.apply(source), target)
    assert found is not None
    assert left_over(source, move, found.move) < CLOSE
    assert not found.move.mirrored
    assert found.rival is None


def test_mirror_image_is_found_where_no_rigid_move_fits() -> None:
    # The object and a box beside its left wing: no rotation makes that the right wing.
    beside = np.array([0.1, 0.15, 0.3])
    clouds = []
    for seed in (1, 2):
        box = np.random.default_rng(seed).random((400, 3)) * 0.2 + beside
        clouds.append(np.concatenate([object_points("plane", seed), box]))
    move = any_move(3, mirrored=True)
    found = register(move.apply(clouds[0]), clouds[1])
    assert found is not None
    assert found.move.mirrored
    assert left_over(clouds[0], move, found.move) < CLOSE


def test_flying_points_do_not_carry_the_rest_away() -> None:
    source, target = object_points("plane", 1), object_points("plane", 2)
    move = any_move(5)
    flying = move.apply(source)
    flying[:10] += 20.0 * move.scale
    found = register(flying, target)
    assert found is not None
    assert left_over(source[10:], move, found.move) < CLOSE


def test_symmetric_shape_has_a_rival() -> None:
    random = np.random.default_rng(0)
    # A brick: half a turn around any axis carries it onto itself.
    source, target = (
        np.where(np.arange(3) == axis[:, None], np.sign(cube), cube) * [3.0, 2.0, 1.0]
        for cube, axis in (
            (random.uniform(-1, 1, (1500, 3)), random.integers(0, 3, 1500)) for _ in range(2)
        )
    )
    found = register(any_move(1).apply(source), target)
    assert found is not None
    assert found.rival is not None
    turn = found.move.inverse().then(found.rival)
    assert turn.degrees == pytest.approx(180.0, abs=2.0)


@pytest.mark.parametrize("which", ["source", "target"])
def test_nothing_is_said_of_a_dot(which: str) -> None:
    sets = {"source": object_points("sofa", 1), "target": object_points("sofa", 2)}
    sets[which] = np.full((20, 3), 0.7)
    assert register(sets["source"], sets["target"]) is None


def test_result_is_the_same_on_every_run() -> None:
    source, target = object_points("sofa", 1, 300), object_points("sofa", 2, 300)
    first, second = register(source, target), register(source, target)
    assert first is not None and second is not None
    np.testing.assert_array_equal(first.move.rotation, second.move.rotation)
    assert (first.move.scale, first.distance) == (second.move.scale, second.distance)


@pytest.mark.parametrize(("name", "view"), [(MESHES[0], 0), (MESHES[1], 13)])
def test_camera_is_found(official: Path, name: str, view: int) -> None:
    check_camera(official, name, view)


@pytest.mark.slow
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("view", range(24))
def test_every_camera_is_found(official: Path, name: str, view: int) -> None:
    check_camera(official, name, view)


@pytest.mark.slow
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("seed", range(20))
def test_any_move_of_official_mesh_is_found(official: Path, name: str, seed: int) -> None:
    vertices, target = mesh_points(official / name, 100 + seed)
    _, source = mesh_points(official / name, 0)
    move = any_move(seed)
    found = register(move.apply(source), target)
    assert found is not None
    assert left_over(vertices, move, found.move) < CLOSE
    assert not found.move.mirrored


def check_camera(official: Path, name: str, view: int) -> None:
    item = official / "shapenet_item/02691156/1a0bc9ab92c915167ae33d942430658c"
    rows = read_cameras(item / "rendering/rendering_metadata.txt")
    camera = camera_from_row(rows[view])
    move = Similarity(camera.rotation, 1.0, -camera.rotation @ camera.position)
    move = move.then(Similarity(np.eye(3), float(0.3 * 10 ** (view / 23)), np.zeros(3)))
    vertices, target = mesh_points(official / name, 100 + view)
    _, source = mesh_points(official / name, 0)
    found = register(move.apply(source), target)
    assert found is not None
    assert left_over(vertices, move, found.move) < CLOSE
    assert not found.move.mirrored
