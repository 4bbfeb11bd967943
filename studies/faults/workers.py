"""Judging on several processes: jobs that share a reference run stay together, a few at a time."""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

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


def usual_workers() -> int:
    """Two, where cores, memory and Dask are there for them."""
    if importlib.util.find_spec("distributed") is None:
        return 1
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
        InputError: Dask is not installed, or jobs could not be judged: a process died of them each
            time, or they raised.
    """
    # Only here: judging in this process needs no Dask.
    from cluster.flow import flow
    from cluster.opened import Wanted, opened

    batches = {
        f"{'-'.join(part[0].key)}": [job.key for job in part]
        for _, group in groupby(todo, key=lambda job: job.place)
        for part in _parts(list(group))
    }
    threads = max(1, (os.cpu_count() or 1) // workers)
    wanted = Wanted(workers=workers, threads=threads, room=ROOM)
    with opened(wanted, partial(_judging, float64)) as cluster:
        for outcome in flow(cluster, batches.items()):
            if outcome.done is None:
                raise InputError(outcome.key, outcome.reason, "memory for all, or --workers 1")
            yield from outcome.done.result


def _parts(group: list[Job]) -> Iterator[list[Job]]:
    for start in range(0, len(group), TOGETHER):
        yield group[start : start + TOGETHER]


def _judging(float64: bool, _scratch: Path) -> Callable[[list[Key]], list[Judged]]:
    """A worker's work: the jobs of some keys, by a judge that keeps its reference runs."""
    judge = VerdictJudge(float64)
    known = {job.key: job for job in jobs(FAULTS, HARMLESS)}
    make = BackendChoice("torch").make
    return lambda keys: list(run([known[key] for key in keys], judge, make))
