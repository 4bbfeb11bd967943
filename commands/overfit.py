"""``overfit``: train one stage on one item."""

from typing import Any

import click

from commands.options import PATH
from network.weights import STAGES


@click.command("overfit")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--item", type=PATH, required=True, help="Folder of one item.")
@click.option(
    "--ground-truth", type=PATH, required=True, help=".xyz, .dat, .npy, .obj, .ply, .stl or .off."
)
@click.option("--out", type=PATH, required=True, help="Folder for log and checkpoints.")
@click.option("--views", default="0,6,7", show_default=True, help="Three view numbers.")
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat).")
@click.option("--backend", type=click.Choice(["torch", "tf"]), default="torch", show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option("--weights", type=PATH, help="Start from these; official initial values by default. "
              "For refine, coarse weights give the image encoder.")  # fmt: skip
@click.option("--mesh", type=PATH, help="Input mesh; the coarse stage's saved one for refine.")
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True)
@click.option("--learning-rate", type=float, default=1e-5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Of initial values and drawn points.")  # fmt: skip
@click.option("--frozen-cnn", is_flag=True, help="Keep the image encoder; its features once.")
@click.option(
    "--loss-weight",
    multiple=True,
    metavar="NAME=VALUE",
    help="A factor other than the official one: chamfer, edge, normal, laplace, …",
)
@click.option("--save-every", type=click.IntRange(1), default=50, show_default=True)
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
def command(**given: Any) -> None:
    """Overfit STAGE on one item, by default with the official settings."""
    from commands.actions.overfit import perform

    perform(**given)
