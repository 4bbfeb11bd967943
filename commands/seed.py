"""``seed``: seeded probe weights in any format."""

from pathlib import Path

import click

from commands.options import PATH
from commands.weights import write_weights
from inputs.seeded import seeded_weights
from network.weights import STAGES
from weight_conversion.formats import WeightSet


@click.command("seed")
@click.argument("stage", type=click.Choice(STAGES))
@click.argument("destination", type=PATH)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
def command(stage: str, destination: Path, seed: int) -> None:
    """Write seeded weights for STAGE to DESTINATION, in the format of its ending.

    They are probes that exercise every layer, not values to start training from.
    """
    weights = WeightSet(stage, seeded_weights(stage, seed), None, f"seed {seed}")
    write_weights(destination, weights)
    click.echo(f"{destination}: {len(weights.arrays)} variables of the {stage} stage")
