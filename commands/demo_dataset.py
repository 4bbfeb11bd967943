"""``demo-dataset``: a data set to try ``evaluate`` on, made by a seed."""

from pathlib import Path

import click

from commands.console import steps
from commands.options import PATH
from inputs.demo.dataset import LIST, write_dataset
from inputs.demo.make import VIEWS
from inputs.demo.varied import KINDS

LEAST_VIEWS = 8
"""The network reads views 0, 6 and 7."""


@click.command("demo-dataset")
@click.argument("out", type=PATH)
@click.option("--items", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--views", type=click.IntRange(LEAST_VIEWS), default=VIEWS, show_default=True,
              help="Renderings an item; the network reads 0, 6 and 7.")  # fmt: skip
def command(out: Path, items: int, seed: int, views: int) -> None:
    """Model a data set of planes, sofas, chairs, tables, lamps, cabinets and monitors into OUT.

    OUT/list.txt names its items. Two machines make the same objects, cameras and points of a seed;
    the renderings may differ in their last bits with VTK's version.
    """
    with steps() as progress, progress.task("items", items) as task:
        write_dataset(out, items, seed, views, task.advance)
    click.echo(f"{items} items of {min(items, len(KINDS))} kinds: {out / LIST}")
