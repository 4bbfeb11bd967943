"""Pictures of the two output meshes side by side, and of the difference between them.

Each is a PNG that VTK rendered (``reports.figures.renderer``); as a PDF of polygons
(``reports.figures.vector``) it is drawn on request. The caller gets pictures or the reason why
there are none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.differences import image
from reports.figures.renderer import NotDrawnError, drawing
from reports.figures.scene import (
    VIEW_0,
    Camera,
    drawable,
    oblique_camera,
    unseen,
    vertex_distance,
)
from reports.figures.vector import draw_panel
from reports.meshes import Meshes

SIZE = 540  # pixels of a panel's side
_GREY = (178, 186, 196)
Fill = Callable[[Axes, str], None]
"""Draws the panel of a name into axes."""
DIFFERENCES = LinearSegmentedColormap.from_list(
    "difference", ["#e9e6dc", "#f2b56b", "#d9593d", "#8b1a56", "#1d0c3a"]
)


@dataclass(frozen=True)
class Plate:
    """A picture of several panels side by side, in whichever form they are filled.

    Attributes:
        name: the file's stem.
        caption: what it shows.
        height: of the figure, in inches; it is 8 inches wide.
        panels: each panel's name in the request, and its title.
        unit: of the colours, where there is a scale of them beside the panels.
        most: what the end of that scale stands for.
    """

    name: str
    caption: str
    height: float
    panels: tuple[tuple[str, str], ...]
    unit: str = ""
    most: float = 1.0


@dataclass(frozen=True)
class Rendering:
    """A finished picture: ``name`` is the file's stem."""

    name: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Renderings:
    """The pictures; with ``reason`` saying why there are none where there are none.

    ``request`` and ``plates`` are what the same pictures are drawn from as polygons.
    """

    pictures: tuple[Rendering, ...] = ()
    reason: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    plates: tuple[Plate, ...] = ()


Finish = Callable[[], Renderings]
"""Waits for the pictures. Never raises for what the meshes hold or the machine lacks."""


@contextmanager
def rendering(
    meshes: Meshes, *, timeout: float = 180.0, command: Sequence[str] | None = None
) -> Iterator[Finish]:
    """Draw both meshes from view 0 and obliquely, and their difference as colour.

    VTK begins at once, in another process, and draws while the block does something else; the
    block's value waits for it. ``command`` replaces the drawing process (it gets the two paths of
    ``reports.figures.drawing``).
    """
    try:
        _check(meshes)
    except NotDrawnError as problem:
        reason = str(problem)
        yield lambda: Renderings(reason=reason)
        return
    cameras = {
        "view0": VIEW_0,
        "oblique": oblique_camera(meshes.reference),
        "opposite": oblique_camera(meshes.reference, opposite=True),
    }
    distance, unit = vertex_distance(meshes)
    request = panels(meshes, cameras, distance)
    with drawing(request, timeout, command) as wait:

        def finish() -> Renderings:
            try:
                pictures = wait()
            except NotDrawnError as problem:
                return Renderings(reason=str(problem))
            plates = (
                _side_by_side(
                    "meshes_view0", "view 0 (the network's camera)", meshes, cameras["view0"]
                ),
                _side_by_side("meshes_oblique", "an oblique view", meshes, cameras["oblique"]),
                _difference("vertex_difference", distance, unit),
            )
            drawn = (Rendering(plate.name, _pixels(plate, pictures), plate.caption)
                     for plate in plates)  # fmt: skip
            return Renderings(tuple(drawn), request=request, plates=plates)

        yield finish


def render(
    meshes: Meshes, *, timeout: float = 180.0, command: Sequence[str] | None = None
) -> Renderings:
    """The pictures of ``rendering``, waited for."""
    with rendering(meshes, timeout=timeout, command=command) as finish:
        return finish()


def _check(meshes: Meshes) -> None:
    shapes = f"{meshes.reference.shape} and {meshes.candidate.shape}"
    if meshes.reference.shape != meshes.candidate.shape:
        raise NotDrawnError(f"the meshes' shapes differ: {shapes}")
    if meshes.reference.ndim != 2 or meshes.reference.shape[1] != 3:
        raise NotDrawnError(f"the meshes' shapes are {shapes}, not (V, 3)")
    faces = meshes.faces
    if faces.ndim != 2 or faces.shape[1] != 3 or not faces.size:
        raise NotDrawnError(f"the triangles' shape is {faces.shape}, not (F, 3)")
    if faces.min() < 0 or faces.max() >= len(meshes.reference):
        raise NotDrawnError(
            f"the triangles name vertices {faces.min()} to {faces.max()} of {len(meshes.reference)}"
        )
    if not drawable(meshes.reference).any():
        raise NotDrawnError("no vertex of the reference mesh is finite")


def panels(
    meshes: Meshes, cameras: dict[str, Camera], distance: NDArray[np.float64]
) -> dict[str, Any]:
    """What ``reports.figures.drawing`` is to draw: each panel's triangles, colours and camera.

    Panels are named ``CAMERA_reference``, ``CAMERA_candidate`` and ``CAMERA_difference``;
    ``distance`` (V,) is the number that the difference shows as colour.
    """
    grey = np.tile(np.array(_GREY, np.uint8), (len(distance), 1))
    finite = np.where(np.isfinite(distance), distance, 0)
    colours = (DIFFERENCES(difference_norm(distance)(finite))[:, :3] * 255).round().astype(np.uint8)
    request: dict[str, Any] = {"size": np.int64(SIZE)}
    names = []
    for place, camera in cameras.items():
        for what, vertices, colour, ambient in (
            ("reference", meshes.reference, grey, 0.35),
            ("candidate", meshes.candidate, grey, 0.35),
            ("difference", meshes.reference, colours, 0.6),
        ):
            if place == "opposite" and what != "difference":
                continue
            name = f"{place}_{what}"
            names.append(name)
            shown = drawable(vertices)
            if what == "difference":
                shown = shown & np.isfinite(distance)
            request[f"{name}.faces"] = meshes.faces[shown[meshes.faces].all(axis=1)]
            request[f"{name}.vertices"] = np.where(shown[:, None], vertices, 0).astype(np.float32)
            request[f"{name}.colours"] = colour
            request[f"{name}.ambient"] = np.float64(ambient)
            request[f"{name}.camera"] = np.array([camera.position, camera.focus, camera.up])
            request[f"{name}.angle"] = np.float64(camera.angle)
    request["panels"] = np.array(names)
    return request


def _side_by_side(name: str, view: str, meshes: Meshes, camera: Camera) -> Plate:
    place = name.removeprefix("meshes_")
    remarks = []
    for side in ("reference", "candidate"):
        remarks += unseen(side, getattr(meshes, side), camera)
    caption = f"Reference and candidate from {view}, both from the same camera."
    shown = tuple((f"{place}_{side}", side) for side in ("reference", "candidate"))
    return Plate(name, " ".join([caption, *remarks]), 4.25, shown)


def difference_norm(distance: NDArray[np.float64]) -> Normalize:
    """From no distance to the greatest finite one."""
    finite = distance[np.isfinite(distance)]
    greatest = float(finite.max()) if finite.size else 0.0
    return Normalize(0.0, greatest or 1.0)


def _difference(name: str, distance: NDArray[np.float64], unit: str) -> Plate:
    views = (("view0", "view 0"), ("oblique", "oblique"), ("opposite", "from the other side"))
    finite = distance[np.isfinite(distance)]
    moved = bool(finite.size and finite.max() > 0)
    sentences = []
    if moved:
        sentences.append(
            "How far each vertex moved between the sides, drawn on the reference: at most "
            f"{float(finite.max()):.3g}, "
            f"{float(finite.mean()):.3g} "
            f"in the mean, in {unit}."
        )
        worst = int(np.nanargmax(np.where(np.isfinite(distance), distance, np.nan)))
        sentences.append(f"The greatest is at vertex {worst}.")
    elif finite.size:
        sentences.append("Every vertex is at the same place on both sides: identical.")
    lost = int((~np.isfinite(distance)).sum())
    if lost:
        sentences.append(
            f"{lost} of {len(distance)} vertices are not finite on one side; their triangles are "
            "left out."
        )
    shown = tuple((f"{view}_difference", title) for view, title in views)
    most = float(finite.max()) if moved else 1.0
    return Plate(name, " ".join(sentences), 2.75, shown, unit if moved else "", most)


def _pixels(plate: Plate, pictures: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """The plate with VTK's pixels, as PNG."""

    def fill(axes: Axes, panel: str) -> None:
        axes.imshow(pictures[panel], interpolation="none")

    return image(_figure(plate, fill), "png")


def polygons_figure(plate: Plate, request: Mapping[str, Any]) -> Figure:
    """The plate with polygons, for a vector drawing."""

    def fill(axes: Axes, panel: str) -> None:
        draw_panel(axes, request, panel)

    return _figure(plate, fill)


_WIDTH, _EDGE, _GAP, _TITLE, _SCALE = 8.0, 0.06, 0.12, 0.3, 1.1
"""Inches: of a plate, at its edges, between panels, above them, and right of them for a scale."""


def _figure(plate: Plate, fill: Fill) -> Figure:
    """The panels in a row. Placed by hand: Matplotlib's layouts draw everything several times."""
    figure = Figure(figsize=(_WIDTH, plate.height))
    FigureCanvasAgg(figure)
    count = len(plate.panels)
    room = _WIDTH - 2 * _EDGE - (count - 1) * _GAP - (_SCALE if plate.unit else 0.0)
    side = min(room / count, plate.height - _TITLE - _EDGE)
    left = _EDGE + (room - count * side) / 2
    bottom = (plate.height - _TITLE - side) / 2
    for number, (panel, title) in enumerate(plate.panels):
        box = (left + number * (side + _GAP), bottom, side, side)
        axes = _axes(figure, plate, box)
        fill(axes, panel)
        axes.set_title(title, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#cccccc")
    if plate.unit:
        start = left + count * side + count * _GAP
        axes = _axes(figure, plate, (start, bottom + 0.05 * side, 0.1, 0.9 * side))
        bar = figure.colorbar(ScalarMappable(Normalize(0.0, plate.most), DIFFERENCES), cax=axes)
        bar.set_label(plate.unit, parse_math=False)
    return figure


def _axes(figure: Figure, plate: Plate, box: tuple[float, float, float, float]) -> Axes:
    left, bottom, width, height = box
    sides = (left / _WIDTH, bottom / plate.height, width / _WIDTH, height / plate.height)
    return figure.add_axes(sides)
