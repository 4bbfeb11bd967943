"""``convert``: from one weight format to another."""

from pathlib import Path

import click

from commands.options import PATH
from commands.weights import choice_options, write_weights
from reports.wording import printable
from weight_conversion.conversion import convert
from weight_conversion.formats import Choice


@click.command("convert")
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@choice_options
def command(source: Path, destination: Path, choice: Choice) -> None:
    """Convert SOURCE to DESTINATION, both formats by ending, bit for bit.

    Endings: .safetensors, .pt, .npz, .h5, .onnx (out only); any other is the prefix of a
    TensorFlow 1 checkpoint. SOURCE is read as what its content is, under any ending; a checkpoint's
    folder stands for the newest in it. Half precision is widened to float32.
    """
    done = convert(source, destination, choice, write_weights)
    click.echo(f"{destination}: {done.variables} variables of the {done.stage} stage")
    click.echo(f"weights_sha256 {done.weights_sha256}")
    for note in done.notes:
        click.echo(printable(f"note: {note}"))
