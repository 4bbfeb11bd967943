"""``losses``: the paper's Table 1 for meshes and checkpoints, or a check of a given table."""

from typing import Any

import click

from commands.options import PATH
from network.weights import STAGES


@click.command("losses")
@click.option(
    "--mesh",
    "meshes",
    multiple=True,
    metavar="[ITEM/][NAME=]FILE",
    help="A mesh (.obj, .ply, .stl, .off or .npy); one column each.",
)
@click.option(
    "--ground-truth",
    "truths",
    multiple=True,
    metavar="[ITEM=]FILE",
    help="Ground truth: .xyz, .dat, .npy, .obj, .ply, .stl or .off, "
    ".xyz with --item; --item's own by default.",
)
@click.option("--item", "items", multiple=True, metavar="[NAME=]FOLDER", help="Folder of an item.")
@click.option(
    "--before",
    "befores",
    multiple=True,
    metavar="[[ITEM/]NAME=]FILE",
    help="The mesh before the last block, for Laplace; for every --mesh if without a name.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[NAME=]W",
    help="Weights to run on the items; one column a NAME and backend.",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    help="What runs --weights (torch by default); give it again for more columns.",
)
@click.option(
    "--coarse-mesh",
    "coarse_meshes",
    multiple=True,
    metavar="[ITEM=]FILE",
    help="Where refine weights alone start.",
)
@click.option("--views", default="0,6,7", show_default=True, help="Three view numbers.")
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat).")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    show_default=True,
    help="Precision of runs.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N, for runs.")
@click.option(
    "--metagraph",
    multiple=True,
    metavar="[STAGE=]G.meta",
    help="Exported graph, for the backend metagraph.",
)
@click.option("--samples", type=PATH, help="Samples of the chamfer term (.npz), of either stage.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Draws the samples where none are given.",
)
@click.option("--vertices-only", is_flag=True, help="No samples: only vertices, as many ports do.")
@click.option(
    "--all-weights",
    "weighting",
    default="paper",
    show_default=True,
    metavar="WEIGHTS",
    help=f"What All is made of: paper, equation, {', '.join(STAGES)}, or "
    "chamfer=3000,edge=359,normal=0.5,...",
)
@click.option(
    "--no-frames", is_flag=True, help="Do not search for frame mismatches (seconds a mesh)."
)
@click.option("--table", type=PATH, help="Check this table (.csv) instead of measuring meshes.")
@click.option("--out", type=PATH, help="Folder for losses.csv, .md, .tex and .json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "markdown", "latex"]),
    default="text",
    show_default=True,
    help="What is printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(**given: Any) -> int:
    """Print the losses of meshes and checkpoints: the paper's Table 1 with Laplace.

    \b
    One mesh:      losses --ground-truth gt.obj --mesh ours=mesh.obj
    The paper's:   losses --item sofa=DIR --item plane=DIR --mesh sofa/ours=a.obj ...
    Checkpoints:   losses --item DIR --weights a.ckpt --weights b.ckpt --backend torch --backend tf
    A given table: losses --table table.csv

    Chamfer is multiplied by its weight, 3000; the other terms are not. All adds them up with
    --all-weights: paper (Chamfer + 359 Edge + 0.5 Normal, Laplace left out, as in Table 1),
    equation (the paper's equation 7, Laplace times 1500), coarse or refine (the official graphs').

    Triangles are the mesh's own; those of --template, where it is given, for meshes of as many
    vertices as one of its levels. Laplace needs the mesh before the last block: --before, unpooled
    where it is of a lower level; for --weights it is the output of the last block but one. A mesh
    that a rigid move with scale brings ten times closer in chamfer is marked as being in another
    frame, and the move is told.

    Exit status: 0, or 1 where a table given with --table contradicts itself.
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character
    from commands.actions.losses import perform

    return perform(**given)
