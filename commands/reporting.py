"""From a comparison to its folder and its table on the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from parity.verdict.result import Comparison
from reports.meshes import output_meshes
from reports.text import terminal
from reports.write import write_report


def write(
    comparison: Comparison,
    folder: Path,
    reference: Path,
    candidate: Path,
    commands: Sequence[str],
) -> None:
    """Write the report with the two traces' output meshes and samples of their taps."""
    write_report(
        comparison,
        folder,
        meshes=output_meshes(reference, candidate),
        commands=commands,
        traces=(reference, candidate),
    )


def at(comparison: Comparison, reference: Path | None, candidate: Path | None) -> Comparison:
    """The comparison, its traces named by the paths where people will find them.

    Those that are not kept have none.
    """
    paths = ["" if path is None else str(path) for path in (reference, candidate)]
    return replace(
        comparison,
        reference=replace(comparison.reference, path=paths[0]),
        candidate=replace(comparison.candidate, path=paths[1]),
    )


def show(comparison: Comparison, folder: Path | None) -> None:
    """Print the table and the verdict, and where the report is."""
    console = Console()
    terminal.show(comparison, console)
    if folder is not None:
        console.print(
            f"report: {folder / 'report.html'}",
            markup=False, highlight=False, emoji=False, soft_wrap=True,
        )  # fmt: skip
