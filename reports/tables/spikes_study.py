"""The study's results as text, Markdown, JSON and figures."""

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from parity.verdict.result import jsonable
from reports.figures.differences import STYLE, image
from reports.tables.comparison import markdown, markdown_table
from reports.tables.spikes_effects import (
    DIFFERENCE_HEADING,
    EFFECT_HEADING,
    LAYER_HEADING,
    blocks_words,
    difference_rows,
    effect_rows,
    effects_figure,
    layer_rows,
)
from studies.spikes.design import NAMED_RUNS
from weight_conversion.atomic import replacing

_HEADING = ("run", "blocks", "spikes", "of irregular", "strength", "chamfer", "rows levelled after")
_ARMS = {
    name: place
    for place, name in enumerate(dict.fromkeys(chain.from_iterable(NAMED_RUNS.values())))
}
"""Names of arms in the order of the designs, which settles their looks."""

_LAYERS_OF = ("official", "port")
"""Runs whose layers are told one by one: those that are levelled have nothing to take away."""


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


def study_lines(result: dict[str, Any]) -> list[str]:
    """The runs and what they differ by, for a terminal."""
    lines = []
    for title, heading, rows in _tables(result):
        lines += ["", title, *_aligned([heading, *rows])]
    return lines[1:]


_Row = tuple[str, ...]


def _tables(result: dict[str, Any]) -> list[tuple[str, _Row, list[_Row]]]:
    """Title, heading and rows of each table."""
    found: list[tuple[str, _Row, list[_Row]]] = [("runs", _HEADING, run_rows(result))]
    for factorial in result["factorials"]:
        found.append((_title(factorial), EFFECT_HEADING, effect_rows(factorial)))
    if result["differences"]:
        title = "differences between arms, paired by item and seed (Student; exact sign flips)"
        found.append((title, DIFFERENCE_HEADING, difference_rows(result)))
    for run in result["runs"]:
        if run["name"].split(".")[0] in _LAYERS_OF and run.get("by_layer"):
            title = f"{run['name']}: the mode's strength, rows of some layers levelled afterwards"
            found.append((title, LAYER_HEADING, layer_rows(run)))
    return found


def _title(factorial: dict[str, Any]) -> str:
    return (
        f"effects on {factorial['item']}, seed {factorial['seed']}, "
        f"{blocks_words(factorial['blocks'])}, "
        f"{factorial['runs']} runs of {factorial['steps']} steps: mean with minus mean without; "
        f"{factorial['margins']}'s margins of error"
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
    """``study.json``, ``study.md``, ``study.png`` and a figure a factorial in the folder."""
    parts = ["# Study of spikes"]
    for title, heading, rows in _tables(result):
        parts += [f"## {markdown(title)}", markdown_table(heading, rows)]
    named = [run for run in result["runs"] if arm_name(run) in _ARMS]
    files = {"study.png": history_figure(named or result["runs"])}
    for factorial in result["factorials"]:
        about = "-".join(str(factorial[name]) for name in ("item", "seed", "blocks", "steps"))
        about = about.replace(" ", "-")
        files[f"effects-{about}.png"] = effects_figure(factorial)
    parts += [f"![{name}]({name})" for name in files]
    files |= {
        "study.json": study_text(result).encode(),
        "study.md": ("\n\n".join(parts) + "\n").encode(),
    }
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def study_text(result: dict[str, Any]) -> str:
    """The result as JSON, a line for each run, factorial and difference."""
    lines = ["{"]
    last = list(result)[-1]
    for name, value in result.items():
        end = "" if name == last else ","
        if isinstance(value, list):
            lines.append(f"{json.dumps(name)}: [")
            lines.append(",\n".join(_one_line(each) for each in value))
            lines.append(f"]{end}")
        else:
            lines.append(f"{json.dumps(name)}: {_one_line(value)}{end}")
    return "\n".join([*lines, "}"]) + "\n"


def _one_line(value: Any) -> str:
    return json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False)


def history_figure(runs: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: spike rate and the mode's strength along the training, a row an item and blocks.

    Runs that differ in their seed alone have one colour and one line in the legend.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: -run["blocks"]):
        trained = "frozen_cnn" not in run["switched_on"]
        groups.setdefault((run["item"], run["blocks"], trained), []).append(run)
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(10, 2.3 * len(groups)), layout="constrained")
        FigureCanvasAgg(figure)
        table = figure.subplots(len(groups), 2, squeeze=False)
        # An arm has one look in all panels.
        every = sorted(
            {arm_name(run) for run in runs}, key=lambda name: (_ARMS.get(name, 99), name)
        )
        for (item, blocks, trained), (left, right) in zip(groups, table, strict=True):
            for run in groups[item, blocks, trained]:
                place = every.index(arm_name(run))
                look = {"color": f"C{place % 10}", "linestyle": ("-", "--")[place // 10 % 2]}
                look |= {"label": every[place]}
                at = [row["step"] for row in run["history"]]
                rate = [row["irregular_spikes"] / run["irregular"] for row in run["history"]]
                left.plot(at, rate, lw=1.2, **look)
                right.plot(at, [row["strength"] for row in run["history"]], lw=1.2, **look)
            left.set_ylabel("spike rate, irregular")
            left.set_ylim(-0.03, 1.03)
            right.set_ylabel("strength of the mode")
            right.axhline(0.0, color="#bbbbbb", lw=0.8, zorder=0)
            cnn = ", CNN trained" if trained else ""
            left.set_title(f"{item}, {blocks_words(blocks)}{cnn}", loc="left", fontsize=9)
            lines = {line.get_label(): line for line in right.get_lines()[:-1]}
            right.legend(
                list(lines.values()), list(lines), loc="center left", bbox_to_anchor=(1.01, 0.5),
                frameon=False, fontsize=7, ncols=1 + len(lines) // 12,
            )  # fmt: skip
        for axes in table[-1]:
            axes.set_xlabel("step")
        return image(figure, "png")


def arm_name(run: dict[str, Any]) -> str:
    """What a run switches on, beside a frozen encoder, under the name that its design gives it."""
    switched_on = frozenset(run["switched_on"]) - {"frozen_cnn"}
    for names in NAMED_RUNS.values():
        for name, combination in names.items():
            if combination - {"frozen_cnn"} == switched_on:
                return name
    return "+".join(sorted(switched_on))
