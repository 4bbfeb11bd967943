"""Judging in several processes: jobs that share a reference run stay together, a few at a time."""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import groupby
from multiprocessing import get_context

from parity.traces.backends import BackendChoice
from studies.faults.faults import FAULTS
from studies.faults.harmless import HARMLESS
from studies.faults.harness import Job, jobs, run
from studies.faults.outcome import Judged
from studies.faults.verdict_judge import VerdictJudge
from weight_conversion.errors import InputError

TOGETHER = 8
"""Jobs handed out at once: enough to share a reference run, few enough to end together."""

ROOM = 6 * 2**30
"""Bytes of memory for each process: gradients at all taps of a probe take most of 4 GB."""

Key = tuple[str, str, str]
_kept: list[VerdictJudge] = []


def usual_workers() -> int:
    """Two, where cores and memory are there for them."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(2, os.cpu_count() or 1, memory // ROOM))


def run_in_processes(
    todo: Sequence[Job], workers: int, *, float64: bool = True
) -> Iterator[Judged]:
    """Judge jobs by the default judge, in any order.

    Args:
        todo: see ``studies.faults.harness.jobs``.
        workers: processes, each with its share of the processor's cores.
        float64: whether runs in float64 are judged.

    Raises:
        InputError: a process ended before its time.
    """
    batches = [
        [job.key for job in part]
        for _, group in groupby(todo, key=lambda job: job.place)
        for part in _parts(list(group))
    ]
    with (
        _threads(max(1, (os.cpu_count() or 1) // workers)),
        ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
        ) as pool,
    ):
        left = {pool.submit(_judged, batch, float64) for batch in batches}
        try:
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        except BrokenProcessPool as error:
            what = "a worker process ended before its time"
            raise InputError("faults", what, "memory for all, or --workers 1") from error
        finally:
            for future in left:
                future.cancel()


def _end_with(parent: int) -> None:
    """In a worker: end when the process that started it does, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _parts(group: list[Job]) -> Iterator[list[Job]]:
    for start in range(0, len(group), TOGETHER):
        yield group[start : start + TOGETHER]


def _judged(keys: list[Key], float64: bool) -> list[Judged]:
    """In a worker: the jobs of these keys, by a judge that keeps its reference runs."""
    if not _kept:
        _kept.append(VerdictJudge(float64))
    wanted = {job.key: job for job in jobs(FAULTS, HARMLESS)}
    return list(run([wanted[key] for key in keys], _kept[0], BackendChoice("torch").make))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """What processes started meanwhile find in their environment; libraries read it at import."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({name: str(count) for name in names if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
