"""``demo``: the main job on what the project carries, with no arguments."""

from pathlib import Path
from typing import Any

import click

from commands.options import PATH, figures_option


@click.command("demo")
@click.option("--out", type=PATH, default=Path("demo-report"), show_default=True,
              help="Folder for weights and reports.")  # fmt: skip
@click.option("--keep-traces", is_flag=True, help="Keep the traces (9 GB an item).")
@click.option("--all-vertices", is_flag=True,
              help="Judge the refine stage at all 2,466 vertices and not at 276 of them, which "
              "takes three times as long.")  # fmt: skip
@figures_option
def command(**given: Any) -> int:
    """Run both stages in TensorFlow and PyTorch on a plane and a sofa, and compare.

    The weights, of one network overfitted on both, are written as TensorFlow 1 checkpoints and
    converted to PyTorch; every activation is compared, those of the refine stage, which mixes
    nothing between vertices, at 276 vertices from all over the mesh. The plane's reports are in
    OUT/coarse and OUT/refine, the sofa's in OUT/sofa, and OUT/report.html sums them up.
    """
    from commands.actions.demo import perform

    return perform(**given)
