"""What ``spikes`` found, as text, Markdown, JSON, CSV and pictures, from one result."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from parity.meshes.spikes.judge import Judged
from parity.meshes.spikes.spike import SPIKE
from parity.verdict.result import jsonable
from reports.figures.spikes import marked_spikes, residual_figure
from reports.tables.comparison import markdown, markdown_table
from reports.wording import printable

Rows = list[tuple[str, ...]]
_MOST_PROPERTIES = 8


def number(value: Any) -> str:
    """A number for people; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def percent(value: float) -> str:
    """A share for people."""
    return f"{100 * value:.1f} %"


def tables(report: dict[str, Any]) -> list[tuple[str, tuple[str, ...], Rows]]:
    """Title, heading and rows of each table of a mesh."""
    health = report["health"]
    levels: Rows = [
        (str(row["level"]), str(row["vertices"]), str(row["spikes"]),
         number(row["median_residual"]), number(row["median_relative_residual"]))
        for row in report["by_level"]
    ]  # fmt: skip
    neighbours: Rows = [
        (str(row["neighbours"]), str(row["vertices"]), str(row["spikes"]),
         number(row["median_residual"]),
         " ".join(f"{part:+.2f}" for part in row["mean_residual_vector"]),
         f"{row['support_row_defect']:+.3f}")
        for row in report["by_neighbours"]
    ]  # fmt: skip
    heading = ("property", "r²", "of direction too", "lost without it", "groups")
    return [
        (
            "by unpooling level",
            ("level", "vertices", "spikes", "median residual", "over edge length"),
            levels,
        ),
        (
            "by number of neighbours",
            ("neighbours", "vertices", "spikes", "median residual", "mean vector", "row defect"),
            neighbours,
        ),
        ("what explains the residuals", heading, _explained(report["explained_by"])),
        (
            "computed from the judged positions",
            heading,
            _explained(report["explained_by_positions"]),
        ),
        ("health", ("measure", "value"), _health(health)),
    ]


def _explained(rows: Sequence[dict[str, Any]]) -> Rows:
    return [
        (row["property"], f"{row['r2']:.3f}", f"{row['r2_vectors']:.3f}",
         f"{row['given_others']:.3f}", str(row["groups"]))
        for row in rows[:_MOST_PROPERTIES]
    ]  # fmt: skip


def _health(health: dict[str, Any]) -> Rows:
    rows: Rows = [
        (
            f"{label}: median, 95 %, greatest",
            ", ".join(number(health[key][name]) for name in ("median", "95_percent", "greatest")),
        )
        for key, label in (
            ("residual", "umbrella residual"),
            ("relative_residual", "residual over edge length"),
            ("dihedral", "dihedral angle, degrees"),
        )
    ]
    rows += [
        ("edges folded by more than 90°", percent(health["dihedral"]["above_90_degrees"])),
        ("longest edge over the median one", number(health["edge_ratio"]["longest_to_median"])),
        ("longest edge over the shortest", number(health["edge_ratio"]["longest_to_shortest"])),
        ("normal consistency", number(health["normal_consistency"])),
        ("triangles wound otherwise than most", str(health["inconsistently_wound"])),
        ("triangles against their neighbours", str(health["flipped"])),
        ("degenerate triangles", str(health["degenerate"])),
        ("pairs of triangles that intersect", str(health["self_intersections"])),
    ]
    for view, share in enumerate(health["along_depth"]):
        words = ", ".join(number(share[name]) for name in ("all", "spiky", "spiky_along_rays"))
        rows.append((f"along view {view}'s depth: all, spikes, spikes along rays", words))
    return rows


def sentences(report: dict[str, Any]) -> list[str]:
    """What the tables come to."""
    found = [
        f"{report['spikes']} of {report['vertices']} vertices are spikes "
        f"({percent(report['spike_rate'])}): the angles around them add up to less than "
        f"{np.degrees(SPIKE):.0f}°."
    ]
    mode = report["degree_mode"]
    # A smooth sphere's few irregular vertices are alike too; the mode is worth a word where it
    # stands them out.
    told = mode["r2"] > 0.5 and mode["strength"] > 0.3 and report["spikes"]
    if told and mode["fixed_point"] is not None:
        point = ", ".join(f"{part:.3f}" for part in mode["fixed_point"])
        found.append(
            f"The {mode['irregular']} vertices without exactly six neighbours stand off by "
            f"{mode['strength']:.2f} × (√(neighbours/6) − 1) of their way from ({point}); that is "
            f"{percent(mode['r2'])} of their residuals' squares. docs/spikes.md says why."
        )
    return found + [f"Note: {note}." for note in report["notes"]]


def show(report: dict[str, Any], console: Console) -> None:
    """Print a mesh's tables."""
    console.print(f"[bold]{printable(report['mesh'])}[/bold]", highlight=False, soft_wrap=True)
    for sentence in sentences(report):
        console.print(sentence, highlight=False, markup=False)
    for title, heading, rows in tables(report):
        if not rows:
            continue
        table = Table(title=title, title_justify="left", title_style="italic", box=None)
        for column, name in enumerate(heading):
            table.add_column(name, justify="left" if column == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def markdown_text(reports: Sequence[dict[str, Any]], pictures: Sequence[Sequence[str]]) -> str:
    """All meshes' tables and pictures."""
    parts = ["# Spikes"]
    for report, names in zip(reports, pictures, strict=True):
        parts.append(f"## {markdown(report['mesh'])}")
        parts += [markdown(sentence) for sentence in sentences(report)]
        for title, heading, rows in tables(report):
            if rows:
                parts += [f"**{title}**", markdown_table(heading, rows)]
        parts += [f"![{name}]({name})" for name in names]
    return "\n\n".join(parts) + "\n"


def vertices_csv(judged: Judged) -> str:
    """A row a vertex, for other tools."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["vertex", "level", "neighbours", "spike", "angle_sum", "residual", "over_edge_length",
         "residual_x", "residual_y", "residual_z", "support_row_defect"]
    )  # fmt: skip
    found, topology = judged.residuals, judged.topology
    for vertex in range(topology.vertices):
        writer.writerow(
            [vertex, topology.levels[vertex], topology.degrees[vertex], int(found.spiky[vertex]),
             repr(float(found.angle_sums[vertex])), repr(float(found.lengths[vertex])),
             repr(float(found.relative[vertex])), *map(float, found.vectors[vertex]),
             repr(float(topology.row_defect[vertex]))]
        )  # fmt: skip
    return stream.getvalue()


def write(meshes: Sequence[Judged], folder: Path) -> list[str]:
    """Write everything into a folder.

    Returns:
        Why a picture is missing, where one is.
    """
    names, reasons = [], []
    for place, judged in enumerate(meshes, start=1):
        stem = f"{place:02d}-{Path(judged.source.name).stem}"
        (folder / f"{stem}.csv").write_text(vertices_csv(judged), encoding="utf-8")
        (folder / f"{stem}-residuals.png").write_bytes(residual_figure(judged))
        written = [f"{stem}-residuals.png"]
        png, reason = marked_spikes(judged.residuals, judged.topology.faces)
        if png is None:
            reasons.append(f"{judged.source.name}: no rendering: {reason}")
        else:
            (folder / f"{stem}.png").write_bytes(png)
            written.insert(0, f"{stem}.png")
        names.append(written)
    reports = [judged.report for judged in meshes]
    (folder / "spikes.md").write_text(markdown_text(reports, names), encoding="utf-8")
    text = json.dumps(jsonable(reports), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "spikes.json").write_text(text + "\n", encoding="utf-8")
    return reasons


def repair_lines(report: dict[str, Any]) -> list[str]:
    """What a repair changed, in words."""
    moved = report["moved"]
    lines = [
        f"spikes: {report['spikes_before']} before, {report['spikes_after']} after",
        f"moved: {len(moved)} vertices, by {number(report['mean_distance'])} in the mean and "
        f"{number(report['greatest_distance'])} at most; {report['unmoved']} vertices are as they "
        "were",
    ]
    if moved:
        farthest = ", ".join(f"{row['vertex']} ({number(row['distance'])})" for row in moved[:5])
        lines.append(f"farthest: {farthest}")
    if "chamfer_before" in report:
        near = report["distance_to_truth"]
        lines.append(
            f"chamfer ×3000: {number(report['chamfer_before'])} before, "
            f"{number(report['chamfer_after'])} after; moved vertices' median distance to the "
            f"ground truth: {number(near['before'])} before, {number(near['after'])} after"
        )
    lines.append(f"written: {report['written']}")
    return lines
