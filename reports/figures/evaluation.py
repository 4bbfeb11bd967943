"""The figure of an evaluation: how the items' figures are distributed, category by category."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.columns import CHAMFER, DONE, F_SCORES, of_side
from inputs.dataset import category_name
from parity.meshes.scores import CHAMFER_SHOWN
from reports.figures.differences import STYLE

_COLOURS = {"backend": "#0b4f9c", "reference": "#b84a00"}
_LINES = {"backend": "-", "reference": "--"}

CAPTION = (
    "Left: share of the items with at most so great a chamfer distance. Right: F-score at 1e-4 by "
    "category; a box from quarter to three quarters, a line at the median, whiskers from least to "
    "greatest."
)


def distribution_figure(rows: Sequence[Mapping[str, Any]], sides: Mapping[str, str]) -> Figure:
    """The distribution of chamfer distances, and of F-scores by category.

    Args:
        rows: the table of items.
        sides: backend of each side.
    """
    done = [row for row in rows if row["status"] == DONE]
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(9.5, 4.2))
        FigureCanvasAgg(figure)
        left = figure.add_axes((0.07, 0.13, 0.38, 0.78))
        right = figure.add_axes((0.6, 0.13, 0.38, 0.78))
        if not done:
            for axes in (left, right):
                axes.set_axis_off()
            left.text(0.5, 0.5, "No item was evaluated.", ha="center", transform=left.transAxes)
            return figure
        for side, name in sides.items():
            values = np.sort([CHAMFER_SHOWN * row[of_side(side, CHAMFER)] for row in done])
            share = np.arange(1, len(values) + 1) / len(values)
            left.step(values, share, _LINES[side], where="post", color=_COLOURS[side], label=name)
        left.set_xscale("log")
        left.set_xlabel(f"chamfer distance ×{CHAMFER_SHOWN:.0f}")
        left.set_ylabel("share of the items")
        left.legend(frameon=False, fontsize=8)
        _boxes(right, done, sides)
        return figure


def _boxes(axes: Axes, done: Sequence[Mapping[str, Any]], sides: Mapping[str, str]) -> None:
    ids = sorted({row["category"] for row in done}, reverse=True)
    for number, side in enumerate(sides):
        values = [
            [row[of_side(side, F_SCORES[0])] for row in done if row["category"] == each]
            for each in ids
        ]
        colour = {"color": _COLOURS[side]}
        height = 0.6 / len(sides)
        places = [place - height * (number - (len(sides) - 1) / 2) for place in range(len(ids))]
        axes.boxplot(
            values, positions=places, widths=0.8 * height, orientation="horizontal", whis=(0, 100),
            boxprops=colour, whiskerprops=colour, capprops=colour,
            medianprops={**colour, "linewidth": 2},
            manage_ticks=False,
        )  # fmt: skip
    axes.set_yticks(range(len(ids)), [category_name(each) for each in ids], parse_math=False)
    axes.set_xlabel("F-score at 1e-4, percent")
    axes.set_xlim(left=0)
