"""``losses``: the paper's Table 1 for meshes and checkpoints, or a check of a given table."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from commands.console import Steps, print_json, steps
from commands.loss_sources import (
    Runs,
    labelled,
    load_candidates,
    load_checkpoints,
    load_sampling,
    load_subjects,
    run_checkpoints,
)
from commands.options import PATH, by_stage
from commands.staging import staging
from inputs.hypotheses import build_hypotheses, load_hypotheses
from inputs.template import build_template, load_template
from parity.meshes.loss_columns import LOSSES_SCHEMA, LossTable, measure, repeated
from parity.meshes.loss_weights import (
    PRESETS,
    TableWeights,
    check_claim,
    load_claims,
    parse_weights,
)
from parity.verdict.result import jsonable
from reports.tables.comparison import json_text
from reports.tables.losses import (
    Grid,
    check_grid,
    csv_text,
    latex_text,
    loss_grid,
    markdown_text,
    show,
)
from weight_conversion.errors import InputError

FORMATS = {"csv": csv_text, "markdown": markdown_text, "latex": latex_text}
_FILES = {"csv": "losses.csv", "markdown": "losses.md", "latex": "losses.tex"}


@click.command("losses")
@click.option(
    "--mesh",
    "meshes",
    multiple=True,
    metavar="[ITEM/][NAME=]FILE",
    help="A mesh, .obj or .npy; one column each.",
)
@click.option(
    "--ground-truth",
    "truths",
    multiple=True,
    metavar="[ITEM=]FILE",
    help="Ground truth: .xyz (needs --item), .dat, .npy, .obj; --item's own by default.",
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
    help=f"What All is made of: {', '.join(PRESETS)}, or chamfer=3000,edge=359,normal=0.5,...",
)
@click.option(
    "--no-frames", is_flag=True, help="Do not search for frame mismatches (seconds a mesh)."
)
@click.option("--table", type=PATH, help="Check this table (.csv) instead of measuring meshes.")
@click.option("--out", type=PATH, help="Folder for losses.csv, .md, .tex and .json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", *FORMATS]),
    default="text",
    show_default=True,
    help="What is printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    table: Path | None,
    weighting: str,
    out: Path | None,
    form: str,
    as_json: bool,
    **options: Any,
) -> int:
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
    weights = parse_weights(weighting)
    if table is not None:
        unused = [name for name in ("meshes", "weights", "truths", "items") if options[name]]
        if unused:
            raise InputError("--table", "given with meshes or items", "one or the other")
        checks = [check_claim(claim, weights) for claim in load_claims(table)]
        value = {
            "schema": LOSSES_SCHEMA,
            "table": str(table),
            "all": weights.formula,
            "columns": [check.to_json() for check in checks],
        }
        _present(check_grid(checks, weights), value, out, form, as_json)
        return int(not all(check.sound for check in checks))
    with steps() as progress:
        measured = _measured(weights, progress, **options)
    _present(loss_grid(measured), measured.to_json(), out, form, as_json)
    return 0


def _measured(
    weights_of_all: TableWeights,
    progress: Steps,
    *,
    meshes: tuple[str, ...],
    truths: tuple[str, ...],
    items: tuple[str, ...],
    befores: tuple[str, ...],
    weights: tuple[str, ...],
    backends: tuple[str, ...],
    coarse_meshes: tuple[str, ...],
    views: str,
    template: Path | None,
    hypotheses: Path | None,
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    samples: Path | None,
    seed: int,
    vertices_only: bool,
    no_frames: bool,
) -> LossTable:
    if not meshes and not weights:
        raise InputError("losses", "nothing to measure", "--mesh FILE or --weights W")
    subjects = load_subjects(items, truths, views)
    sampling = load_sampling(samples, seed, vertices_only)
    shape = build_template() if template is None else load_template(template)
    candidates = load_candidates(meshes, befores, subjects)
    if weights:
        runs = Runs(
            backends=tuple(dict.fromkeys(backends)) or ("torch",),
            graphs=by_stage("--metagraph", metagraph),
            template=shape,
            hypotheses=build_hypotheses() if hypotheses is None else load_hypotheses(hypotheses),
            dtype=dtype,
            device=device,
            coarse_meshes=dict(labelled(value) for value in coarse_meshes),
        )
        candidates += run_checkpoints(load_checkpoints(weights), subjects, runs, progress)
    twice = repeated(candidates)
    if twice:
        raise InputError("losses", f"two columns {twice}", "NAME=FILE to tell them apart")
    columns = []
    with progress.task("measuring", len(candidates)) as task:
        for candidate in candidates:
            columns.append(
                measure(
                    candidate,
                    subjects[candidate.item].truth,
                    shape,
                    template_given=template is not None,
                    sampling=sampling,
                    frames=not no_frames,
                )
            )
            task.advance()
    return LossTable(tuple(columns), weights_of_all, sampling.described, not no_frames)


def _present(grid: Grid, value: Any, out: Path | None, form: str, as_json: bool) -> None:
    if out is not None:
        with staging(out) as folder:
            for name, write in FORMATS.items():
                (folder / _FILES[name]).write_text(write(grid), encoding="utf-8")
            (folder / "losses.json").write_text(json_text(jsonable(value)), encoding="utf-8")
    if as_json:
        print_json(value)
    elif form == "text":
        show(grid, Console())
    else:
        click.echo(FORMATS[form](grid), nl=False)
