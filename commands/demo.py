"""``demo``: the main job on what the project carries, with no arguments."""

from pathlib import Path
from typing import Any

import click

from commands.options import PATH, figures_option


@click.command("demo")
@click.option("--out", type=PATH, default=Path("demo-report"), show_default=True,
              help="Folder for weights and reports.")  # fmt: skip
@click.option("--keep-traces", is_flag=True, help="Keep the traces (9 GB an item).")
@figures_option
def command(**given: Any) -> int:
    """Run both stages in TensorFlow and PyTorch on a plane and a sofa, and compare.

    The weights, of one network overfitted on both, are written as TensorFlow 1 checkpoints and
    converted to PyTorch; every activation is compared. The plane's reports are in OUT/coarse and
    OUT/refine, the sofa's in OUT/sofa, and OUT/report.html sums them up.
    """
    from commands.actions.demo import perform

    return perform(**given)
