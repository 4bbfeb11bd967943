"""``compare``: the verdict per tap from two traces."""

from typing import Any

import click

from commands.options import PATH, figures_option, unmatched_option


@click.command("compare")
@click.argument("reference", type=PATH)
@click.argument("candidate", type=PATH)
@click.option("--taps", default="*", help="Compare only taps that match this glob.")
@unmatched_option
@click.option("--out", type=PATH, help="Folder for the report.")
@figures_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(**given: Any) -> int:
    """Compare the traces REFERENCE and CANDIDATE."""
    from commands.actions.compare import perform

    return perform(**given)
