"""Frame mismatches are named with their move, and bad meshes are not taken for one."""

from pathlib import Path

import numpy as np
import pytest

from inputs.cameras import OBJECT_TO_WORLD, camera_from_row, world_to_camera
from inputs.demo import demo_item_path
from inputs.demo.make import surface_points
from inputs.demo.models import modelled
from inputs.files import Float64, Int64
from inputs.ground_truth import GroundTruth, load_ground_truth
from inputs.item import load_item
from inputs.meshes import load_mesh
from inputs.sampling import draw
from inputs.template import build_template
from parity.meshes.frames import Frame, check_frame, name_of
from parity.meshes.losses import Samples, measured_points, surface_of, unpooled
from parity.meshes.similarity import Similarity

TEMPLATE = build_template()
CAMERAS = np.array([[40.0, 27, 0, 0.8, 25], [130.0, 30, 0, 0.9, 25], [250.0, 25, 0, 0.7, 25]])


def plane_mesh() -> tuple[Float64, Int64]:
    """The demo's airliner, in the object frame: its parts in one mesh."""
    parts = modelled("plane")
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [part.triangles + start for part, start in zip(parts, starts[:-1], strict=True)]
    return np.concatenate([part.vertices for part in parts]), np.concatenate(faces)


def seen(points: Float64, view: int = 0) -> Float64:
    """From the object's frame to a view's."""
    return np.asarray(
        world_to_camera(points * OBJECT_TO_WORLD, camera_from_row(CAMERAS[view])), np.float64
    )


def truth_seen() -> GroundTruth:
    points = surface_points(modelled("plane"), 3, 2000)[:, :3]
    return GroundTruth(seen(points).astype(np.float32), None)


def checked(mesh: Float64, faces: Int64 | None, truth: GroundTruth, named: bool = True) -> Frame:
    surface = surface_of("mesh", len(mesh), faces, TEMPLATE, False)
    samples = Samples.drawn("mesh", mesh, surface, draw(np.random.default_rng(0)))
    points = measured_points(mesh, surface, samples)
    found = check_frame(mesh, surface, points, truth, CAMERAS if named else None)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("frame", "name"),
    [("object", "the mesh is in the object's frame"), ("elsewhere", "")],
)
def test_mesh_in_another_frame(frame: str, name: str) -> None:
    vertices, faces = plane_mesh()
    mesh = {"object": vertices, "elsewhere": seen(vertices)[:, [1, 2, 0]] * 2 + 1}[frame]
    found = checked(mesh, faces, truth_seen())
    assert found.mismatch
    assert found.reduction > 100
    assert found.name == name
    undone = found.registration.move.apply(mesh)
    size = np.linalg.norm(np.ptp(seen(vertices), axis=0))
    assert np.linalg.norm(undone - seen(vertices), axis=1).max() <= 0.01 * size


FIRST = camera_from_row(CAMERAS[0])
FRAMES = {
    "the object's frame": lambda points: points,
    "the world frame (the object's times 0.57)": lambda points: points * 0.57,
    "the first view's frame without the object's scale of 0.57": lambda points: world_to_camera(
        points, FIRST
    ),
    "the camera frame of the second view": lambda points: seen(points, 1),
    "the camera frame of the third view": lambda points: seen(points, 2),
    "the axes of OpenCV's cameras (Y down, Z forward)": lambda points: seen(points) * [1, -1, -1],
}


@pytest.mark.parametrize("wrong", ["mesh", "ground truth"])
@pytest.mark.parametrize("frame", FRAMES)
def test_move_has_a_name(frame: str, wrong: str) -> None:
    points, _ = plane_mesh()
    there, home = FRAMES[frame](points), seen(points)
    mesh, truth = (there, home) if wrong == "mesh" else (home, there)
    move = exact(mesh, truth)
    expected = f"the {wrong} is in {frame}"
    if "OpenCV" in frame:
        expected = f"the mesh is in {frame}"  # its own inverse: which of the two cannot be told
    assert name_of(move, mesh, CAMERAS) == expected
    off = Similarity(move.rotation, move.scale * 1.05, move.translation)
    assert name_of(off, mesh, CAMERAS) == ""


def exact(source: Float64, target: Float64) -> Similarity:
    """The move between points that correspond."""
    first, second = source - source.mean(axis=0), target - target.mean(axis=0)
    scale = float(np.linalg.norm(second) / np.linalg.norm(first))
    rotation = np.linalg.lstsq(first, second / scale, rcond=None)[0].T
    return Similarity(
        rotation, scale, target.mean(axis=0) - scale * source.mean(axis=0) @ rotation.T
    )


def test_noise_is_no_mismatch() -> None:
    vertices, faces = plane_mesh()
    noise = np.random.default_rng(0).standard_normal(vertices.shape) * 0.004
    found = checked(seen(vertices) + noise, faces, truth_seen())
    assert not found.mismatch
    assert found.reduction < 3


def test_bad_mesh_is_no_mismatch() -> None:
    folder = demo_item_path("plane")
    row = load_item(folder).cameras[0]
    truth = load_ground_truth(folder / "model_normal.xyz", row)
    ellipsoid = unpooled(TEMPLATE.coordinates.astype(np.float64), 2466, TEMPLATE)
    assert ellipsoid is not None
    found = checked(ellipsoid, None, truth)
    assert not found.mismatch


def test_official_meshes_in_their_frame(official: Path) -> None:
    folder = official / "paper_port"
    mesh = load_mesh(folder / "mvp2m_prediction.obj").vertices.astype(np.float64)
    faces = load_mesh(folder / "mvp2m_prediction.obj").faces
    truth = load_ground_truth(folder / "mvp2m_gt_points.obj", CAMERAS[0])
    found = checked(mesh, faces, truth)
    assert not found.mismatch
    assert found.reduction < 1.5


def test_rounding_is_no_mismatch() -> None:
    """Nearly equal points have a chamfer of nearly 0, which means nothing divided by another."""
    mesh = TEMPLATE.coordinates.astype(np.float64)
    surface = surface_of("mesh", len(mesh), None, TEMPLATE, False)
    truth = GroundTruth((mesh + 1e-8).astype(np.float32), None)
    found = check_frame(mesh, surface, mesh, truth)
    assert found is not None
    assert not found.mismatch


def test_what_has_no_extent_is_not_checked() -> None:
    mesh = TEMPLATE.coordinates.astype(np.float64)
    surface = surface_of("mesh", len(mesh), None, TEMPLATE, False)
    dot = GroundTruth(np.zeros((1, 3), np.float32), None)
    assert check_frame(mesh, surface, mesh, dot) is None


def test_large_triangles_do_not_draw_all_points() -> None:
    """A vertex that flew away takes most of the area with it, but not the registration."""
    vertices, faces = plane_mesh()
    mesh = seen(vertices)
    mesh[17] += 5.0
    moved = mesh[:, [1, 2, 0]] * 2 + 1
    move = checked(moved, faces, truth_seen()).registration.move
    gaps = np.linalg.norm(move.apply(moved) - mesh, axis=1)
    assert np.median(gaps) <= 0.01 * np.linalg.norm(np.ptp(seen(vertices), axis=0))
