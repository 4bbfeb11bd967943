"""The figure of errors in roundings: what arises in each layer, and what is handed down."""

import math
from collections.abc import Sequence

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parity.verdict.result import Comparison, TapResult
from reports.figures.differences import STYLE, draw_groups
from reports.palette import LOOKS

CAPTION = (
    "Above, the greatest error that arises in each layer on its own inputs, in roundings of the "
    "precision, and how many are admitted; below, the two parts of the difference over the "
    "reference's greatest magnitude: what arises in the layer, and what it was handed down."
)
# field, marker, filled, label
_LOCAL = (
    ("local_roundings", "o", True, "candidate, own precision"),
    ("local_roundings_reference", "o", False, "reference, own precision"),
    ("float64_roundings", "D", True, "candidate, float64"),
    ("float64_roundings_reference", "D", False, "reference, float64"),
)
_PARTS = (
    ("local_max_abs", "v", "arises here"),
    ("inherited_max_abs", "^", "handed down"),
)
_INK = "#333333"
_SECOND = "#8a8f96"
_FLOOR = 1e-2  # of a rounding: less is drawn there


def has_roundings(comparison: Comparison) -> bool:
    """Whether the verdict measured any tap in roundings."""
    return any(_number(tap, name) is not None for tap in comparison.taps for name, *_ in _LOCAL)


def roundings_figure(comparison: Comparison) -> Figure:
    """Above, each layer's own error in roundings, held against what is admitted; below, the
    difference's two parts over the tap's greatest magnitude.
    """  # noqa: D205 - one sentence
    taps = comparison.taps
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(9.5, 6.2))
        FigureCanvasAgg(figure)
        upper = figure.add_axes((0.095, 0.56, 0.89, 0.36))
        lower = figure.add_axes((0.095, 0.13, 0.89, 0.33))
        upper.set_title("Each layer's own error, in roundings", loc="left", fontsize=10, pad=16)
        _draw_roundings(upper, taps)
        lower.set_title("The difference's two parts", loc="left", fontsize=10)
        _draw_parts(lower, taps)
        draw_groups(upper, comparison, taps)
        for axes in (upper, lower):
            axes.set_yscale("log")
            axes.set_xlim(-0.8, max(len(taps), 1) - 0.2)
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
            axes.set_axisbelow(True)
            # Nothing is drawn where all differences are 0.
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=7, frameon=False, ncols=5, loc="upper center",
                            bbox_to_anchor=(0.5, -0.1 if axes is upper else -0.22))  # fmt: skip
        upper.set_ylabel("roundings")
        lower.set_ylabel("relative to the reference")
        lower.set_xlabel("# of tap, in order of computation")
        return figure


def _draw_roundings(axes: Axes, taps: Sequence[TapResult]) -> None:
    for name, marker, filled, label in _LOCAL:
        points = [
            (place, max(number, _FLOOR), LOOKS[tap.status].colour)
            for place, tap in enumerate(taps)
            if (number := _number(tap, name)) is not None
        ]
        if not points:
            continue
        places, heights, colours = zip(*points, strict=True)
        axes.scatter(
            places, heights, s=18, marker=marker, linewidths=0.9, zorder=3,
            facecolors=list(colours) if filled else "none", edgecolors=list(colours),
        )  # fmt: skip
        axes.plot([], [], marker, markersize=4.5, color=_INK, label=label,
                  markerfacecolor=_INK if filled else "none")  # fmt: skip
    limits = [
        (place, number)
        for place, tap in enumerate(taps)
        if (number := _number(tap, "roundings_limit")) is not None
    ]
    if limits:
        axes.step(*zip(*limits, strict=True), where="mid", color=_INK, linewidth=1,
                  linestyle=(0, (4, 2)), label="admitted")  # fmt: skip


def _draw_parts(axes: Axes, taps: Sequence[TapResult]) -> None:
    for (name, marker, label), colour in zip(_PARTS, (_INK, _SECOND), strict=True):
        points = [
            (place, number / tap.scale)
            for place, tap in enumerate(taps)
            if (number := _number(tap, name)) is not None and number > 0 and tap.scale
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker, markersize=4.5, color=colour, label=label)


def _number(tap: TapResult, name: str) -> float | None:
    number = getattr(tap, name, None)
    return number if isinstance(number, int | float) and math.isfinite(number) else None
