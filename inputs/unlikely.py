"""What is legal in the inputs and unlikely to be meant: a note for each, with what follows from it.

A note is a sentence with its numbers, and of a kind, by which those of many items are counted.

Nothing here is an error. The limits leave room around what the official data set has: all views of
the items at hand show the object whole on 4 to 33 % of the image, and their ground truth falls on
the silhouettes to within 3 pixels, the boxes of both having 93 % and more in common.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation

from inputs.cameras import (
    IMAGE_SIZE,
    camera_from_row,
    camera_to_world,
    pixels,
    project,
    world_to_camera,
)
from inputs.files import Float32, Int64

Silhouette = npt.NDArray[np.bool_]
"""(H, W): where a rendering shows the object."""


class Kind(Enum):
    """What a note is about; the value is for people."""

    OPAQUE = "an image without one transparent pixel, its ground not white"
    ON_WHITE = "an image without one transparent pixel, on white"
    EMPTY = "an image that is empty, or nearly"
    BORDER = "an object that touches an image's border"
    SAME_IMAGE = "two views of one image"
    ALIKE = "cameras that are alike"
    BEHIND = "a mesh behind a camera"
    OUTSIDE = "a mesh outside the images"
    NUMBERED = "a mesh whose triangles are not the template's"
    FRAME = "ground truth not in the object's frame"


class Note(str):
    """A sentence, and its kind."""

    __slots__ = ("kind",)
    kind: Kind

    def __new__(cls, kind: Kind, text: str) -> "Note":
        note = super().__new__(cls, text)
        note.kind = kind
        return note

    def __getnewargs__(self) -> tuple[Kind, str]:  # type: ignore[override]
        return self.kind, str(self)


_WHITE = 250
"""The least value of a channel that counts as white."""
_SMALL = 0.005
"""Share of the image's pixels below which it is nearly empty."""
_ALIKE = 0.5
"""Degrees between two viewing directions below which the cameras are alike."""
_REACH = 3
"""Pixels of a rendering that ground truth may be off its silhouette."""
_ON, _COMMON = 0.95, 0.75
"""Shares of ground truth on the silhouette, and of both their boxes, that are expected at least."""
_AWAY, _LARGER = 0.4, 3.0
"""How far ground truth may be from the initial mesh, in world units, and how many times larger."""


def silhouette_of(rendering: npt.NDArray[np.uint8]) -> Silhouette | None:
    """Where the object is: what is not transparent, or, without transparency, not white.

    Args:
        rendering: (H, W, 4) uint8, blue, green, red, alpha.

    Returns:
        None for an image without transparency whose ground is not white: it cannot be told.
    """
    opaque: Silhouette = rendering[..., 3] > 0
    if not opaque.all():
        return opaque
    coloured: Silhouette = rendering[..., :3].min(axis=2) < _WHITE
    return coloured if _white_border(rendering) == 1.0 else None


def image_notes(names: Sequence[str], renderings: Sequence[npt.NDArray[np.uint8]]) -> list[Note]:
    """Notes on the images of an item.

    Args:
        names: what each is called in a note.
        renderings: (H, W, 4) uint8 each.
    """
    found: list[Note] = []
    for name, rendering in zip(names, renderings, strict=True):
        found += _opaque_notes(name, rendering)
        silhouette = silhouette_of(rendering)
        if silhouette is not None:
            found += _frame_notes(name, silhouette)
    for one, other in combinations(range(len(names)), 2):
        if np.array_equal(renderings[one], renderings[other]):
            same = (
                f"{names[one]} and {names[other]} are the same image, pixel by pixel: if their "
                "cameras differ, one of them is not the camera that took it"
            )
            found.append(Note(Kind.SAME_IMAGE, same))
    return found


def _opaque_notes(name: str, rendering: npt.NDArray[np.uint8]) -> list[Note]:
    if not (rendering[..., 3] > 0).all():
        return []
    white = _white_border(rendering)
    seen = f"{name}: not one transparent pixel, and {_percent(white)} of its border is white"
    if white == 1.0:
        follows = (
            "read like a transparent ground, but where the object's edge was blended with white "
            "the network sees other pixels than those of the rendering"
        )
        return [Note(Kind.ON_WHITE, f"{seen}: {follows}")]
    follows = (
        "the network was made for objects on white (transparent pixels become white) and takes "
        "this ground for part of the object; the mesh may be of something else"
    )
    return [Note(Kind.OPAQUE, f"{seen}: {follows}")]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _white_border(rendering: npt.NDArray[np.uint8]) -> float:
    """The share of the outermost pixels that are white, or nearly."""
    white = rendering[..., :3].min(axis=2) >= _WHITE
    return float(np.concatenate([white[0], white[-1], white[1:-1, 0], white[1:-1, -1]]).mean())


def _frame_notes(name: str, silhouette: Silhouette) -> list[Note]:
    shown, size = int(silhouette.sum()), silhouette.size
    if shown == 0:
        nothing = f"empty, none of its {size:,} pixels shows an object: it adds nothing"
        return [Note(Kind.EMPTY, f"{name}: {nothing}")]
    found = []
    if shown < _SMALL * size:
        little = (
            f"nearly empty, the object is on {shown:,} of {size:,} pixels "
            f"({_percent(shown / size)}): most vertices are given features of the ground"
        )
        found.append(Note(Kind.EMPTY, f"{name}: {little}"))
    sides = {
        "upper": silhouette[0],
        "lower": silhouette[-1],
        "left": silhouette[:, 0],
        "right": silhouette[:, -1],
    }
    touched = {side: int(line.sum()) for side, line in sides.items() if line.any()}
    if touched:
        listed = ", ".join(f"{side} {count}" for side, count in touched.items())
        cut = (
            f"the object touches the image's border (pixels: {listed}), so part of it may be out "
            "of frame: vertices that belong there are given features of the border"
        )
        found.append(Note(Kind.BORDER, f"{name}: {cut}"))
    return found


def camera_notes(name: str, views: Sequence[int], rows: npt.ArrayLike) -> list[Note]:
    """Notes on cameras (K, 5) that are alike.

    Args:
        name: what the item is called in a note.
        views: the number of each.
        rows: their camera rows.
    """
    directions = [
        camera.position / np.linalg.norm(camera.position)
        for camera in map(camera_from_row, np.asarray(rows))
    ]
    apart = {
        (one, other): float(np.degrees(np.arccos(np.clip(first @ second, -1.0, 1.0))))
        for (one, first), (other, second) in combinations(zip(views, directions, strict=True), 2)
    }
    alike = {pair: angle for pair, angle in apart.items() if angle < _ALIKE}
    follows = "the network tells depth from views of different directions"
    if len(alike) == len(apart) > 1:
        listed = ", ".join(str(view) for view in views)
        most = max(apart.values())
        seen = f"the cameras of views {listed} are all alike, at most {most:.2f}° apart"
        return [Note(Kind.ALIKE, f"{name}: {seen}: {follows}, and has one here")]
    left = f"{follows}, and has {len(views) - 1} of them here in place of {len(views)}"
    return [
        Note(
            Kind.ALIKE,
            f"{name}: the cameras of views {one} and {other} are alike, {angle:.2f}° apart: {left}",
        )
        for (one, other), angle in alike.items()
    ]


def mesh_notes(
    name: str,
    vertices: npt.ArrayLike,
    rows: npt.ArrayLike,
    faces: Int64 | None = None,
    template: Sequence[Int64] = (),
) -> list[Note]:
    """Notes on a mesh that a run starts from, or that is measured.

    Args:
        name: what it is called in a note.
        vertices: (V, 3), camera frame of the first view.
        rows: (K, 5) camera rows, the first view's first.
        faces: (F, 3) of its file, where it has any.
        template: (F, 3) of each level of the template that the network knows the mesh by; none
            where the mesh is not read by vertex number.
    """
    points = np.asarray(vertices, dtype=np.float64)
    count = len(points)
    views = [camera_from_row(row) for row in np.asarray(rows)]
    world = camera_to_world(points, views[0])
    behind = [int((world_to_camera(world, view)[:, 2] >= 0).sum()) for view in views]
    found = []
    if any(behind):
        listed = ", ".join(str(number) for number in behind)
        seen = (
            f"of its {count:,} vertices {listed} are behind the cameras of the {len(views)} views "
            "or beside them (Z ≥ 0 in the camera's frame): where they are projected to, and the "
            "features found there, say nothing of where they are"
        )
        found.append(Note(Kind.BEHIND, f"{name}: {seen}"))
    else:
        places = np.stack([pixels(world_to_camera(world, view), clamp=False) for view in views])
        outside = ((places < 0) | (places > IMAGE_SIZE - 1)).any(axis=2).sum(axis=1).tolist()
        if max(outside) > count / 2:
            listed = ", ".join(str(number) for number in outside)
            seen = (
                f"of its {count:,} vertices {listed} fall outside the images of the {len(views)} "
                "views: they are given features of the border"
            )
            found.append(Note(Kind.OUTSIDE, f"{name}: {seen}"))
    if faces is not None:
        found += _number_notes(name, count, faces, template)
    return found


def _number_notes(name: str, count: int, faces: Int64, template: Sequence[Int64]) -> list[Note]:
    """A note where a mesh numbers its vertices otherwise than the template."""
    known = next((level for level in template if int(level.max()) + 1 == count), None)
    if known is None:
        return []
    ours, theirs = ({tuple(sorted(face)) for face in each.tolist()} for each in (faces, known))
    if ours == theirs:
        return []
    stl = " (an .stl file has no vertex numbers)" if name.lower().endswith(".stl") else ""
    seen = (
        f"{len(ours & theirs):,} of its {len(ours):,} triangles are the template's{stl}: the "
        "network takes vertices by their numbers and connects them as the template says, so that "
        "it starts from another surface than the file's; --template names the one it is of"
    )
    return [Note(Kind.NUMBERED, f"{name}: {seen}")]


def truth_notes(
    name: str,
    points: Float32,
    ellipsoid: Float32,
    rows: npt.ArrayLike | None = None,
    silhouettes: Sequence[Silhouette | None] = (),
) -> list[Note]:
    """A note on ground truth that is not where the meshes and the object are.

    Args:
        name: what it is called in a note.
        points: (N, 3), camera frame of the first view.
        ellipsoid: (V, 3), the initial mesh, same frame.
        rows: (K, 5) camera rows, the first view's first, where they are known.
        silhouettes: where each view shows the object, None where that is not known.
    """
    centre, radius = _ball(points)
    middle, about = _ball(ellipsoid)
    away = float(np.linalg.norm(centre - middle))
    said = []
    if away > _AWAY or not 1 / _LARGER < radius / about < _LARGER:
        said.append(
            f"its points are around ({', '.join(f'{each:.2f}' for each in centre)}) with radius "
            f"{radius:.3g}, the initial mesh around ({', '.join(f'{each:.2f}' for each in middle)})"
            f" with {about:.2g}"
        )
    known = [number for number, each in enumerate(silhouettes) if each is not None and each.any()]
    if rows is not None and known:
        places = project(points, rows, clamp=False)
        fits = [_fit(places[number], silhouettes[number]) for number in known]
        if min(on for on, _ in fits) < _ON or min(common for _, common in fits) < _COMMON:
            listed = ", ".join(f"{_percent(on)} and {_percent(common)}" for on, common in fits)
            said.append(
                f"in the {len(fits)} views {listed} of the points are on the object and of both "
                "their boxes in common, where all and most should be"
            )
    if not said:
        return []
    seen = (
        f"not in the frame of the object, it seems: {'; '.join(said)}. Losses then measure the "
        "distance between frames. Rows of .xyz are moved from the object's frame by the first "
        "view's camera; all other forms must be in that camera's frame (docs/inputs.md)"
    )
    return [Note(Kind.FRAME, f"{name}: {seen}")]


def _ball(points: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
    """The middle of the points' box, and how far the farthest is from it."""
    array = np.asarray(points, dtype=np.float64)
    middle = (array.min(axis=0) + array.max(axis=0)) / 2
    return middle, float(np.linalg.norm(array - middle, axis=1).max())


def _fit(places: npt.NDArray[np.float64], silhouette: Silhouette | None) -> tuple[float, float]:
    """The share of points on the silhouette, and of their boxes' union that is in both.

    Args:
        places: (N, 2), h and w, in pixels of the 224 image.
        silhouette: (H, W).
    """
    assert silhouette is not None
    height, width = silhouette.shape
    at = np.nan_to_num(places * (np.array(silhouette.shape) / IMAGE_SIZE), nan=-1e6)
    reach = np.ones((2 * _REACH + 1, 2 * _REACH + 1), bool)
    grown = binary_dilation(silhouette, reach)
    cells = np.clip(np.round(at), -1, [height, width]).astype(int)
    inside = ((cells >= 0) & (cells < [height, width])).all(axis=1)
    on = float(grown[tuple(cells[inside].T)].sum()) / len(places)
    shown = np.argwhere(silhouette)
    boxes = [(at.min(axis=0), at.max(axis=0)), (shown.min(axis=0) - 0.5, shown.max(axis=0) + 0.5)]
    (low, high), (lower, upper) = boxes
    both = np.prod(np.clip(np.minimum(high, upper) - np.maximum(low, lower), 0, None))
    union = np.prod(high - low) + np.prod(upper - lower) - both
    return on, float(both / union)
