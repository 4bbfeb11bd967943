"""An item: three images of one object and the cameras that took them.

Two layouts of a folder are read. ShapeNet's renderings have ``rendering/NN.png`` for 24 views and
``rendering/rendering_metadata.txt`` with a camera row a view. The official demo has files ending in
``1.png``, ``2.png``, ``3.png`` and ``cameras.txt`` with three rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from inputs.cameras import IMAGE_SIZE
from inputs.files import Float32, Float64, float32, read_table
from inputs.png import read_rgba
from inputs.unlikely import Note, Silhouette, camera_notes, image_notes, silhouette_of
from weight_conversion.errors import InputError

DEFAULT_VIEWS = (0, 6, 7)
"""The views that the official training and tests use."""

VIEW_COUNT = 3
"""Images of an item: the graphs are built for exactly so many."""

RENDERING_SIZE = 137
"""Width and height of a rendering, in pixels."""

_CAMERA_COLUMNS = 5
_CAMERA_ROW = "azimuth°, elevation°, in-plane rotation, distance > 0, field of view"
_LAYOUTS = (
    "rendering/NN.png with rendering/rendering_metadata.txt, "
    "or *1.png, *2.png, *3.png with cameras.txt"
)

# Far outside, the graph's float32 squares of squares of the distance overflow or vanish and the
# camera becomes NaN; real rows are between 0.6 and 1.
_NEAREST, _FARTHEST = 1e-6, 1e6


@dataclass(frozen=True, eq=False)
class Item:
    """What the network is fed with about one object.

    Attributes:
        name: the folder's name.
        images: (3, 224, 224, 3) float32, blue, green, red in [0, 1], white where transparent.
        cameras: (3, 5) float32, a camera row a view; the first view's frame is the meshes'.
        silhouettes: where each view's rendering shows the object, None where that is not known.
        notes: what is legal in images and cameras and unlikely to be meant.
    """

    name: str
    images: Float32
    cameras: Float32
    silhouettes: tuple[Silhouette | None, ...] = (None,) * VIEW_COUNT
    notes: tuple[Note, ...] = ()


def load_item(folder: str | Path, views: Sequence[int] = DEFAULT_VIEWS) -> Item:
    """Read an item in either layout.

    Args:
        folder: the item's folder.
        views: three different view numbers; the first one's camera frame is the meshes' frame. In
            the demo's layout, which has three images, the default stands for all of them in order,
            and other values choose another order of 0, 1, 2.

    Raises:
        InputError: the folder, an image or a camera row is missing or unusable, or the views are
            not three different ones of the item.
    """
    folder = Path(folder)
    chosen = _check_views(views)
    try:
        rows, paths = _rows_and_images(folder)
    except (OSError, ValueError) as error:
        # An unreadable folder, a name that is too long or holds a null byte.
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(folder, reason, f"an item: {_LAYOUTS}") from error
    if len(rows) == VIEW_COUNT and chosen == DEFAULT_VIEWS:
        chosen = (0, 1, 2)
    outside = [view for view in chosen if view >= len(rows)]
    if outside:
        raise InputError(folder, f"has no view {outside[0]}", f"views 0 to {len(rows) - 1}")
    renderings = [read_rgba(paths[view], RENDERING_SIZE) for view in chosen]
    cameras = float32(folder, rows[list(chosen)], _CAMERA_ROW)
    name = folder.resolve().name
    titles = [f"{name}/{paths[view].name} (view {view})" for view in chosen]
    return Item(
        name,
        np.stack([network_image(rendering) for rendering in renderings]),
        cameras,
        tuple(silhouette_of(rendering) for rendering in renderings),
        (*image_notes(titles, renderings), *camera_notes(name, chosen, cameras)),
    )


def _rows_and_images(folder: Path) -> tuple[Float64, list[Path]]:
    """The camera rows of the item and the image of each, in either layout."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "no such folder"
        raise InputError(folder, found, f"an item: {_LAYOUTS}")
    rendering = folder / "rendering"
    if rendering.is_dir():
        rows = read_cameras(rendering / "rendering_metadata.txt")
        return rows, [rendering / f"{view:02d}.png" for view in range(len(rows))]
    if (folder / "cameras.txt").exists() or any(folder.glob("*[123].png")):
        rows = read_cameras(folder / "cameras.txt", VIEW_COUNT)
        return rows, [_one_image(folder, number) for number in (1, 2, 3)]
    raise InputError(folder, "is not an item", _LAYOUTS)


def read_cameras(path: Path, count: int | None = None) -> Float64:
    """The camera rows of a metadata file.

    Args:
        path: a text file, a row a view.
        count: rows that it must have, if that is known.

    Returns:
        (views, 5) float64.

    Raises:
        InputError: missing, a row with another number of values than five, a value that is no
            finite number, a distance outside 1e-6 to 1e6, or another number of rows.
    """
    rows = read_table(path, (_CAMERA_COLUMNS,), f"five numbers: {_CAMERA_ROW}")
    distances = rows[:, 3]
    wrong = np.flatnonzero(~((distances >= _NEAREST) & (distances <= _FARTHEST)))
    if len(wrong):
        raise InputError(
            path,
            f"the distance of view {wrong[0]} is {distances[wrong[0]]:g}",
            f"{_NEAREST:g} to {_FARTHEST:g}",
        )
    if count is not None and len(rows) != count:
        raise InputError(path, f"has {len(rows)} camera rows", f"{count}, one an image")
    return rows


def network_image(rendering: npt.NDArray[np.uint8]) -> Float32:
    """The official image rule: white where transparent, resized as bytes, then scaled.

    The order matters: resizing in floating point and rounding afterwards changes 1.4 % of the
    values, and blending by alpha changes every silhouette.

    Args:
        rendering: (H, W, 4) uint8, blue, green, red, alpha.

    Returns:
        (224, 224, 3) float32, blue, green, red in [0, 1].
    """
    opaque = np.where(rendering[..., 3:] == 0, np.uint8(255), rendering)
    resized = cv2.resize(opaque, (IMAGE_SIZE, IMAGE_SIZE))
    return resized[..., :3].astype(np.float32) / np.float32(255)


def _check_views(views: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(views)
    numbers = all(isinstance(view, int | np.integer) and view >= 0 for view in chosen)
    if not numbers or len(chosen) != VIEW_COUNT or len(set(chosen)) != VIEW_COUNT:
        listed = ",".join(str(view) for view in chosen[:8])
        raise InputError("views", listed or "none", "three different view numbers, as in 0,6,7")
    return tuple(int(view) for view in chosen)


def _one_image(folder: Path, number: int) -> Path:
    found = sorted(folder.glob(f"*{number}.png"))
    if not found:
        raise InputError(folder / f"*{number}.png", "no such file", "one image a view")
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:4])
        raise InputError(folder, f"several images end in {number}.png: {names}", "one a view")
    return found[0]
