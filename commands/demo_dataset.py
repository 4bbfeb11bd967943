"""``demo-dataset``: a data set to try ``evaluate`` on, made by a seed."""

from typing import Any

import click

from commands.options import PATH

LEAST_VIEWS, VIEWS = 8, 24
"""The network reads views 0, 6 and 7 of ShapeNet's 24."""


@click.command("demo-dataset")
@click.argument("out", type=PATH)
@click.option("--items", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--views", type=click.IntRange(LEAST_VIEWS), default=VIEWS, show_default=True,
              help="Renderings an item; the network reads 0, 6 and 7.")  # fmt: skip
def command(**given: Any) -> None:
    """Model a data set of planes, sofas, chairs, tables, lamps, cabinets and monitors into OUT.

    OUT/list.txt names its items. Two machines make the same objects, cameras and points of a seed;
    the renderings may differ in their last bits with VTK's version.
    """
    from commands.actions.demo_dataset import perform

    perform(**given)
