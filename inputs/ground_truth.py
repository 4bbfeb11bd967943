"""Ground truth: points sampled on an object's surface, with normals, in the meshes' frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from inputs.cameras import OBJECT_TO_WORLD, camera_from_row, world_to_camera
from inputs.files import Array, Float32, float32, read_npy, read_table, shown
from inputs.meshes import load_mesh
from inputs.pickles import load_pickle
from inputs.template import Template
from inputs.unlikely import Note, truth_notes
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    # Its images are read by OpenCV, which who has them already need not have.
    from inputs.item import Item

GROUND_TRUTH_FILES = ".xyz, .dat, .npy, .obj, .ply, .stl or .off"
"""What ground truth may be, for help texts and messages."""

_XYZ_ROW = "rows x y z nx ny nz in the object frame"
_CAMERA_FRAME = "N×6 (points and normals) or N×3 numbers in the first view's camera frame"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What the losses compare a mesh with.

    Attributes:
        points: (N, 3) float32, camera frame of the first view.
        normals: (N, 3) float32, same frame, of unit length or zero where the data set has none;
            None where the file has no normals.
    """

    points: Float32
    normals: Float32 | None


def load_ground_truth(path: str | Path, camera_row: npt.ArrayLike) -> GroundTruth:
    """Read ground truth in any of its forms.

    ``.xyz`` files hold ShapeNet's rows in the object frame and are moved to the camera's frame, in
    float64; ``.dat`` (a pickled N×6 array, or an image and one), ``.npy`` and the vertices of mesh
    files are in that frame already.

    Args:
        path: the file.
        camera_row: (5,) camera row of the item's first view.

    Raises:
        InputError: unreadable, another suffix, other columns, no points, or numbers that are not
            finite in float32.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".xyz":
        return _from_object_frame(path, camera_row)
    if suffix in (".obj", ".ply", ".stl", ".off"):
        mesh = load_mesh(path)
        return GroundTruth(mesh.vertices, mesh.normals)
    if suffix == ".dat":
        found = load_pickle(path)
        # The authors' test split has the first view's image before it.
        pair = (
            isinstance(found, list | tuple) and len(found) == 2 and isinstance(found[1], np.ndarray)
        )
        return _from_columns(path, found[1] if pair else found)
    if suffix == ".npy":
        return _from_columns(path, read_npy(path, _CAMERA_FRAME))
    raise InputError(path, f"has suffix {path.suffix!r}", f"ground truth: {GROUND_TRUTH_FILES}")


def notes_on_truth(
    truth: GroundTruth, path: Path, template: Template, item: "Item | None"
) -> tuple[Note, ...]:
    """What is unlikely to be meant in ground truth that was read from ``path``.

    Args:
        truth: the points and normals.
        path: their file.
        template: of the meshes that are to be held against them.
        item: whose images show the object, where it is known.
    """
    views = (None, ()) if item is None else (item.cameras, item.silhouettes)
    return tuple(truth_notes(Path(path).name, truth.points, template.coordinates, *views))


def _from_object_frame(path: Path, camera_row: npt.ArrayLike) -> GroundTruth:
    rows = read_table(path, (6,), _XYZ_ROW)
    camera = camera_from_row(camera_row)
    points = world_to_camera(rows[:, :3] * OBJECT_TO_WORLD, camera)
    normals = rows[:, 3:] @ camera.rotation.T
    return GroundTruth(float32(path, points, _XYZ_ROW), float32(path, normals, _XYZ_ROW))


def _from_columns(path: Path, array: Array | object) -> GroundTruth:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(path, f"holds {kind}", _CAMERA_FRAME)
    if array.ndim != 2 or array.shape[1] not in (3, 6) or len(array) == 0:
        raise InputError(path, f"has shape {shown(array.shape)}", _CAMERA_FRAME)
    columns = float32(path, array, _CAMERA_FRAME)
    normals = np.ascontiguousarray(columns[:, 3:]) if columns.shape[1] == 6 else None
    return GroundTruth(np.ascontiguousarray(columns[:, :3]), normals)
