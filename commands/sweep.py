"""``sweep``: the study of spikes, a run a folder, resumable at any moment."""

from typing import Any

import click

from commands.options import PATH
from studies.spikes.designs import DESIGNS, PUBLISHED


@click.command("sweep")
@click.option("--out", type=PATH, required=True, help="Folder of the study: a folder a run in it.")
@click.option("--design", "designs", type=click.Choice((*DESIGNS, PUBLISHED)), multiple=True,
              default=("interventions", "factorial"), show_default=True,
              help="Which runs; may be given again. 'published': all that docs/spikes.md tells of, "
              "with blocks, steps and seeds of their own; its item 'shapenet' has to be given.",
              )  # fmt: skip
@click.option("--item", "items", multiple=True, metavar="[NAME=]FOLDER",
              help="Items; the project's plane and sofa by default.")  # fmt: skip
@click.option("--ground-truth", "truths", multiple=True, metavar="[NAME=]FILE",
              help="Ground truth of an item; its model_normal.xyz by default.")  # fmt: skip
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(0,),
              show_default=True, help="Of initial values and draws.")  # fmt: skip
@click.option("--steps", "count", type=click.IntRange(1), default=300, show_default=True)
@click.option("--learning-rate", type=float, default=3e-4, show_default=True)
@click.option("--blocks", type=click.IntRange(1, 3), default=3, show_default=True,
              help="Blocks of the coarse stage that are run.")  # fmt: skip
@click.option("--frozen-cnn", is_flag=True,
              help="Freeze the image encoder in every run, which saves time.")  # fmt: skip
@click.option("--keep-weights", is_flag=True, help="Keep each run's last weights (80 MB).")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Processes of this machine, a run each at a time (extra scale).")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS",
              help="A Dask scheduler that exists, in place of processes here.")  # fmt: skip
@click.option("--with", "earlier", type=PATH, multiple=True, metavar="STUDY.json",
              help="Earlier studies: their runs are summed up too and not made again.")  # fmt: skip
@click.option("--summary", is_flag=True, help="Run nothing: sum up what is finished.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def command(**given: Any) -> None:
    """Overfit items under designed deviations and interventions, and count the spikes.

    Finished runs are kept and an interrupted one goes on where it was: give the same command again,
    on any day. OUT/study.json, OUT/study.md and OUT/study.png hold the results.
    """
    from commands.actions.sweep import perform

    perform(**given)
