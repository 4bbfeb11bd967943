"""The figure of the differences, tap by tap (Matplotlib without its global state)."""

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from network.registry import taps_of
from network.taps import TapRow
from parity.verdict.result import Comparison, Status, TapResult
from reports import wording
from reports.palette import LOOKS
from reports.text.message import label

# Matplotlib's own defaults, whatever the user's settings say, and these on top.
# Vector text stays text, and nothing in a file depends on the time or the run.
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "p2m-parity",
    "pdf.fonttype": 42,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}

_INK = "#333333"


def difference_figure(comparison: Comparison, entries: Sequence[TapResult], noun: str) -> Figure:
    """A point for the greatest and one for the RMS difference of each entry, relative.

    The height is logarithmic. Zero stands on a line of its own at the bottom, "identical", what
    is not finite at the top, and what has no number is marked at the foot of the figure.
    """
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(9.5, 4.6))
        FigureCanvasAgg(figure)
        # Placed by hand: automatic layouts come out differently in each format's resolution.
        axes = figure.add_axes((0.095, 0.195, 0.89, 0.675))
        axes.set_title(f"Difference by {noun}", loc="left", fontsize=10, pad=18)
        if not any(entry.max_abs is not None for entry in entries):
            axes.set_axis_off()
            axes.text(0.5, 0.5, f"No {noun} was compared.", ha="center", transform=axes.transAxes)
            return figure
        floor, ceiling = _range(entries)
        _draw_entries(axes, entries, floor, ceiling)
        _draw_limits(axes, entries)
        draw_groups(axes, comparison, entries)
        _draw_first(axes, comparison, entries)
        _draw_flips(axes, entries)
        _scale(axes, entries, floor, ceiling)
        axes.set_xlabel(f"# of {noun}" + (", in order of computation" if noun == "tap" else ""))
        axes.set_ylabel("difference, relative to the reference")
        _legend(figure, entries)
        return figure


def _relative(entry: TapResult) -> tuple[float | None, float | None]:
    """Greatest and RMS difference as drawn."""
    greatest = entry.max_rel
    if greatest is None and entry.max_abs is not None:
        # Without a scale there is only 0 or a number in units of the tap: zero is still zero.
        greatest = entry.max_abs
    return greatest, entry.rms_rel


def _range(entries: Sequence[TapResult]) -> tuple[int, int]:
    """Powers of ten below and above all numbers; the floor is where zeros stand."""
    numbers = [
        abs(number)
        for entry in entries
        for number in (*_relative(entry), entry.limit)
        if number is not None and math.isfinite(number) and number != 0
    ]
    if not numbers:
        return -9, -5
    lowest, highest = math.log10(min(numbers)), math.log10(max(numbers))
    return math.floor(lowest) - 1, max(math.floor(highest) + 1, math.floor(lowest) + 2)


def _height(number: float | None, floor: int, ceiling: int) -> float | None:
    if number is None:
        return None
    if number == 0:
        return float(floor)
    return math.log10(abs(number)) if math.isfinite(number) else ceiling + 0.5


def _draw_entries(axes: Axes, entries: Sequence[TapResult], floor: int, ceiling: int) -> None:
    foot = blended_transform_factory(axes.transData, axes.transAxes)
    axes.axhline(floor, color="#bbbbbb", linewidth=0.8, zorder=1)
    for status in Status:
        look = LOOKS[status]
        greatest, rms, stems, none = [], [], [], []
        for place, entry in enumerate(entries):
            if entry.status is not status:
                continue
            high, low = (_height(number, floor, ceiling) for number in _relative(entry))
            if high is None:
                none.append(place)
                continue
            greatest.append((place, high))
            if low is not None:
                rms.append((place, low))
                stems.append([(place, low), (place, high)])
        axes.add_collection(
            LineCollection(stems, colors=look.colour, linewidths=0.7, alpha=0.5), autolim=False
        )
        axes.plot(
            *_columns(rms), look.marker, markerfacecolor="white", markeredgecolor=look.colour,
            markersize=4, markeredgewidth=0.8, zorder=3, clip_on=False,
        )  # fmt: skip
        axes.plot(
            *_columns(greatest), look.marker, color=look.colour, zorder=4, clip_on=False,
            markersize=5 if status is Status.AGREE else 6.5,
            markeredgecolor="white", markeredgewidth=0.4,
        )  # fmt: skip
        for place in none:
            axes.axvspan(place - 0.5, place + 0.5, color="#eeeeee", zorder=0, linewidth=0)
        axes.plot(
            none, [0.02] * len(none), look.marker, color=look.colour, transform=foot,
            clip_on=False, markersize=7, markeredgewidth=1.6, zorder=4,
        )  # fmt: skip


def _columns(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [place for place, _ in points], [height for _, height in points]


def _draw_limits(axes: Axes, entries: Sequence[TapResult]) -> None:
    for limit, run in groupby(enumerate(entries), key=lambda pair: pair[1].limit):
        if limit is not None and math.isfinite(limit) and limit > 0:
            places = [place for place, _ in run]
            axes.plot(
                [places[0] - 0.5, places[-1] + 0.5], [math.log10(limit)] * 2,
                color=_INK, linewidth=1, linestyle=(0, (4, 2)), zorder=2,
            )  # fmt: skip


def group(rows: Mapping[str, TapRow], name: str) -> str:
    """The part of the network that an entry belongs to, "" where it is not known.

    ``rows``: the network's taps by name.
    """
    kind, slash, _ = name.partition("/")
    if slash and kind in ("losses", "gradients"):
        return kind
    if name not in rows:
        return ""
    return "CNN" if rows[name].is_map else f"block {rows[name].block}"


def rows_of(comparison: Comparison) -> dict[str, TapRow]:
    """The taps of the network that was compared, by name."""
    return {row.name: row for row in taps_of(comparison.stage)}


def draw_groups(axes: Axes, comparison: Comparison, entries: Sequence[TapResult]) -> None:
    """Name the blocks above the axes and part them by lines."""
    above = blended_transform_factory(axes.transData, axes.transAxes)
    rows = rows_of(comparison)
    for title, run in groupby(enumerate(entries), key=lambda pair: group(rows, pair[1].tap)):
        places = [place for place, _ in run]
        if not title:
            continue
        if places[0] > 0:
            axes.axvline(places[0] - 0.5, color="#cccccc", linewidth=0.8, zorder=0)
        axes.text(
            (places[0] + places[-1]) / 2, 1.0, title, transform=above,
            ha="center", va="bottom", color="#555555", fontsize=8,
        )  # fmt: skip


def _draw_first(axes: Axes, comparison: Comparison, entries: Sequence[TapResult]) -> None:
    for place, entry in enumerate(entries):
        if label(comparison, entry) == comparison.first_divergence:
            colour = LOOKS[entry.status].colour
            # Only what the figure's font has: names come in any script.
            name = label(comparison, entry).encode("ascii", "backslashreplace").decode()
            name = wording.shortened(wording.printable(name), 64).replace("…", "...")
            axes.axvline(place, color=colour, linewidth=1, linestyle=":", zorder=1)
            axes.set_title(
                f"first divergence: {name} (#{entry.order})", loc="right", fontsize=9,
                color=colour, pad=18, parse_math=False,
            )  # fmt: skip


def _draw_flips(axes: Axes, entries: Sequence[TapResult]) -> None:
    above = blended_transform_factory(axes.transData, axes.transAxes)
    for place, entry in enumerate(entries):
        flipped = entry.decisions.get("pixels", 0)
        if flipped:
            axes.text(
                place, 0.985, f"{wording.counted(flipped, 'flip')} ",
                transform=above, ha="right" if place > len(entries) / 2 else "left", va="top",
                fontsize=7.5, color=LOOKS[Status.FLIP].colour,
            )  # fmt: skip


def _scale(axes: Axes, entries: Sequence[TapResult], floor: int, ceiling: int) -> None:
    not_finite = any(
        number is not None and not math.isfinite(number)
        for entry in entries
        for number in _relative(entry)
    )
    step = max(1, math.ceil((ceiling - floor) / 9))
    powers = list(range(floor + 1, ceiling + 1, step))
    ticks = [float(floor), *map(float, powers)]
    names = ["identical", *(f"1e{power:+03d}" for power in powers)]
    if not_finite:
        ticks.append(ceiling + 0.5)
        names.append("not finite")
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FixedFormatter(names))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    missing = any(entry.max_abs is None for entry in entries)
    axes.set_ylim(floor - (0.7 if missing else 0.3), ceiling + (0.7 if not_finite else 0.35))
    every = max(1, math.ceil(len(entries) / 22))
    places = list(range(0, len(entries), every))
    axes.xaxis.set_major_locator(FixedLocator([float(place) for place in places]))
    axes.xaxis.set_major_formatter(FixedFormatter([str(entries[place].order) for place in places]))
    axes.set_xlim(-0.8, len(entries) - 0.2)


def _legend(figure: Figure, entries: Sequence[TapResult]) -> None:
    counts = Counter(entry.status for entry in entries)
    handles = [
        Line2D(
            [], [], linestyle="none", marker=LOOKS[status].marker, color=LOOKS[status].colour,
            markersize=6.5, label=f"{counts[status]} {status.value}",
        )
        for status in Status
        if counts[status]
    ]  # fmt: skip
    handles.append(
        Line2D(
            [], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=_INK,
            markersize=4, label="hollow: RMS, filled: greatest",
        )
    )  # fmt: skip
    if any(entry.limit is not None for entry in entries):
        handles.append(
            Line2D([], [], color=_INK, linestyle=(0, (4, 2)), linewidth=1, label="limit")
        )
    figure.legend(
        handles=handles, loc="lower center", ncols=len(handles), frameon=False,
        fontsize=8, handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def image(figure: Figure, form: str) -> bytes:
    """The figure as a ``png``, ``pdf`` or ``svg`` file, the same bytes every time."""
    stream = io.BytesIO()
    with style.context(["default", STYLE]):
        figure.savefig(stream, format=form, dpi=160, metadata=_METADATA[form])
    return stream.getvalue()
