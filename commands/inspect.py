"""``inspect``: what a weight file holds."""

from typing import Any

import click

from commands.options import PATH, choice_options


@click.command("inspect")
@click.argument("weights", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@choice_options
def command(**given: Any) -> None:
    """List the variables of WEIGHTS: shapes, dtypes, stage, step, checksums."""
    from commands.actions.inspect import perform

    perform(**given)
