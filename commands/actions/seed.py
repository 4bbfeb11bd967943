"""What ``seed`` does."""

from pathlib import Path

import click

from commands.weights import write_weights
from inputs.seeded import seeded_weights
from weight_conversion.formats import WeightSet


def perform(stage: str, destination: Path, seed: int) -> None:
    """Write seeded weights for STAGE to DESTINATION, in the format of its ending."""
    weights = WeightSet(stage, seeded_weights(stage, seed), None, f"seed {seed}")
    write_weights(destination, weights)
    click.echo(f"{destination}: {len(weights.arrays)} variables of the {stage} stage")
