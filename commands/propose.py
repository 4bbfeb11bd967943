"""``propose``: which submodule of a port is which tap, and which parameter which variable."""

from typing import Any

import click

from commands.options import PATH, arrays_option


@click.command("propose")
@click.argument("port", metavar="MODULE:FACTORY")
@click.option("--out", type=PATH, required=True, help="File for the map (.toml); what a person has "
              "answered in it stays.")  # fmt: skip
@click.option("--item", type=PATH, help="Folder of an item to run it on; the demo's by default.")
@arrays_option
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(**given: Any) -> int:
    """Find out how the names of a port belong to the network's, and write it to a file.

    The port runs once a stage, with random parameters. What fits twice is asked: an empty name in
    the file, with the candidates behind it. A stage whose factory raises NotImplementedError is
    left out.
    """
    from commands.actions.propose import perform

    return perform(**given)
