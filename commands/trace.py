"""``trace``: record one run."""

from typing import Any

import click

from commands.options import (
    PATH,
    input_options,
    loss_options,
    run_options,
    vertices_option,
    weights_option,
)
from network.weights import STAGES


@click.command("trace")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--backend", required=True, help="torch, tf, metagraph, onnx or module:factory.")
@weights_option
@input_options
@run_options
@loss_options
@click.option("--taps", default="*", help="Record only taps that match this glob.")
@vertices_option
@click.option("--out", type=PATH, required=True, help="Trace file to write (.h5).")
def command(**given: Any) -> None:
    """Record one run of STAGE."""
    from commands.actions.trace import perform

    perform(**given)
