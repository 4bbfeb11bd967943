"""What several `overfit` runs came to: a table as JSON, and their curves as a picture.

``python docs/examples/overfits.py official=plane level=first@2000+second --out runs.json`` reads
``log.csv`` and ``mesh.csv`` of each folder. ``A@N+B``: B went on, in a folder of its own, from A's
weights after step N.
"""

import csv
import json
from pathlib import Path
from typing import Any

import click
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LOGGED = (1, 2, 5)
"""Steps kept of a log: these times the powers of ten, every hundredth, and the last."""


def rows_of(folders: str, name: str) -> list[dict[str, float]]:
    """The rows of a file of each folder, one after the other, their steps counted on."""
    found: list[dict[str, float]] = []
    taken = 0
    for each in folders.split("+"):
        folder, _, steps = each.partition("@")
        rows = read(Path(folder) / name)
        last = int(steps) if steps else int(read(Path(folder) / "log.csv")[-1]["step"])
        found += [{**row, "step": taken + row["step"]} for row in rows if row["step"] <= last]
        taken += last
    return found


def read(path: Path) -> list[dict[str, float]]:
    """The rows of a file of numbers with a heading; none where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def kept(step: int, last: int) -> bool:
    """Whether a step's losses stand in the JSON."""
    return step in (last, *(first * 10**power for first in LOGGED for power in range(3))) or (
        step % 100 == 0
    )


def summed_up(name: str, folders: str) -> dict[str, Any]:
    """A run's steps, its losses along them and its spikes."""
    losses, looks = rows_of(folders, "log.csv"), rows_of(folders, "mesh.csv")
    last = int(losses[-1]["step"])
    return {
        "name": name,
        "steps": last,
        "total_first": losses[0]["total"],
        "total_last": losses[-1]["total"],
        "losses": [
            {key: float(f"{value:.4g}") for key, value in row.items()}
            for row in losses
            if kept(int(row["step"]), last)
        ],
        "mesh": looks,
    }


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """The total, the mode's strength and the irregular vertices that are spikes, over steps."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    panels[0].set_yscale("log")
    for run in runs:
        losses, looks = run["losses"], run["mesh"]
        panels[0].plot([row["step"] for row in losses], [row["total"] for row in losses],
                       label=run["name"])  # fmt: skip
        for axes, key in zip(panels[1:], ("mode_strength", "irregular_spikes"), strict=True):
            axes.plot([row["step"] for row in looks], [row[key] for row in looks], "o-", ms=3)
    for axes, label in zip(
        panels, ("total loss", "mode's strength", "irregular spikes"), strict=True
    ):
        axes.set_xlabel("step")
        axes.set_title(label)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path, dpi=130)


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="NAME=FOLDER[+FOLDER]…")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The JSON.")
@click.option("--figure", type=click.Path(path_type=Path), help="The picture.")
def main(runs: tuple[str, ...], out: Path, figure: Path | None) -> None:
    """Sum up RUNS."""
    found = []
    for each in runs:
        name, _, folders = each.partition("=")
        found.append(summed_up(name, folders))
    lines = ",\n".join(json.dumps(each) for each in found)
    out.write_text(f"[\n{lines}\n]\n", "utf-8")
    if figure is not None:
        draw(found, figure)
    for each in found:
        looks = each["mesh"]
        spikes = f"{looks[-1]['irregular_spikes']:g} irregular spikes" if looks else "not looked at"
        click.echo(
            f"{each['name']}: {each['steps']} steps, total {each['total_first']:.4g} to "
            f"{each['total_last']:.4g}, {spikes}"
        )


if __name__ == "__main__":
    main()
