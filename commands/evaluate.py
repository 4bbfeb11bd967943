"""``evaluate``: scores, losses and parity over a data set, on the processes of a cluster."""

from typing import Any

import click

from commands.options import PAIR_ROOM, PATH, ROOM, weights_option


@click.command("evaluate")
@click.argument("dataset", type=PATH)
@weights_option
@click.option("--list", "lists", type=PATH, multiple=True,
              help="File that names the items, one a line; all below DATASET by default.",
              )  # fmt: skip
@click.option("--backend", default="torch", show_default=True, help="What is evaluated.")
@click.option("--reference", help="What its runs are held against, item by item.")
@click.option("--ground-truth", "truths", type=PATH, metavar="FOLDER",
              help="Folder of CATEGORY_ITEM_00.dat; each item's model_normal.xyz by default.",
              )  # fmt: skip
@click.option("--views", default="0,6,7", show_default=True, help="Three view numbers.")
@click.option("--template", type=PATH, help="Official mesh template (.dat).")
@click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat).")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32",
              show_default=True, help="Precision of the runs.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N.")
@click.option("--metagraph", multiple=True, metavar="[STAGE=]G.meta",
              help="Exported graph, for the backend metagraph.")  # fmt: skip
@click.option("--taps", default="*", show_default=True,
              help="With --reference: compare only taps that match this glob.")  # fmt: skip
@click.option("--no-float64", is_flag=True,
              help="With --reference: leave out the runs in float64.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True,
              help="Draws the samples of the losses.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that exists.")
@click.option("--workers", type=click.IntRange(1),
              help="Processes of this machine; as many as cores and memory admit by default.",
              )  # fmt: skip
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
              help="Threads a worker; figures depend on them in their last bits.")  # fmt: skip
@click.option("--memory", type=click.FloatRange(0.25), metavar="GIB",
              help=f"Memory that a worker needs; {ROOM} by default, {PAIR_ROOM} with --reference.",
              )  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the results in --out.")
@click.option("--retry", is_flag=True, help="With --resume: items that failed again.")
@click.option("--out", type=PATH, required=True, help="Folder for the tables and the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(**given: Any) -> int:
    """Evaluate a data set: official scores, losses and parity, item by item.

    \b
    One backend:   evaluate DATASET --list test.txt --weights W --weights W2 --out DIR
    Two:           evaluate DATASET --weights W --backend my_port:factory --reference tf --out DIR

    DATASET holds CATEGORY/ITEM/rendering as ShapeNet's renderings do. Figures are of the coarse
    mesh with coarse weights alone, of the refined one with both. An item that fails is a row with
    its reason. Every row is on the disk as soon as it is known: after the death of a worker, of the
    scheduler or of this command, --resume computes again what was in flight.

    OUT/items.parquet has a row an item, OUT/report.html and .md, .csv, .json what they come to.

    Exit status: 0, or with --reference 1 where an item differs; 2 where a verdict is invalid or no
    item could be evaluated.
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character
    from commands.actions.evaluate import perform

    return perform(**given)
