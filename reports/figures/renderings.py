"""Pictures of the two output meshes side by side, and of the difference between them.

Each is a PNG that VTK rendered, and a PDF of polygons (``reports.figures.vector``). VTK draws in a
process
of its own, because on a machine without OpenGL it can end the process that uses it. Whatever
happens there, the caller gets pictures or the reason why there are none.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports import wording
from reports.figures.differences import image
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

# The child gets this process's search path as it is, and looks for modules nowhere else.
_BOOT = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); "
    "from reports.figures.drawing import main; sys.exit(main(sys.argv[1:]))"
)
SIZE = 540  # pixels of a panel's side
_GREY = (178, 186, 196)
Fill = Callable[[Axes, str], None]
"""Draws the panel of a name into axes."""
DIFFERENCES = LinearSegmentedColormap.from_list(
    "difference", ["#e9e6dc", "#f2b56b", "#d9593d", "#8b1a56", "#1d0c3a"]
)


@dataclass(frozen=True)
class Rendering:
    """A finished picture: ``name`` is the file's stem, ``pdf`` the same as a vector drawing."""

    name: str
    png: bytes
    caption: str
    pdf: bytes = b""


@dataclass(frozen=True)
class Renderings:
    """The pictures; with ``reason`` saying why there are none where there are none."""

    pictures: tuple[Rendering, ...] = ()
    reason: str = ""


class NotDrawnError(Exception):
    """Why there is no picture."""


def render(
    meshes: Meshes, *, timeout: float = 180.0, command: Sequence[str] | None = None
) -> Renderings:
    """Both meshes from view 0 and obliquely, and their difference as colour.

    ``command`` replaces the drawing process (it gets the two paths of ``reports.figures.drawing``).
    Never raises for what the meshes hold or the machine lacks: see ``Renderings.reason``.
    """
    try:
        _check(meshes)
        cameras = {
            "view0": VIEW_0,
            "oblique": oblique_camera(meshes.reference),
            "opposite": oblique_camera(meshes.reference, opposite=True),
        }
        distance, unit = vertex_distance(meshes)
        request = panels(meshes, cameras, distance)
        pictures = draw(request, timeout, command)
    except NotDrawnError as problem:
        return Renderings(reason=str(problem))
    return Renderings(
        (
            _side_by_side(
                "meshes_view0", "view 0 (the network's camera)", meshes, VIEW_0, pictures, request
            ),
            _side_by_side(
                "meshes_oblique", "an oblique view", meshes, cameras["oblique"], pictures, request
            ),
            _difference("vertex_difference", distance, unit, pictures, request),
        )
    )


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


def _drawing_command() -> list[str]:
    return [sys.executable, "-c", _BOOT, os.pathsep.join(sys.path)]


def draw(
    request: dict[str, Any], timeout: float = 180.0, command: Sequence[str] | None = None
) -> dict[str, NDArray[np.uint8]]:
    """Every panel of ``request``, (SIZE, SIZE, 3), drawn in another process.

    Raises:
        NotDrawnError: it could not be started, died, took too long, or wrote nothing.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="p2m-parity-") as folder:
            source, destination = Path(folder, "request.npz"), Path(folder, "pictures.npz")
            np.savez(source, allow_pickle=False, **request)
            arguments = [*(command or _drawing_command()), str(source), str(destination)]
            # S603: the command is this interpreter and our own module, no shell, no input text.
            ended = subprocess.run(  # noqa: S603
                arguments,
                cwd=folder,  # where a core dump, if any, disappears with the folder
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
            if ended.returncode != 0:
                raise NotDrawnError(_died(ended.returncode, ended.stderr))
            if not destination.exists():
                raise NotDrawnError("the renderer (VTK) wrote no pictures")
            with np.load(destination, allow_pickle=False) as archive:
                return {name: archive[name] for name in request["panels"].tolist()}
    except subprocess.TimeoutExpired as error:
        raise NotDrawnError(f"the renderer (VTK) was not done after {timeout:g} s") from error
    except OSError as error:
        raise NotDrawnError(f"the renderer could not be run: {error.strerror or error}") from error
    except (KeyError, ValueError, BadZipFile) as error:
        raise NotDrawnError("the renderer (VTK) wrote pictures that cannot be read") from error


def _died(status: int, stderr: bytes) -> str:
    if status < 0:
        try:
            how = f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            how = f"was ended by signal {-status}"
        how += ", as happens where OpenGL is not installed"
    else:
        how = f"ended with status {status}"
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    said = f"; its last words: {wording.shortened(wording.printable(last), 300)}" if last else ""
    return f"the renderer (VTK) {how}{said}"


def _side_by_side(
    name: str,
    view: str,
    meshes: Meshes,
    camera: Camera,
    pictures: dict[str, NDArray[np.uint8]],
    request: dict[str, Any],
) -> Rendering:
    place = name.removeprefix("meshes_")

    def figure(fill: Fill) -> Figure:
        made = Figure(figsize=(8, 4.25), layout="compressed")
        FigureCanvasAgg(made)
        for column, side in enumerate(("reference", "candidate")):
            _panel(made, 2, column + 1, fill, f"{place}_{side}", side)
        return made

    remarks = []
    for side in ("reference", "candidate"):
        remarks += unseen(side, getattr(meshes, side), camera)
    caption = f"Reference and candidate from {view}, both from the same camera."
    return _both_forms(name, figure, pictures, request, " ".join([caption, *remarks]))


def difference_norm(distance: NDArray[np.float64]) -> Normalize:
    """From no distance to the greatest finite one."""
    finite = distance[np.isfinite(distance)]
    greatest = float(finite.max()) if finite.size else 0.0
    return Normalize(0.0, greatest or 1.0)


def _difference(
    name: str,
    distance: NDArray[np.float64],
    unit: str,
    pictures: dict[str, NDArray[np.uint8]],
    request: dict[str, Any],
) -> Rendering:
    views = (("view0", "view 0"), ("oblique", "oblique"), ("opposite", "from the other side"))
    finite = distance[np.isfinite(distance)]
    moved = bool(finite.size and finite.max() > 0)

    def figure(fill: Fill) -> Figure:
        made = Figure(figsize=(8, 2.75), layout="compressed")
        FigureCanvasAgg(made)
        axes = [
            _panel(made, 3, place, fill, f"{view}_difference", title)
            for place, (view, title) in enumerate(views, start=1)
        ]
        if moved:
            colours = ScalarMappable(difference_norm(distance), DIFFERENCES)
            bar = made.colorbar(colours, ax=axes, shrink=0.9, aspect=25, pad=0.02)
            bar.set_label(unit, parse_math=False)
        return made

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
    return _both_forms(name, figure, pictures, request, " ".join(sentences))


def _both_forms(
    name: str,
    figure: Callable[[Fill], Figure],
    pictures: dict[str, NDArray[np.uint8]],
    request: dict[str, Any],
    caption: str,
) -> Rendering:
    """The figure with VTK's pixels as PNG, and with polygons as PDF."""

    def pixels(axes: Axes, panel: str) -> None:
        axes.imshow(pictures[panel], interpolation="none")

    def shapes(axes: Axes, panel: str) -> None:
        draw_panel(axes, request, panel)

    png, pdf = image(figure(pixels), "png"), image(figure(shapes), "pdf")
    return Rendering(name, png, caption, pdf)


def _panel(figure: Figure, columns: int, place: int, fill: Fill, panel: str, title: str) -> Axes:
    axes = figure.add_subplot(1, columns, place)
    fill(axes, panel)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    return axes
