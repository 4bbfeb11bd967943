"""``spikes diagnose``: the path of spiky vertices through a run."""

from typing import Any

import click

from commands.options import PATH
from network.levels import VERTICES
from network.weights import STAGES


@click.command("diagnose")
@click.option("--weights", type=PATH, required=True, help="Weights of the run, of either stage.")
@click.option("--item", type=PATH, required=True, help="Folder of one item.")
@click.option("--views", default="0,6,7", show_default=True, help="Three view numbers.")
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat).")
@click.option("--mesh", type=PATH, help="Input mesh, as for trace: .obj, .ply, .stl, .off or .npy.")
@click.option("--stage", type=click.Choice(STAGES), help="Checked against the weights'.")
@click.option("--trace", "recorded", type=PATH,
              help="The run, as a trace of all taps; made with torch by default.")  # fmt: skip
@click.option("--reference", type=PATH,
              help="A run to patch from: a trace, or weights to run.")  # fmt: skip
@click.option("--vertex", "chosen", type=click.IntRange(0, VERTICES[-1] - 1), multiple=True,
              help="Vertices to trace; the worst spikes by default.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), default=10, show_default=True,
              help="Spikes to trace at most.")  # fmt: skip
@click.option("--self-check", type=click.IntRange(1), metavar="N",
              help="Plant N causes instead, one by one; which are named?")  # fmt: skip
@click.option("--out", type=PATH, help="Folder for tables and pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def diagnose_command(**given: Any) -> int:
    """Trace the spiky vertices of a run through all taps, and name where they begin.

    Exit status: 0; with --self-check 1 where a planted cause was not named.
    """
    from commands.actions.spikes_diagnose import perform

    return perform(**given)
