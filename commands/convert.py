"""``convert``: from one weight format to another."""

from pathlib import Path

import click

from commands.options import PATH
from commands.weights import write_weights
from weight_conversion.formats import load_weights
from weight_conversion.weight_set import weights_sha256


@click.command("convert")
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
def command(source: Path, destination: Path) -> None:
    """Convert SOURCE to DESTINATION, both formats by ending, bit for bit.

    Endings: .safetensors, .pt, .npz, .h5, .onnx (out only); any other is the prefix of a
    TensorFlow 1 checkpoint.
    """
    weights = load_weights(source)
    write_weights(destination, weights)
    click.echo(f"{destination}: {len(weights.arrays)} variables of the {weights.stage} stage")
    click.echo(f"weights_sha256 {weights_sha256(weights.arrays)}")
    if weights.ignored:
        click.echo(f"left out: {', '.join(weights.ignored)}")
