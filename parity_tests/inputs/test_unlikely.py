"""What is legal and unlikely to be meant has a note with its numbers; sound items have none."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.ground_truth import load_ground_truth, notes_on_truth
from inputs.item import load_item
from inputs.meshes import save_obj
from inputs.template import build_template
from parity.traces.sources import read_sources

TEMPLATE = build_template()
METADATA = "rendering/rendering_metadata.txt"
OTHERS = [(view, view + 1, view + 2) for view in range(0, 24, 3)]
VIEWS = [(0, 6, 7), *(pytest.param(views, marks=pytest.mark.slow) for views in OTHERS)]


@pytest.mark.parametrize("views", VIEWS, ids=str)
@pytest.mark.parametrize("name", DEMO_ITEMS)
def test_silent_on_the_demo_items(name: str, views: tuple[int, ...]) -> None:
    folder = demo_item_path(name)
    assert read_sources(folder, views=views, ground_truth=folder / "model_normal.xyz").notes == ()


@pytest.mark.parametrize("template", [None, "template/info_ellipsoid.dat"])
def test_silent_on_the_official_items(template: str | None, official: Path) -> None:
    given = None if template is None else official / template
    folder = next((official / "shapenet_item").glob("*/*"))
    truth = folder / "model_normal.xyz"
    assert read_sources(folder, ground_truth=truth, template=given).notes == ()
    assert read_sources(official / "demo", template=given).notes == ()


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_item_path("plane"), tmp_path / "plane"))


Edit = Callable[[np.ndarray], np.ndarray]


def repaint(folder: Path, view: int, edit: Edit) -> None:
    path = folder / f"rendering/{view:02d}.png"
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None and cv2.imwrite(str(path), edit(pixels))


def on_ground(value: int) -> Edit:
    """Composed over a ground of one grey, as a screenshot is."""

    def edit(pixels: np.ndarray) -> np.ndarray:
        pixels[pixels[..., 3] == 0] = value
        pixels[..., 3] = 255
        return pixels

    return edit


def transparent(pixels: np.ndarray) -> np.ndarray:
    return pixels * np.uint8(0)


def far_away(pixels: np.ndarray) -> np.ndarray:
    small = np.zeros_like(pixels)
    small[64:71, 64:71] = cv2.resize(pixels, (7, 7), interpolation=cv2.INTER_NEAREST)
    return small


def at_the_side(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[:, 60:], pixels[:, :60] * np.uint8(0)], axis=1)


IMAGES: dict[str, tuple[int, Edit, str]] = {
    "black-ground": (0, on_ground(0), "plane/00.png (view 0): not one transparent pixel, and 0 % of"
                     " its border is white: the network was made for objects on white"),
    "white-ground": (0, on_ground(255), "plane/00.png (view 0): not one transparent pixel, and "
                     "100 % of its border is white: read like a transparent ground"),
    "empty": (6, transparent, "plane/06.png (view 6): empty, none of its 18,769 pixels shows"),
    "small": (7, far_away, "plane/07.png (view 7): nearly empty, the object is on"),
    "cut": (6, at_the_side, "plane/06.png (view 6): the object touches the image's border (pixels: "
            "left"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, plane: Path) -> None:
    view, edit, expected = IMAGES[name]
    repaint(plane, view, edit)
    (note,) = load_item(plane).notes
    assert note.startswith(expected)


def move(folder: Path, edit: Callable[[np.ndarray], None]) -> None:
    rows = np.loadtxt(folder / METADATA)
    edit(rows)
    np.savetxt(folder / METADATA, rows)


def test_two_cameras_alike(plane: Path) -> None:
    def edit(rows: np.ndarray) -> None:
        rows[6, :2] = rows[0, :2] + (0.1, 0)

    move(plane, edit)
    (note,) = load_item(plane).notes
    assert note.startswith("plane: the cameras of views 0 and 6 are alike, 0.09° apart: the")
    assert note.endswith("and has 2 of them here in place of 3")


def test_all_cameras_alike(plane: Path) -> None:
    def edit(rows: np.ndarray) -> None:
        rows[:] = rows[0]

    move(plane, edit)
    (note,) = load_item(plane).notes
    assert note.startswith("plane: the cameras of views 0, 6, 7 are all alike, at most 0.00° apart")


def test_one_image_for_two_views(plane: Path) -> None:
    shutil.copy(plane / "rendering/00.png", plane / "rendering/07.png")
    assert list(load_item(plane).notes) == [
        "plane/00.png (view 0) and plane/07.png (view 7) are the same image, pixel by pixel: if "
        "their cameras differ, one of them is not the camera that took it"
    ]


def in_world(points: np.ndarray) -> np.ndarray:
    return np.asarray(points + np.array([0, 0, 0.8]))


def aside(points: np.ndarray) -> np.ndarray:
    return np.asarray(points + np.array([0, 0.5, 0]))


MESHES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "around-the-camera": (in_world, "behind the cameras of the 3 views or beside them"),
    "beside-the-image": (aside, "fall outside the images of the 3 views"),
}


@pytest.mark.parametrize("name", MESHES)
def test_meshes(name: str, tmp_path: Path) -> None:
    edit, expected = MESHES[name]
    save_obj(tmp_path / "m.obj", edit(TEMPLATE.coordinates.astype(float)), TEMPLATE.faces[0])
    sources = read_sources(demo_item_path("plane"), mesh=tmp_path / "m.obj")
    (note,) = sources.notes
    assert note.startswith("m.obj: of its 156 vertices ") and expected in note
    assert sources.of("coarse").notes == (note,)
    # A mesh that a stage computed is not the user's.
    assert sources.of("coarse", TEMPLATE.coordinates).notes == ()


def test_the_initial_mesh_behind_a_camera(plane: Path) -> None:
    def edit(rows: np.ndarray) -> None:
        rows[0, 3] = 3.0

    move(plane, edit)
    (note,) = read_sources(plane).notes
    assert note.startswith("the initial mesh: of its 156 vertices 0, ")


def test_a_mesh_of_other_numbers(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(156)
    faces = np.argsort(order)[TEMPLATE.faces[0]]
    save_obj(tmp_path / "m.obj", TEMPLATE.coordinates[order], faces)
    (note,) = read_sources(demo_item_path("plane"), mesh=tmp_path / "m.obj").notes
    assert note.startswith("m.obj: 0 of its 308 triangles are the template's: the network takes")
    save_obj(tmp_path / "m.obj", TEMPLATE.coordinates, TEMPLATE.faces[0][::-1, [1, 2, 0]])
    assert read_sources(demo_item_path("plane"), mesh=tmp_path / "m.obj").notes == ()


def truth_in(folder: Path, edit: Callable[[np.ndarray], np.ndarray]) -> tuple[str, ...]:
    """The notes on the folder's ground truth after a change, in the first view's camera frame."""
    item = load_item(folder)
    truth = load_ground_truth(folder / "model_normal.xyz", item.cameras[0])
    changed = replace(truth, points=edit(truth.points.astype(float)).astype(np.float32))
    return notes_on_truth(changed, Path("gt.npy"), TEMPLATE, item)


CENTRE = np.array([0, 0, -0.8])
TRUTHS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "object-frame": (in_world, "its points are around (0.02, 0.00, -0.04)"),
    "scaled-twice": (lambda points: (points - CENTRE) * 0.57 + CENTRE, "in the 3 views"),
    "upside-down": (lambda points: points * np.array([1, -1, 1]), "in the 3 views"),
    "millimetres": (lambda points: points * 1000, "with radius 236"),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_ground_truth_in_another_frame(name: str) -> None:
    edit, expected = TRUTHS[name]
    (note,) = truth_in(demo_item_path("plane"), edit)
    assert note.startswith("gt.npy: not in the frame of the object, it seems: ")
    assert expected in note


def test_xyz_of_another_view_s_camera(plane: Path) -> None:
    """The rows of two views have changed places: a wrong camera moves the object's frame."""

    def edit(rows: np.ndarray) -> None:
        rows[[0, 2]] = rows[[2, 0]]

    move(plane, edit)
    (note,) = truth_in(plane, np.asarray)
    assert "in the 3 views" in note
