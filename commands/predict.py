"""``predict``: the mesh, on any backend."""

from typing import Any

import click

from commands.options import PATH, input_options, run_options, weights_option


@click.command("predict")
@weights_option
@input_options
@run_options
@click.option("--backend", default="torch", show_default=True, help="What runs the network.")
@click.option("--out", type=PATH, required=True, help="Mesh to write (.obj).")
def command(**given: Any) -> None:
    """Predict the mesh of one item: coarse, refined, or refined from --mesh.

    With coarse weights alone the coarse mesh is written; with both, the refined one; with refine
    weights alone --mesh is refined. Vertices are in the camera frame of the first view.
    """
    from commands.actions.predict import perform

    perform(**given)
