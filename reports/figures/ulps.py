"""The figure of distances in units in the last place: a histogram a tap, and one a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator
from numpy.typing import NDArray

from parity.verdict.result import Comparison
from reports.figures.differences import STYLE, draw_groups, group, rows_of
from reports.palette import LOOKS
from reports.tables.ulps import octave_words

Samples = Sequence[Mapping[str, Any] | None]
CAPTION = (
    "How many units in the last place (ULP) lie between the two sides: above, a column a tap and a "
    "row a class of distances, the shade being the share of the tap's elements, "
    "with the greatest distance marked in the colour of the tap's status; below, the same by part "
    "of the network. One ULP is the step to the next number of the run's type. A number near zero "
    "can be many of its own ULPs off while the layer rounds as it should, so nothing is judged by "
    "them."
)
_COLOURS = ("#1c2126", "#1a6fae", "#b84a00", "#00705a", "#8f2f72", "#7a5c00")
_LINES = ("-", "--", "-.", ":")


def ulp_counts(samples: Samples) -> NDArray[np.int64] | None:
    """Elements by class of distance and tap, (classes, taps); None where no tap has any.

    ``samples`` are those of ``reports.page.payload``, a tap each, None where there is none.
    """
    found = [(sample or {}).get("ulps") or {} for sample in samples]
    most = max((len(each.get("counts", ())) for each in found), default=0)
    if not most:
        return None
    counts = np.zeros((most, len(found)), np.int64)
    for place, each in enumerate(found):
        values = each.get("counts", ())
        counts[: len(values), place] = values
    return counts


def ulps_figure(comparison: Comparison, counts: NDArray[np.int64]) -> Figure:
    """Histograms of ``ulp_counts`` by tap, as shades, and by part of the network, as lines."""
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(9.5, 6.6))
        FigureCanvasAgg(figure)
        upper = figure.add_axes((0.115, 0.52, 0.79, 0.4))
        lower = figure.add_axes((0.115, 0.09, 0.79, 0.32))
        _draw_taps(figure, upper, comparison, counts)
        _draw_groups(lower, comparison, counts)
        return figure


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each column over its sum, NaN where it has none."""
    total = counts.sum(axis=0)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def _draw_taps(
    figure: Figure, axes: Axes, comparison: Comparison, counts: NDArray[np.int64]
) -> None:
    shares = _shares(counts)
    shown = np.where(shares > 0, shares, np.nan)
    mesh = axes.pcolormesh(
        np.arange(counts.shape[1] + 1) - 0.5, np.arange(counts.shape[0] + 1) - 0.5, shown,
        cmap="cividis_r", norm=LogNorm(1e-6, 1), linewidth=0, rasterized=False,
    )  # fmt: skip
    bar = figure.colorbar(mesh, cax=figure.add_axes((0.92, 0.52, 0.014, 0.4)))
    bar.set_label("share of the tap's elements")
    for place, tap in enumerate(comparison.taps):
        used = np.flatnonzero(counts[:, place])
        if used.size:
            look = LOOKS[tap.status]
            axes.plot(place, used[-1], look.marker, color=look.colour, markersize=4,
                      markeredgecolor="white", markeredgewidth=0.3, clip_on=False)  # fmt: skip
    _name_octaves(axes.yaxis, counts.shape[0])
    axes.set_title("Distance by tap, in units in the last place", loc="left", fontsize=10, pad=16)
    axes.set_ylabel("ULP apart")
    axes.set_xlabel("# of tap, in order of computation")
    axes.set_xlim(-0.8, max(counts.shape[1], 1) - 0.2)
    axes.set_ylim(-0.7, counts.shape[0] - 0.3)
    draw_groups(axes, comparison, comparison.taps)


def _draw_groups(axes: Axes, comparison: Comparison, counts: NDArray[np.int64]) -> None:
    """One histogram a part of the network, over the elements of all its taps."""
    rows = rows_of(comparison)
    names = [group(rows, tap.tap) for tap in comparison.taps]
    for number, name in enumerate(dict.fromkeys(names)):
        own = counts[:, [place for place, each in enumerate(names) if each == name]].sum(axis=1)
        if not own.sum():
            continue
        share = own / own.sum()
        axes.step(
            np.arange(len(own)), np.where(share > 0, share, np.nan), where="mid",
            color=_COLOURS[number % len(_COLOURS)], linestyle=_LINES[number % len(_LINES)],
            linewidth=1.3, marker=".", markersize=4, label=name or "other taps",
        )  # fmt: skip
    axes.set_yscale("log")
    _name_octaves(axes.xaxis, counts.shape[0])
    axes.set_xlim(-0.6, counts.shape[0] - 0.4)
    axes.set_title("Distance by part of the network", loc="left", fontsize=10)
    axes.set_xlabel("ULP apart")
    axes.set_ylabel("share of elements")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _name_octaves(axis: Any, number: int) -> None:
    every = max(1, -(-number // 12))
    places = list(range(0, number, every))
    axis.set_major_locator(FixedLocator([float(place) for place in places]))
    words = [octave_words(place).replace(" to ", "–").replace("from ", "≥ ") for place in places]
    axis.set_major_formatter(FixedFormatter(words))
