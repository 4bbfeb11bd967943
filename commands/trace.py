"""``trace``: record one run."""

from typing import Any

import click

from commands.options import (
    PATH,
    loss_options,
    run_options,
    source_options,
    stage_argument,
    vertices_option,
    weights_option,
)


@click.command("trace")
@stage_argument()
@click.option("--backend", required=True, help="torch, tf, metagraph, onnx or module:factory.")
@weights_option
@source_options
@run_options
@loss_options
@click.option("--taps", default="*", help="Record only taps that match this glob.")
@vertices_option
@click.option("--out", type=PATH, required=True, help="Trace file to write (.h5).")
def command(**given: Any) -> None:
    """Record one run of STAGE.

    STAGE may be a network of your own, which --network MODULE registers before this command: with
    --inputs in place of --item, and a backend of your own.
    """
    from commands.actions.trace import perform

    perform(**given)
