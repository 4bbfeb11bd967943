"""``seed``: seeded probe weights in any format."""

from typing import Any

import click

from commands.options import PATH
from network.weights import STAGES


@click.command("seed")
@click.argument("stage", type=click.Choice(STAGES))
@click.argument("destination", type=PATH)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
def command(**given: Any) -> None:
    """Write seeded weights for STAGE to DESTINATION, in the format of its ending.

    They are probes that exercise every layer, not values to start training from.
    """
    from commands.actions.seed import perform

    perform(**given)
