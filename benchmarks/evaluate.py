"""What ``evaluate`` costs an item, how it grows with items and workers, and what deaths cost.

``python -m benchmarks.evaluate DATASET --out FILE.json`` measures on this machine's own workers. An
item's cost is told on the clock and in seconds of the processor, which other programs on the
machine hardly change; the first items of each worker, which make its network, are left out.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

import commands  # noqa: F401 - settles the allocator, as the command line does
from benchmarks.deaths import DEATHS, Death, after
from cluster.opened import IN_FLIGHT, Wanted
from evaluation.columns import DONE, columns
from evaluation.run import evaluate
from evaluation.settings import Settings
from evaluation.store import Store
from inputs.dataset import find_entries
from inputs.hypotheses import build_hypotheses
from inputs.seeded import seeded_weights
from inputs.template import build_template
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from weight_conversion.weight_set import WeightSet


def settings_of(dataset: Path, stages: Sequence[str]) -> Settings:
    """PyTorch with seeded weights: the cost depends on no value."""
    return Settings(
        root=dataset,
        truths=None,
        views=(0, 6, 7),
        weights={stage: WeightSet(stage, seeded_weights(stage), 0, "seeded") for stage in stages},
        backend={stage: BackendChoice("torch") for stage in stages},
        reference=None,
        template=build_template(),
        template_given=False,
        hypotheses=build_hypotheses(),
    )


def measure(settings: Settings, items: int, workers: int) -> dict[str, Any]:
    """Evaluate the first ``items`` on so many workers and say what it cost."""
    entries = find_entries(settings.root)
    # Spread over the categories, whose items differ in nothing but their points.
    chosen = [entries[place] for place in np.linspace(0, len(entries) - 1, items).astype(int)]
    process = psutil.Process()
    rows: list[Mapping[str, Any]] = []
    times: list[float] = []
    memory: list[int] = []

    def on_row(row: Mapping[str, Any]) -> None:
        rows.append(row)
        times.append(time.perf_counter())
        memory.append(process.memory_info().rss)

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), columns(settings.stages, list(settings.sides())))
        with store.opened(settings.identity(chosen), resume=False, retry=False) as there:
            evaluate(settings, chosen, there, Wanted(workers=workers), store, _nobody, on_row)
            ended = time.perf_counter()
            store.finish(chosen)
            finished = time.perf_counter() - ended
    assert all(row["status"] == DONE for row in rows), rows
    warm = IN_FLIGHT * workers
    wall = [row["seconds"] for row in rows[warm:]]
    cpu = [row["cpu_seconds"] for row in rows[warm:]]
    return {
        "items": items,
        "workers": workers,
        "begin_s": times[0] - begun,
        "items_a_second": (len(times) - 1 - warm) / (times[-1] - times[warm]),
        "wall_s_an_item": float(np.mean(wall)),
        "cpu_s_an_item": float(np.mean(cpu)),
        "cpu_s_quartiles": [float(each) for each in np.quantile(cpu, (0.25, 0.5, 0.75))],
        "idle_share": 1.0 - sum(wall) / workers / (times[-1] - times[warm]),
        "finish_s": finished,
        "client_mib": {
            str(place): memory[place - 1] / 2**20
            for place in sorted({min(20, items), items // 2, items})
        },
        "load": os.getloadavg()[0],
    }


def _nobody(_cluster: object) -> None:
    """Nothing is shown while it is measured."""


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Results, JSON.")
@click.option("--stage", type=click.Choice(["coarse", "both"]), default="coarse", show_default=True)
@click.option("--items", type=click.IntRange(10), multiple=True, default=(20, 200),
              show_default=True)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), multiple=True, default=(1, 2), show_default=True)
@click.option("--deaths", "deadly", is_flag=True, help="Kill workers, scheduler and client too.")
def main(
    dataset: Path,
    out: Path,
    stage: str,
    items: tuple[int, ...],
    workers: tuple[int, ...],
    deadly: bool,
) -> None:
    """Measure each number of items on each number of workers."""
    stages = STAGES if stage == "both" else STAGES[:1]
    settings = settings_of(dataset.resolve(), stages)
    found: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "stage": stage,
        "cores": os.cpu_count(),
        "runs": [],
        "deaths": [],
    }
    for count in workers:
        for number in items:
            found["runs"].append(measure(settings, number, count))
            sys.stdout.write(json.dumps(found["runs"][-1]) + "\n")
            sys.stdout.flush()
            out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if deadly:
        port = "benchmarks.deaths:counted"
        for death in DEATHS:
            with tempfile.TemporaryDirectory() as folder:
                found["deaths"].append(_told(death, dataset, max(items[0], 10), Path(folder), port))
                sys.stdout.write(json.dumps(found["deaths"][-1]) + "\n")
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _told(death: Death, dataset: Path, items: int, folder: Path, port: str) -> dict[str, Any]:
    return after(death, dataset.resolve(), items, folder, port).to_json()


if __name__ == "__main__":
    main()
