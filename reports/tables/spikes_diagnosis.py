"""A diagnosis as text, Markdown, JSON and pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from inputs.files import Float64, Int64
from parity.meshes.spikes.diagnose import LEFT, Diagnosis
from parity.verdict.result import jsonable
from reports.figures.differences import image
from reports.figures.spikes import marked_mesh
from reports.tables.comparison import markdown_table

_HEADING = ("vertex", "level", "neighbours", "spike", "residual", "leaves its neighbourhood at",
            "reference removes it up to")  # fmt: skip


def rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row a vertex."""
    return [
        (
            str(row["vertex"]),
            str(row["level"]),
            str(row["neighbours"]),
            "yes" if row["spike"] else "no",
            f"{row['residual']:.3g}",
            row["left_at"] or "–",
            row.get("patched", {}).get("bisected") or "–",
        )
        for row in report["vertices"]
    ]


def lines(report: dict[str, Any]) -> list[str]:
    """What was found, for a terminal."""
    origin = report["origin"]
    if origin is None:
        found = ["no place named: no tap departs, and no vertex leaves its neighbourhood"]
    else:
        where = f"vertex {origin['vertex']}" if origin["vertex"] >= 0 else "the whole map"
        found = [f"begins at {origin['tap']}, {where}: {origin['how']}"]
    found.append(f"spikes of the output mesh: {report['spikes']}")
    table = [_HEADING, *rows(report)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADING))]
    return found + [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def write(found: Diagnosis, mesh: Float64, faces: Int64, folder: Path) -> str:
    """Write ``diagnosis.json``, ``.md``, ``paths.png``, ``mesh.png``; why that is missing."""
    text = json.dumps(jsonable(found.report), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "diagnosis.json").write_text(text + "\n", encoding="utf-8")
    (folder / "paths.png").write_bytes(paths_figure(found))
    parts = ["# Diagnosis", *lines(found.report)[:2], markdown_table(_HEADING, rows(found.report))]
    parts.append("![paths.png](paths.png)")
    marked = np.zeros(len(mesh), dtype=bool)
    marked[found.vertices] = True
    picture, reason = marked_mesh(mesh, faces, marked, "the diagnosed vertices, in red")
    if picture is not None:
        (folder / "mesh.png").write_bytes(picture)
        parts.append("![mesh.png](mesh.png)")
    (folder / "diagnosis.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return reason


def paths_figure(found: Diagnosis) -> bytes:
    """A PNG, vertex × tap: how far out of its neighbourhood, and what patching removes."""
    with style.context(["default", {"font.size": 7}]):
        count = 1 if found.shares is None else 2
        height = 1.6 + count * (0.6 + 0.16 * len(found.vertices))
        figure = Figure(figsize=(11, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0]
        scores = np.ma.masked_invalid(np.clip(found.scores, 0.0, 4 * LEFT))
        picture: AxesImage = axes[0].imshow(scores, aspect="auto", cmap="magma_r", vmin=0,
                                            vmax=4 * LEFT, interpolation="none")  # fmt: skip
        axes[0].set_title(f"robust z-score among the neighbours; {LEFT:g} has left them")
        figure.colorbar(picture, ax=axes[0], pad=0.01)
        if found.shares is not None:
            shares = np.clip(found.shares, 0.0, 1.0)
            picture = axes[1].imshow(shares, aspect="auto", cmap="viridis", vmin=0, vmax=1,
                                     interpolation="none")  # fmt: skip
            axes[1].set_title("share of the spike that this tap of the reference removes")
            figure.colorbar(picture, ax=axes[1], pad=0.01)
        for each in axes:
            each.set_yticks(range(len(found.vertices)), [str(v) for v in found.vertices])
            each.set_ylabel("vertex")
        axes[-1].set_xticks(range(len(found.taps)), found.taps, rotation=90, fontsize=5)
        return image(figure, "png")
