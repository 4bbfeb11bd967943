"""From a comparison to its folder and its table on the terminal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from parity.verdict.result import Comparison
from reports.figures.renderings import Finish, rendering
from reports.meshes import Meshes, output_meshes
from reports.text import terminal
from reports.write import write_report


@dataclass(frozen=True)
class Drawn:
    """Two traces' output meshes, None where there are none, and what waits for their pictures."""

    meshes: Meshes | None
    finish: Finish | None


@contextmanager
def drawing_meshes(reference: Path, candidate: Path) -> Iterator[Drawn]:
    """Have the two traces' output meshes drawn, in another process, while the block goes on."""
    meshes = output_meshes(reference, candidate)
    if meshes is None:
        yield Drawn(None, None)
        return
    with rendering(meshes) as finish:
        yield Drawn(meshes, finish)


def write(
    comparison: Comparison,
    folder: Path,
    reference: Path,
    candidate: Path,
    commands: Sequence[str],
    *,
    figures: bool,
    drawn: Drawn,
) -> None:
    """Write the report with the two traces' output meshes and samples of their taps."""
    write_report(
        comparison,
        folder,
        meshes=drawn.meshes,
        commands=commands,
        traces=(reference, candidate),
        figures=figures,
        drawn=drawn.finish,
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
