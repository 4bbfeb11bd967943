"""``table1``: the paper's Table 1 and Figures 1 and 2, done again."""

from typing import Any

import click

from commands.options import PATH
from network.weights import STAGES


@click.command("table1")
@click.option("--item", "items", multiple=True, metavar="[NAME=]FOLDER",
              help="Folder of an item; the project's plane and sofa by default.")  # fmt: skip
@click.option("--weights", type=PATH, multiple=True,
              help="Weights that both run; the demo's network by default.")  # fmt: skip
@click.option("--ours", multiple=True, metavar="[ITEM=]W", help="What ours was trained to.")
@click.option("--original", multiple=True, metavar="[ITEM=]W",
              help="What the original was trained to.")  # fmt: skip
@click.option("--backends", nargs=2, default=("torch", "tf"), show_default=True,
              help="What runs ours and the original.")  # fmt: skip
@click.option("--metagraph", multiple=True, metavar="[STAGE=]G.meta",
              help="Exported graph, for the backend metagraph.")  # fmt: skip
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat).")
@click.option("--views", default="0,6,7", show_default=True, help="Three view numbers.")
@click.option("--stage", type=click.Choice([*STAGES, "both"]), default="both", show_default=True,
              help="How far the demo's network is run.")  # fmt: skip
@click.option("--out", type=PATH, help="Folder for table1.csv, .md, .tex, .json and figures.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(**given: Any) -> None:
    """Set ours against the original: losses, mesh differences, the paper's numbers.

    With --weights both run the same weights, which tells whether they are the same function. With
    --ours and --original each runs what it was trained to, which tells whether training is the
    same: weights of `overfit` in either framework, from the same start; the curves of its log.csv
    beside them are drawn. Both may be given.
    """
    from commands.actions.table1 import perform

    perform(**given)
