"""``coverage``: what an item and weights can tell, before anything is judged by them."""

from typing import Any

import click

from commands.options import PATH, input_options, weights_option
from network.weights import STAGES


@click.command("coverage")
@click.argument("stage", type=click.Choice([*STAGES, "both"]))
@weights_option
@input_options
@click.option("--backend", default="tf", show_default=True, help="What runs the network.")
@click.option("--metagraph", multiple=True, metavar="[STAGE=]G.meta",
              help="Exported graph, for the backend metagraph.")  # fmt: skip
@click.option("--store", type=PATH, help="Folder to keep the result in, beside the user's cache.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(**given: Any) -> None:
    """What an item and weights can tell of STAGE, or both: measured once, then kept.

    Every variable is perturbed, channels are permuted and views swapped, in float64; what changes
    nothing is not covered by a verdict on these inputs.
    """
    from commands.actions.coverage import perform

    perform(**given)
