"""``convert``: from one weight format to another."""

from typing import Any

import click

from commands.options import PATH, choice_options


@click.command("convert")
@click.argument("source", type=PATH)
@click.argument("destination", type=PATH)
@choice_options
def command(**given: Any) -> None:
    """Convert SOURCE to DESTINATION, both formats by ending, bit for bit.

    Endings: .safetensors, .pt, .npz, .h5, .onnx (out only); any other is the prefix of a
    TensorFlow 1 checkpoint. SOURCE is read as what its content is, under any ending; a checkpoint's
    folder stands for the newest in it. Half precision is widened to float32.
    """
    from commands.actions.convert import perform

    perform(**given)
