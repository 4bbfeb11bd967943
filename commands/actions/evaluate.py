"""What ``evaluate`` does."""

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cluster.opened import GIBIBYTE, Cluster, Wanted
from commands.console import Task, print_json, steps, tell
from commands.loading import backend_choice
from commands.options import PAIR_ROOM, ROOM, by_stage, parse_views
from commands.weights import read_weights
from evaluation.columns import FAILED, columns
from evaluation.run import evaluate
from evaluation.settings import Settings
from evaluation.store import Store
from evaluation.summary import Summary, summarise
from inputs.dataset import check_root, find_entries, read_lists
from inputs.hypotheses import hypotheses_at
from inputs.template import template_at
from parity.verdict.result import Verdict
from reports.evaluation import write_evaluation
from reports.text import sheets as sheets_text
from reports.text.evaluation_text import brief_sheets, notes, page_commands, sentences
from weight_conversion.errors import InputError
from weight_conversion.stages import lacking, load_by_stage
from weight_conversion.weight_set import WeightSet


def perform(
    dataset: Path,
    lists: tuple[Path, ...],
    out: Path,
    scheduler: str | None,
    workers: int | None,
    threads: int,
    memory: float | None,
    resume: bool,
    retry: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Evaluate the data set; see the command's help for the options.

    Returns:
        The exit status.

    Raises:
        InputError: as the help says.
    """
    if retry and not resume:
        raise InputError("--retry", "given without --resume", "both")
    if scheduler is not None and workers is not None:
        raise InputError("--workers", "given with --scheduler", "one of the two")
    check_root(dataset)
    entries = read_lists(lists) if lists else find_entries(dataset)
    settings = _settings(dataset, threads=threads, **options)
    room = memory or (ROOM if settings.reference is None else PAIR_ROOM)
    wanted = Wanted(scheduler, workers, threads, int(room * GIBIBYTE))
    store = Store(out, columns(settings.stages, list(settings.sides())))
    identity = settings.identity(entries)
    with store.opened(identity, resume, retry) as there:
        with steps() as progress, progress.task("items", len(entries)) as task:
            line = _Line(task, len(there), len(entries))
            evaluate(
                settings, entries, there, wanted, store,
                lambda cluster: _opened(cluster, as_json), line.row,
            )  # fmt: skip
        rows = store.finish(entries)
        summary = summarise(identity, rows)
        again = shlex.join(["p2m-parity", *sys.argv[1:]])
        lines = page_commands(summary, again, lambda name: _own_page(name, settings, options, out))
        write_evaluation(summary, rows, out, lines)
    tell(notes(summary))
    if as_json:
        print_json(summary.to_json())
    else:
        lines = [*sentences(summary), f"report: {out / 'report.html'}"]
        sheets_text.show(brief_sheets(summary), lines, Console())
    return _status(summary)


def _status(summary: Summary) -> int:
    if len(summary.failed) == summary.items and summary.verdict is not Verdict.DIFFER:
        raise InputError("evaluate", f"all items failed: {summary.failed[0]['reason']}")
    return 0 if summary.verdict is None else summary.verdict.exit_status


def _settings(
    dataset: Path,
    *,
    weights: tuple[Path, ...],
    backend: str,
    reference: str | None,
    truths: Path | None,
    views: str,
    template: Path | None,
    hypotheses: Path | None,
    dtype: str,
    device: str,
    metagraph: tuple[str, ...],
    taps: str,
    no_float64: bool,
    seed: int,
    threads: int,
) -> Settings:
    loaded = _weights(weights)
    graphs = by_stage("--metagraph", metagraph)
    both = None
    if reference is not None:
        both = {stage: backend_choice(reference, stage, graphs) for stage in loaded}
    return Settings(
        root=dataset.resolve(),
        truths=None if truths is None else truths.resolve(),
        views=parse_views(views),
        weights=loaded,
        backend={stage: backend_choice(backend, stage, graphs) for stage in loaded},
        reference=both,
        template=template_at(template),
        template_given=template is not None,
        hypotheses=hypotheses_at(hypotheses),
        dtype=dtype,
        device=device,
        taps=taps,
        float64=not no_float64,
        seed=seed,
        threads=threads,
    )


def _weights(paths: tuple[Path, ...]) -> dict[str, WeightSet]:
    """Weights by stage, in the stages' order.

    Raises:
        InputError: two of a stage, or those of a stage without the one before.
    """
    found = load_by_stage(paths, read_weights)
    if (pair := lacking(found)) is not None:
        stage, before = pair
        expected = f"{before} weights as well: every item has a {before} mesh of its own"
        raise InputError("--weights", f"{stage} weights alone", expected)
    return found


def _opened(cluster: Cluster, as_json: bool) -> None:
    if not as_json:
        shown = cluster.dashboard or "none without Bokeh (pip install bokeh)"
        click.echo(f"{cluster.workers()} workers on {cluster.scheduler}; dashboard: {shown}")


class _Line:
    """The line of progress: how many items, how fast, how long it will take."""

    def __init__(self, task: Task, there: int, items: int) -> None:
        self._task, self._there, self._items = task, there, items
        self._done = self._failed = 0
        self._start = time.monotonic()
        task.update(there, "items")

    def row(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        self._done += 1
        self._failed += row["status"] == FAILED
        rate = self._done / (time.monotonic() - self._start)
        left = (self._items - self._there - self._done) / rate
        words = f"items, {rate:.3g} a second, {left / 60:.0f} min left"
        if self._failed:
            words += f", {self._failed:,} failed"
        self._task.update(self._there + self._done, words)


def _own_page(name: str, settings: Settings, options: Mapping[str, Any], out: Path) -> str:
    """The line that makes one item's page: ``run`` of two backends, ``losses`` of one."""
    item = settings.root / name
    words = ["p2m-parity"]
    if settings.reference is None:
        truth = settings.truths and settings.truths / f"{name.replace('/', '_')}_00.dat"
        words += ["losses", "--item", str(item), "--seed", str(settings.seed)]
        words += ["--ground-truth", str(truth)] if truth else []
        words += ["--backend", options["backend"]]
    else:
        stage = "both" if len(settings.stages) > 1 else settings.stages[0]
        words += ["run", stage, "--item", str(item)]
        words += ["--reference", options["reference"], "--candidate", options["backend"]]
        words += ["--taps", options["taps"]] if options["taps"] != "*" else []
        words += ["--no-float64"] if options["no_float64"] else []
    for path in options["weights"]:
        words += ["--weights", str(path)]
    for option in ("views", "dtype", "device", "template", "hypotheses"):
        if options[option] is not None:
            words += [f"--{option}", str(options[option])]
    for graph in options["metagraph"]:
        words += ["--metagraph", graph]
    return shlex.join([*words, "--out", str(out / "pages" / name)])
