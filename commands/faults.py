"""``faults``: what the verdict is worth, measured on faults put in on purpose."""

from pathlib import Path
from typing import Any

import click

from commands.options import PATH


@click.command("faults")
@click.option("--only", default="*", show_default=True, metavar="GLOB",
              help="Only faults and variations of these names.")  # fmt: skip
@click.option("--small", is_flag=True, help="The marked few that continuous integration runs.")
@click.option("--list", "as_list", is_flag=True, help="Print what would be judged, and stop.")
@click.option("--out", type=PATH, default=Path("faults-report"), show_default=True,
              help="Folder for faults.json, .csv and .md.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with an interrupted run in --out.")
@click.option("--workers", type=click.IntRange(1),
              show_default="2 where there are two cores, 12 GB and Dask",
              help="Processes to judge in, of up to 4 GB each.")  # fmt: skip
@click.option("--no-float64", is_flag=True,
              help="Judge float32 alone, as of ports that cannot run in float64: taps, losses and "
              "gradients.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(**given: Any) -> int:
    """Put known faults into the implementation, and see whether the verdict finds them.

    Every deviation that was read in public ports, mutations of every operand by rule, and
    variations that compute the same function and must pass. Exit status: 0 where every fault was
    found and nothing else was, 1 otherwise.
    """
    from commands.actions.faults import perform

    return perform(**given)
