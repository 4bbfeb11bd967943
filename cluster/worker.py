"""What a worker keeps for all its tasks: the work, sent once and made when first asked for."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.runtime import distributed

Work = Callable[[Any], Any]
"""Does one task: takes its argument, returns its result."""
MakeWork = Callable[[Path], Work]
"""Makes a worker's `Work`, given a folder for scratch files that goes away with the worker."""

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def environment(threads: int) -> dict[str, str]:
    """The environment of a worker process: threads of its libraries, and its allocator.

    Libraries read it when they are imported, so that it must be there before. Of the allocator see
    ``commands.allocator``: Dask's own setting makes every large array afresh.
    """
    kept, reused = 512 * 2**20, 32 * 2**20
    found = dict.fromkeys(_THREADS, str(threads))
    # OpenBLAS's threads spin while they wait; see ``commands``.
    found |= {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
    return found | {"MALLOC_TRIM_THRESHOLD_": str(kept), "MALLOC_MMAP_THRESHOLD_": str(reused)}


@dataclass(frozen=True)
class Done:
    """A task's result, and what it took.

    Attributes:
        result: what the work returned.
        seconds: on the clock.
        cpu_seconds: of all the worker's threads, which other programs on the machine do not change.
        worker: ``HOST:PROCESS``.
    """

    result: Any
    seconds: float
    cpu_seconds: float
    worker: str


class Carried(distributed.WorkerPlugin):
    """The work as Dask carries it: kept by the scheduler, sent once to every worker.

    Unlike scattered data it outlives the workers: one that starts anew, or comes later, is sent it
    as well.

    Args:
        make: makes the work in the worker; pickled with all that it holds.
        threads: of each library in the worker.
    """

    def __init__(self, make: MakeWork, threads: int) -> None:
        self._make, self._threads = make, threads

    def setup(self, worker: Any) -> None:
        """Called by Dask once a worker, before any task."""
        self._scratch = Path(worker.local_directory)
        self._lock = threading.Lock()
        self._work: Work | None = None
        # Where someone else started the worker, no library that is still to come takes more.
        os.environ.update(dict.fromkeys(_THREADS, str(self._threads)))

    def do(self, argument: Any) -> Done:
        """Do one task; a worker with several threads does them one after the other."""
        with self._lock:
            start, cpu = time.perf_counter(), time.process_time()
            if self._work is None:
                self._work = self._make(self._scratch)
                _limit_threads(self._threads)
            result = self._work(argument)
            took = time.perf_counter() - start, time.process_time() - cpu
            return Done(result, *took, f"{os.uname().nodename}:{os.getpid()}")


def _limit_threads(threads: int) -> None:
    """Hold libraries that the worker had imported before its work came to the same number."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def perform(name: str, argument: Any) -> Done:
    """The task that is submitted: what the plugin of that name does."""
    carried: Carried = distributed.get_worker().plugins[name]
    return carried.do(argument)
