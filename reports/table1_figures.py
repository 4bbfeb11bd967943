"""Figures 1 and 2 done again: input views, both meshes from the same cameras, their difference."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.meshes import Meshes
from reports.renderings import DIFFERENCES, difference_norm, draw, panels
from reports.scene import VIEW_0, oblique_camera, vertex_distance


def item_figure(
    title: str, images: NDArray[Any] | None, meshes: Meshes, names: Sequence[str]
) -> Figure:
    """One item: a row of input views, then a row a camera with both meshes and their difference.

    ``images`` are (3, H, W, 3), blue first, in [0, 1]; ``names`` are the reference's and the
    candidate's.

    Raises:
        NotDrawnError: the meshes could not be rendered.
    """
    cameras = {
        "view0": VIEW_0,
        "oblique": oblique_camera(meshes.reference),
    }
    distance, unit = vertex_distance(meshes)
    pictures = draw(panels(meshes, cameras, distance))
    rows = len(cameras) + (images is not None)
    figure = Figure(figsize=(8, 2.7 * rows), layout="compressed")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 3, squeeze=False)
    if images is not None:
        for place, view in enumerate(images):
            _show(axes[0, place], np.clip(view[..., ::-1], 0, 1), f"input view {place + 1}")
    first = rows - len(cameras)
    views = {"view0": "from view 0", "oblique": "oblique"}
    for line, camera in enumerate(cameras, start=first):
        for place, side in enumerate(("reference", "candidate", "difference")):
            name = "difference" if side == "difference" else names[place]
            _show(axes[line, place], pictures[f"{camera}_{side}"], f"{name}, {views[camera]}")
    bar = figure.colorbar(
        ScalarMappable(difference_norm(distance), DIFFERENCES),
        ax=axes[first:, :].ravel().tolist(), shrink=0.7, aspect=30, pad=0.02,
    )  # fmt: skip
    bar.set_label(f"vertex distance, {unit}", parse_math=False)
    figure.suptitle(title, fontsize=11)
    return figure


def _show(axes: Any, picture: NDArray[Any], title: str) -> None:
    axes.imshow(picture, interpolation="none")
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
