"""What ``sweep`` does."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from commands.console import Task, print_json, steps, tell
from commands.loading import load_sources
from commands.loss_sources import labelled
from inputs.demo import DEMO_ITEMS, demo_item_path
from parity.traces.record import RunInputs
from reports.tables.spikes_study import study_lines, write_study
from studies.spikes.design import PUBLISHED as PUBLISHED_PARTS
from studies.spikes.design import Plan, plans, published_plans
from studies.spikes.designs import PUBLISHED
from studies.spikes.results import plan_key, read_study, run_key, study_result
from studies.spikes.study import OnStep, run_plan
from weight_conversion.errors import InputError

ROOM = 4 * 2**30
"""Bytes of memory that a run needs."""


def perform(
    out: Path,
    designs: tuple[str, ...],
    items: tuple[str, ...],
    truths: tuple[str, ...],
    template: Path | None,
    seeds: tuple[int, ...],
    count: int,
    learning_rate: float,
    blocks: int,
    frozen_cnn: bool,
    keep_weights: bool,
    workers: int,
    scheduler: str | None,
    earlier: tuple[Path, ...],
    summary: bool,
    as_json: bool,
) -> None:
    """Overfit items under designed deviations and interventions, and count the spikes."""
    if not summary:
        inputs = _inputs(items, truths, template)
        tell(note for item in inputs.values() for note in item.notes)
        todo: list[Plan] = []
        if PUBLISHED in designs:
            _refuse_settings(designs)
            todo += published_plans(inputs, learning_rate)
            missing = sorted(
                {item for part in PUBLISHED_PARTS for item in part.items} - set(inputs)
            )
            if missing and not as_json:
                click.echo(f"left out: {', '.join(missing)} (no --item {missing[0]}=FOLDER)")
        named = [design for design in designs if design != PUBLISHED]
        todo += plans(named, list(inputs), seeds, count, learning_rate, blocks, frozen_cnn)
        made = {run_key(row) for path in earlier for row in read_study(path)}
        todo = [plan for plan in todo if plan_key(plan, inputs[plan.item]) not in made]
        with steps() as progress, progress.task("runs", len(todo)) as whole:
            if workers > 1 or scheduler is not None:
                for _ in _elsewhere(todo, inputs, out, workers, scheduler, keep_weights):
                    whole.advance()
                todo = []
            for plan in todo:
                with progress.task(plan.name, plan.steps) as task:
                    shown = _shown(task, plan.name)
                    run_plan(plan, inputs[plan.item], out / plan.name, shown, keep_weights)
                whole.advance()
    result = study_result(out, earlier)
    write_study(result, out)
    if as_json:
        print_json(result)
        return
    for line in study_lines(result):
        click.echo(line)


def _elsewhere(
    todo: Sequence[Plan],
    inputs: Mapping[str, RunInputs],
    out: Path,
    workers: int,
    scheduler: str | None,
    keep_weights: bool,
) -> Iterator[str]:
    """The runs on other processes, the cores shared out among them."""
    from cluster.opened import Wanted
    from studies.spikes.workers import run_plans

    threads = max(1, (os.cpu_count() or 1) // workers)
    wanted = Wanted(scheduler, None if scheduler else workers, threads, ROOM)
    return run_plans(todo, inputs, out, wanted, keep_weights)


def _refuse_settings(designs: Sequence[str]) -> None:
    """What the published study has of its own is not to be given beside it alone."""
    context = click.get_current_context()
    given = {
        name
        for name in ("seeds", "count", "blocks", "frozen_cnn")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if given and set(designs) == {PUBLISHED}:
        words = {"seeds": "--seed", "count": "--steps", "frozen_cnn": "--frozen-cnn"}
        options = ", ".join(sorted(words.get(name, f"--{name}") for name in given))
        raise InputError("--design published", f"{options} beside it", "the study's own settings")


def _shown(task: Task, name: str) -> OnStep:
    def on_step(number: int, losses: dict[str, float]) -> None:
        task.update(number, f"{name}, total {losses['total']:.3g}")

    return on_step


def _inputs(
    items: Sequence[str], truths: Sequence[str], template: Path | None
) -> dict[str, RunInputs]:
    """Each item's inputs by its name."""
    folders = {name: demo_item_path(name) for name in DEMO_ITEMS} if not items else {}
    for value in items:
        label, path = labelled(value)
        folders[label or path.resolve().name] = path
    files = {}
    for value in truths:
        label, path = labelled(value)
        name = label or (next(iter(folders)) if len(folders) == 1 else "")
        if name not in folders:
            raise InputError("--ground-truth", repr(value), f"NAME=FILE, of {', '.join(folders)}")
        files[name] = path
    return {
        name: load_sources(
            folder,
            template=template,
            ground_truth=files.get(name, folder / "model_normal.xyz"),
            stages=("coarse",),
        ).of("coarse")
        for name, folder in folders.items()
    }
