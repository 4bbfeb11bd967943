"""What ``losses`` does."""

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
    subject_notes,
)
from commands.options import by_stage
from inputs.hypotheses import hypotheses_at
from inputs.template import template_at
from parity.meshes.loss_columns import LOSSES_SCHEMA, LossTable, measure, repeated
from parity.meshes.loss_weights import TableWeights, check_claim, load_claims, parse_weights
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
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError

FORMATS = {"csv": csv_text, "markdown": markdown_text, "latex": latex_text}
_FILES = {"csv": "losses.csv", "markdown": "losses.md", "latex": "losses.tex"}


def perform(
    table: Path | None,
    weighting: str,
    out: Path | None,
    form: str,
    as_json: bool,
    **options: Any,
) -> int:
    """Print the losses of meshes and checkpoints: the paper's Table 1 with Laplace."""
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
    shape = template_at(template)
    candidates = load_candidates(meshes, befores, subjects)
    notes = subject_notes(subjects, candidates, shape)
    if weights:
        runs = Runs(
            backends=tuple(dict.fromkeys(backends)) or ("torch",),
            graphs=by_stage("--metagraph", metagraph),
            template=shape,
            hypotheses=hypotheses_at(hypotheses),
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
    return LossTable(tuple(columns), weights_of_all, sampling.described, not no_frames, notes)


def _present(grid: Grid, value: Any, out: Path | None, form: str, as_json: bool) -> None:
    if out is not None:
        with staging(out, last="losses.json") as folder:
            for name, write in FORMATS.items():
                (folder / _FILES[name]).write_text(write(grid), encoding="utf-8")
            (folder / "losses.json").write_text(json_text(jsonable(value)), encoding="utf-8")
    if as_json:
        print_json(value)
    elif form == "text":
        show(grid, Console())
    else:
        click.echo(FORMATS[form](grid), nl=False)
