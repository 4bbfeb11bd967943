"""What commands show: progress on a terminal's stderr, results and JSON on stdout."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from parity.verdict.result import jsonable
from reports.wording import printable


class Steps:
    """Progress over several tasks; silent where stderr is not a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def tell(self, notes: Iterable[str]) -> None:
        """What a person should know, on stderr: lines above the progress, which goes on below."""
        for note in notes:
            self._progress.console.print(_told(note), markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator["Task"]:
        """Show a task while the block runs."""
        number = self._progress.add_task(description, total=total)
        yield Task(self._progress, number)
        self._progress.update(number, completed=total or 1, total=total or 1)


class Task:
    """One line of progress."""

    def __init__(self, progress: Progress, number: Any) -> None:
        self._progress, self._number = progress, number

    def update(self, completed: int, description: str) -> None:
        """Say how far it is, and what to show beside it."""
        self._progress.update(self._number, completed=completed, description=description)

    def advance(self, _name: str = "") -> None:
        """One unit done; takes the name that a listener is given."""
        self._progress.advance(self._number)


@contextmanager
def steps() -> Iterator[Steps]:
    """Progress lines that are cleared at the end, before any result or error is printed."""
    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        yield Steps(progress)


def tell(notes: Iterable[str]) -> None:
    """What a person should know, on stderr: a line each."""
    for note in notes:
        click.echo(_told(note), err=True)


def _told(note: str) -> str:
    return printable(f"p2m-parity: note: {note}")


def print_json(value: Any) -> None:
    """One JSON value on stdout, NaN and infinities as strings."""
    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False))
