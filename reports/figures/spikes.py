"""Meshes with their spikes marked, and the residuals by level and number of neighbours."""

from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from parity.meshes.spikes.judge import Judged
from parity.meshes.spikes.residuals import Residuals
from reports.figures.differences import image
from reports.figures.renderer import NotDrawnError, draw
from reports.figures.renderings import SIZE
from reports.figures.scene import VIEW_0, Camera, drawable, oblique_camera
from reports.meshes import Meshes

GREY, RED = (178, 186, 196), (200, 30, 40)
_LEVEL_COLOURS = ("#b83400", "#1a6fae", "#7a7a7a")


def marked_mesh(
    vertices: NDArray[Any], faces: NDArray[Any], marked: NDArray[Any], title: str
) -> tuple[bytes | None, str]:
    """A PNG of the mesh with marked vertices in red, from view 0 and obliquely; or why not."""
    try:
        pictures = draw(scene(vertices, faces, marked))
    except NotDrawnError as problem:
        return None, str(problem)
    figure = Figure(figsize=(8, 4.3), layout="compressed")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    for place, (name, view) in enumerate((("view0", "view 0"), ("oblique", "oblique")), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.imshow(pictures[name], interpolation="none")
        axes.set_title(view, fontsize=10)
        axes.set_axis_off()
    return image(figure, "png"), ""


def marked_spikes(residuals: Residuals, faces: NDArray[Any]) -> tuple[bytes | None, str]:
    """``marked_mesh`` with the spikes marked."""
    count, vertices = int(residuals.spiky.sum()), residuals.vertices
    title = f"{count} spikes of {len(vertices)} vertices, in red"
    return marked_mesh(vertices, faces, residuals.spiky, title)


def scene(vertices: NDArray[Any], faces: NDArray[Any], marked: NDArray[Any]) -> dict[str, Any]:
    """What ``reports.figures.drawing`` is to draw: the mesh twice, marked vertices in red."""
    shown = drawable(vertices)
    if not shown.any():
        raise NotDrawnError("no vertex has a place in a picture")
    colours = np.where(marked[:, None], np.array(RED), np.array(GREY)).astype(np.uint8)
    request: dict[str, Any] = {"size": np.int64(SIZE), "panels": np.array(["view0", "oblique"])}
    cameras: dict[str, Camera] = {
        "view0": VIEW_0,
        "oblique": oblique_camera(Meshes(vertices, vertices, faces).reference),
    }
    if not _in_view(vertices[shown]):
        # A mesh in another frame than the camera's: seen from its front.
        cameras["view0"] = _front(vertices[shown])
    for name, camera in cameras.items():
        request[f"{name}.faces"] = faces[shown[faces].all(axis=1)]
        request[f"{name}.vertices"] = np.where(shown[:, None], vertices, 0).astype(np.float32)
        request[f"{name}.colours"] = colours
        request[f"{name}.ambient"] = np.float64(0.4)
        request[f"{name}.camera"] = np.array([camera.position, camera.focus, camera.up])
        request[f"{name}.angle"] = np.float64(camera.angle)
    return request


def _in_view(points: NDArray[Any]) -> bool:
    return bool((points[:, 2] < 0).all())


def _front(points: NDArray[Any]) -> Camera:
    centre = points.mean(axis=0)
    radius = float(np.linalg.norm(points - centre, axis=1).max()) or 1.0
    x, y, z = centre.tolist()
    return Camera((x, y, z + 4 * radius), (x, y, z), (0, 1, 0), 2 * float(np.arcsin(0.26)))


def residual_figure(judged: Judged) -> bytes:
    """A PNG of the relative residuals: by number of neighbours, coloured by level."""
    found, topology = judged.residuals, judged.topology
    with style.context(["default", {"font.size": 9, "axes.spines.top": False,
                                    "axes.spines.right": False}]):  # fmt: skip
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.4))
        levels = int(topology.levels.max()) + 1
        for level in range(levels):
            here = topology.levels == level
            lengths = np.sort(found.lengths[here])
            share = np.arange(1, len(lengths) + 1) / len(lengths)
            colour = _LEVEL_COLOURS[level % 3]
            left.plot(lengths, share, color=colour, label=f"level {level}")
            right.plot(
                _spread(topology.degrees[here], level, levels), found.lengths[here], ".",
                color=colour, markersize=3, alpha=0.6, label=f"level {level}",
            )  # fmt: skip
            spiky = here & found.spiky
            right.plot(
                _spread(topology.degrees[here], level, levels)[found.spiky[here]],
                found.lengths[spiky], "o", color=colour, markersize=6, fillstyle="none",
                label="spike" if level == 0 else None,
            )  # fmt: skip
        if found.lengths.max() > 0:
            left.set_xscale("log")
            right.set_yscale("log")
        left.set_xlabel("distance from the neighbours' mean")
        left.set_ylabel("share of the level's vertices")
        right.set_xlabel("number of neighbours")
        right.set_ylabel("distance from the neighbours' mean")
        right.set_xticks(np.unique(topology.degrees))
        right.legend(frameon=False)
        return image(figure, "png")


def _spread(degrees: NDArray[Any], level: int, levels: int) -> NDArray[np.float64]:
    """Places beside each other for the vertices of a level, the same in every run."""
    noise = np.random.default_rng(0).uniform(-0.08, 0.08, len(degrees))
    return degrees + 0.22 * (level - (levels - 1) / 2) + noise
