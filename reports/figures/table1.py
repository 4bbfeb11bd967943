"""Figures 1 and 2 done again: input views, both meshes from the same cameras, their difference."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.renderer import draw
from reports.figures.renderings import DIFFERENCES, difference_norm, panels
from reports.figures.scene import VIEW_0, oblique_camera, vertex_distance
from reports.meshes import Meshes
from weight_conversion.errors import InputError


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
    bar.ax.ticklabel_format(axis="y", scilimits=(-2, 3))
    bar.set_label(f"vertex distance, {unit}", parse_math=False)
    figure.suptitle(title, fontsize=11)
    return figure


_TERMS = {"total": "#111111", "chamfer": "#0b4f9c", "laplace": "#b84a00", "edge": "#00705a",
          "normal": "#8f2f72", "move": "#7a5c00"}  # fmt: skip
_LINES = ("-", "--")


def read_log(path: Path) -> pd.DataFrame:
    """The log.csv of a training.

    Raises:
        InputError: it cannot be read, or has no columns step and total.
    """
    expected = "the log.csv of overfit"
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(path, "no readable table", expected) from error
    for name in ("step", "total"):
        if name not in frame or not pd.api.types.is_numeric_dtype(frame[name]):
            raise InputError(path, f"no numbers in a column {name}", expected)
    return frame


def curves_figure(item: str, logs: Mapping[str, pd.DataFrame]) -> Figure:
    """The total loss and the last block's terms by step, a line style a side."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for (side, frame), line in zip(logs.items(), _LINES, strict=False):
        for term, colour in _TERMS.items():
            column = _last_block(frame, term)
            if column is not None:
                axes.plot(frame["step"], frame[column], line, color=colour, linewidth=1.1,
                          label=f"{term}, {side.lower()}")  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, weighted as in the total")
    axes.set_title(f"{item}: the total and the last block's terms", fontsize=10, parse_math=False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    return figure


def _last_block(frame: pd.DataFrame, term: str) -> str | None:
    """The column of a term: the total, or that of the last block."""
    if term in frame:
        return term
    blocks = sorted(name for name in frame.columns if re.fullmatch(rf"{term}_\d+", str(name)))
    return str(blocks[-1]) if blocks else None


def _show(axes: Any, picture: NDArray[Any], title: str) -> None:
    axes.imshow(picture, interpolation="none")
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
