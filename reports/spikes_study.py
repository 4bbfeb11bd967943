"""The study's results as text, Markdown, JSON and figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parity.result import jsonable
from reports.figures import image
from reports.tables import markdown, markdown_table
from weight_conversion.atomic import replacing

_HEADING = ("run", "blocks", "spikes", "of irregular", "strength", "chamfer", "rows levelled after")
_WORDS = {
    "irregular_spikes": "spikes at irregular vertices",
    "strength": "strength of the √degree mode",
    "chamfer": "chamfer of the last block, ×3000",
}


def run_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row a run."""
    return [
        (
            run["name"],
            str(run["blocks"]),
            str(run["spikes"]),
            f"{run['irregular_spikes']}/{run['irregular']}",
            f"{run['strength']:.2f}",
            f"{run['chamfer']:.2f}",
            str(run["afterwards"]["level_rows"]["spikes"]),
        )
        for run in result["runs"]
    ]


def effect_rows(factorial: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row a factor and response."""
    rows: list[tuple[str, ...]] = []
    for effect in factorial["effects"]:
        interval = "no scatter to judge by"
        if effect["low"] is not None:
            interval = f"{effect['low']:+.2f} to {effect['high']:+.2f}"
        rows.append(
            (
                effect["factor"],
                _WORDS[effect["response"]],
                f"{effect['estimate']:+.2f}",
                interval,
            )
        )
    return rows


def study_lines(result: dict[str, Any]) -> list[str]:
    """The runs and the effects, for a terminal."""
    lines = _aligned([_HEADING, *run_rows(result)])
    for factorial in result["factorials"]:
        lines.append("")
        lines.append(_title(factorial))
        lines += _aligned(effect_rows(factorial))
    return lines


def _title(factorial: dict[str, Any]) -> str:
    return (
        f"effects on {factorial['item']}, seed {factorial['seed']}, {factorial['blocks']} blocks, "
        f"{factorial['runs']} runs of {factorial['steps']} steps: mean with minus mean without, "
        "95 % interval"
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def write_study(result: dict[str, Any], folder: Path) -> None:
    """``study.json``, ``study.md`` and ``study.png`` in the study's folder."""
    text = json.dumps(jsonable(result), indent=1, ensure_ascii=False, allow_nan=False)
    parts = ["# Study of spikes", markdown_table(_HEADING, run_rows(result))]
    for factorial in result["factorials"]:
        parts.append(markdown(_title(factorial)))
        heading = ("factor", "response", "effect", "95 % interval")
        parts.append(markdown_table(heading, effect_rows(factorial)))
    parts.append("![study.png](study.png)")
    files = {
        "study.json": (text + "\n").encode(),
        "study.md": ("\n\n".join(parts) + "\n").encode(),
        "study.png": history_figure(
            [run for run in result["runs"] if run["design"] != "factorial"] or result["runs"]
        ),
    }
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def history_figure(runs: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: spikes and the mode's strength along each run's training."""
    with style.context(["default", {"font.size": 9, "axes.spines.top": False,
                                    "axes.spines.right": False}]):  # fmt: skip
        figure = Figure(figsize=(9, 4 + 0.09 * len(runs)), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        for place, run in enumerate(runs):
            at = [row["step"] for row in run["history"]]
            line = {"color": f"C{place % 10}", "linestyle": ("-", "--", ":")[place // 10 % 3]}
            spikes = [row["irregular_spikes"] for row in run["history"]]
            left.plot(at, spikes, label=f"{run['name']}, {run['blocks']} blocks", **line)
            right.plot(at, [row["strength"] for row in run["history"]], **line)
        left.set_ylabel("spikes among the irregular vertices")
        right.set_ylabel("strength of the √degree mode")
        for axes in (left, right):
            axes.set_xlabel("step")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7)
        return image(figure, "png")
