"""What an evaluation of many items takes on many workers, simulated from what was measured here.

``python -m benchmarks.scale_model`` first measures what client and scheduler do an item, with tasks
that do nothing. Then it simulates: workers compute side by side; before that they read through one
link that all share; after that one client takes their rows one after the other.
"""

import heapq
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from cluster.flow import flow
from cluster.opened import Wanted, opened
from evaluation.columns import columns
from evaluation.store import Store

TRIED = 400
"""Tasks of the measurement."""


@dataclass(frozen=True)
class Measured:
    """What one item takes.

    Attributes:
        compute_s: of a worker.
        start_s: of a worker, once: its process, its libraries, its weights.
        client_s: of the client and of a scheduler in the same process, one item at a time.
        bytes_read: of images, cameras and ground truth.
        link_bytes_s: of the storage that all workers share.
    """

    compute_s: float
    start_s: float
    client_s: float
    bytes_read: int
    link_bytes_s: float


@dataclass(frozen=True)
class Simulated:
    """How long it takes, and how busy everybody is meanwhile (shares of the time)."""

    workers: int
    hours: float
    workers_busy: float
    client_busy: float
    link_busy: float


def simulate(measured: Measured, items: int, workers: int) -> Simulated:
    """Run so many items on so many workers, event by event.

    Args:
        measured: what an item takes.
        items: of the data set.
        workers: each does one item at a time, and asks for the next when its row is on its way.
    """
    read = measured.bytes_read / measured.link_bytes_s
    link = client = end = 0.0
    free = [measured.start_s] * workers
    heapq.heapify(free)
    for _ in range(items):
        # The link and the client serve in the order in which they are asked.
        link = max(link, heapq.heappop(free)) + read
        done = link + measured.compute_s
        heapq.heappush(free, done)
        client = max(client, done) + measured.client_s
        end = max(end, client)
        # Two tasks a worker are handed out: none starts before the client has taken a row.
        if client - done > measured.compute_s:
            heapq.heapreplace(free, client - measured.compute_s)
    busy = items * (measured.compute_s + read) / workers / end
    return Simulated(
        workers, end / 3600.0, busy, items * measured.client_s / end, items * read / end
    )


def _idle(_scratch: Path) -> Callable[[Any], Any]:
    return _nothing


def _nothing(task: Any) -> Any:
    return task


def client_seconds() -> float:
    """Processor's seconds a task of the client, with a scheduler in it, each row stored."""
    names = columns(["coarse"], ["backend"])
    figures = {name: 0.5 for name, kind in names.items() if kind is float}
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), names)
        with store.opened({}, resume=False, retry=False), opened(Wanted(workers=1), _idle) as own:
            start = time.process_time()
            for outcome in flow(own, ((str(number), number) for number in range(TRIED))):
                store.add({**figures, "category": "c", "item": outcome.key, "status": "done"})
            return (time.process_time() - start) / TRIED


@click.command()
@click.option("--items", type=click.IntRange(1), default=8750, show_default=True)
@click.option("--compute", type=float, required=True, help="Seconds an item on a worker.")
@click.option("--start", type=float, default=20.0, show_default=True, help="Seconds a worker.")
@click.option("--client", type=float, help="Seconds an item; measured by default.")
@click.option("--bytes", "read", type=int, default=1_200_000, show_default=True)
@click.option("--link", type=float, default=100e6, show_default=True, help="Bytes a second.")
@click.option("--workers", type=int, multiple=True, default=(1, 2, 16, 256), show_default=True)
def main(
    items: int,
    compute: float,
    start: float,
    client: float | None,
    read: int,
    link: float,
    workers: tuple[int, ...],
) -> None:
    """Print what the items take on each number of workers."""
    seconds = client_seconds() if client is None else client
    measured = Measured(compute, start, seconds, read, link)
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")
    for count in workers:
        sys.stdout.write(json.dumps(asdict(simulate(measured, items, count))) + "\n")


if __name__ == "__main__":
    main()
