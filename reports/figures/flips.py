"""The figure of decisions: what the two sides decided differently, tap by tap."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parity.verdict.result import Comparison
from reports import wording
from reports.figures.differences import STYLE, draw_groups

CAPTION = (
    "Decisions that the two sides took differently, by tap: pixel decisions (rows of a projection "
    "that read other pixels) and signs of ReLUs (an element that one side alone lets pass). Ties, "
    "hollow, are explained by rounding and by what was handed down; the others, filled, are not."
)
_TIE = "#1a6fae"
_OTHER = "#b83400"
_LINE = 2.7  # inches of a kind of decision
Counts = Mapping[str, tuple[int, int]]


def decision_counts(comparison: Comparison) -> dict[str, dict[str, tuple[int, int]]]:
    """By kind, "pixels" and "signs": (ties, others) of each tap that has any."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for kind in ("pixels", "signs"):
        counts = {
            tap.tap: (tap.decisions.get("ties", 0), number - tap.decisions.get("ties", 0))
            for tap in comparison.taps
            if (number := tap.decisions.get(kind, 0))
        }
        if counts:
            found[kind] = counts
    return found


def flips_figure(comparison: Comparison) -> Figure:
    """A row of axes for each kind of decision of which there are any (see ``decision_counts``)."""
    kinds = decision_counts(comparison)
    titles = {
        "pixels": "Rows that read other pixels",
        "signs": "Signs of ReLUs that differ",
    }
    with style.context(["default", STYLE]):
        height = _LINE * max(len(kinds), 1)
        figure = Figure(figsize=(9.5, height))
        FigureCanvasAgg(figure)
        for line, (kind, counts) in enumerate(kinds.items()):
            bottom = height - (line + 1) * _LINE + 0.55
            axes = figure.add_axes((0.095, bottom / height, 0.89, (_LINE - 1.15) / height))
            axes.set_title(titles[kind], loc="left", fontsize=10, pad=16)
            _draw(axes, comparison, counts)
        return figure


def _draw(axes: Axes, comparison: Comparison, counts: Counts) -> None:
    places = {tap.tap: place for place, tap in enumerate(comparison.taps)}
    known = [(places[name], *numbers) for name, numbers in counts.items() if name in places]
    for place, ties, others in known:
        axes.plot([place, place], [0.5, max(ties, others)], color="#b9c0c8", linewidth=1, zorder=1)
    for column, colour, fill, name in ((1, _TIE, "white", "ties"), (2, _OTHER, _OTHER, "no ties")):
        points = [(each[0], each[column]) for each in known if each[column]]
        total = sum(number for _, number in points)
        axes.plot(
            [x for x, _ in points], [y for _, y in points], "o" if column == 1 else "X",
            color=colour, markerfacecolor=fill, markersize=5.5, zorder=3, clip_on=False,
            linestyle="none", label=f"{wording.printable(name)}: {total:,}",
        )  # fmt: skip
    most = max((max(ties, others) for _, ties, others in known), default=1)
    axes.set_yscale("log")
    axes.set_ylim(0.7, 10 ** np.ceil(np.log10(most) + 0.15))
    axes.set_xlim(-0.8, max(len(comparison.taps), 1) - 0.2)
    axes.set_xlabel("# of tap, in order of computation")
    axes.set_ylabel("decisions")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    draw_groups(axes, comparison, comparison.taps)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.32))
