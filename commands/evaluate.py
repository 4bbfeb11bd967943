"""``evaluate``: scores, losses and parity over a data set, on the processes of a cluster."""

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from cluster.opened import GIBIBYTE, Cluster, Wanted
from commands.console import Task, print_json, steps
from commands.loading import backend_choice
from commands.options import PATH, by_stage, parse_views, weights_option
from commands.weights import read_weights
from evaluation.columns import FAILED, columns
from evaluation.run import evaluate
from evaluation.settings import Settings
from evaluation.store import Store
from evaluation.summary import Summary, summarise
from inputs.dataset import check_root, find_entries, read_lists
from inputs.hypotheses import build_hypotheses, load_hypotheses
from inputs.template import build_template, load_template
from network.registry import network_of
from network.weights import STAGES
from reports.evaluation import write_evaluation
from reports.text import sheets as sheets_text
from reports.text.evaluation_text import brief_sheets, page_commands, sentences
from weight_conversion.errors import InputError
from weight_conversion.weight_set import WeightSet

ROOM, PAIR_ROOM = 2, 6
"""GiB that a worker needs, with one backend and with two."""


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
def command(
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
    """Evaluate a data set: official scores, losses and parity, item by item.

    \b
    One backend:   evaluate DATASET --list test.txt --weights W --weights W2 --out DIR
    Two:           evaluate DATASET --weights W --backend my_port:factory --reference tf --out DIR

    DATASET holds CATEGORY/ITEM/rendering as ShapeNet's renderings do. Figures are of the coarse
    mesh with coarse weights alone, of the refined one with both. An item that fails is a row with
    its reason. Every row is on the disk as soon as it is known: after the death of a worker, of the
    scheduler or of this command, --resume computes again what was in flight.

    OUT/items.parquet has a row an item, OUT/report.html and .md, .csv, .json what they come to.

    Exit status: 0, or with --reference 1 where an item differs; 2 where no item could be evaluated.
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with this character
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
    if as_json:
        print_json(summary.to_json())
    else:
        lines = [*sentences(summary), f"report: {out / 'report.html'}"]
        sheets_text.show(brief_sheets(summary), lines, Console())
    return _status(summary)


def _status(summary: Summary) -> int:
    if len(summary.failed) == summary.items:
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
        template=build_template() if template is None else load_template(template),
        template_given=template is not None,
        hypotheses=build_hypotheses() if hypotheses is None else load_hypotheses(hypotheses),
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
    found: dict[str, WeightSet] = {}
    for path in paths:
        weights = read_weights(path)
        if weights.stage in found:
            raise InputError(path, f"a second set of {weights.stage} weights", "one a stage")
        found[weights.stage] = weights
    for stage in found:
        before = network_of(stage).follows
        if before is not None and before not in found:
            expected = f"{before} weights as well: every item has a {before} mesh of its own"
            raise InputError("--weights", f"{stage} weights alone", expected)
    return {stage: found[stage] for stage in STAGES if stage in found}


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
