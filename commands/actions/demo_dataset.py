"""What ``demo-dataset`` does."""

from pathlib import Path

import click

from commands.console import steps
from inputs.demo.dataset import LIST, write_dataset
from inputs.demo.varied import KINDS


def perform(out: Path, items: int, seed: int, views: int) -> None:
    """Write the data set and say where its list is.

    Raises:
        InputError: the folder cannot be written to.
    """
    with steps() as progress, progress.task("items", items) as task:
        write_dataset(out, items, seed, views, task.advance)
    click.echo(f"{items} items of {min(items, len(KINDS))} kinds: {out / LIST}")
