"""``demo-network``: makes the weights that the demo runs."""

from typing import Any

import click

from commands.options import PATH


@click.command("demo-network")
@click.option("--out", type=PATH, required=True, help="Folder for weights, state and meshes.")
@click.option("--resume", is_flag=True, help="Go on with the training in --out.")
@click.option("--steps", "counts", type=int, nargs=3, default=(0, 100, 45), show_default=True,
              help="Steps of the coarse stage's three blocks.")  # fmt: skip
@click.option("--save-every", type=click.IntRange(1), default=10, show_default=True)
def command(**given: Any) -> None:
    """Overfit one network on the plane and the sofa: the weights that `demo` runs.

    OUT/coarse.safetensors and OUT/refine.safetensors are what inputs/demo/network holds: the graph
    convolutions in float16, the image encoder left out, because it comes from a seed. The meshes
    that they give, and those that they were to learn, lie beside.
    """
    from commands.actions.demo_network import perform

    perform(**given)
