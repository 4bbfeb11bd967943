"""A cluster to work on: one of this machine's processes, or one that exists."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import dask

from cluster.runtime import dashboard_installed, distributed
from cluster.worker import Carried, MakeWork, environment
from weight_conversion.errors import InputError

_LOG = logging.getLogger(__name__)

GIBIBYTE = 2**30
ANSWER_WITHIN = 10.0
"""Seconds that a scheduler has to answer, and to have a worker."""
START_WITHIN = 120.0
"""Seconds that this machine's own workers have to start."""
IN_FLIGHT = 2
"""Tasks a worker that are handed out: the one it does, and the next."""


@dataclass(frozen=True)
class Wanted:
    """Which cluster.

    Attributes:
        scheduler: address of one that exists; None for processes of this machine.
        workers: how many of those; None for as many as cores and memory have room for.
        threads: of each worker's libraries. Chosen and not left to chance: results depend on it in
            their last bits.
        room: bytes of memory that a worker needs.
    """

    scheduler: str | None = None
    workers: int | None = None
    threads: int = 1
    room: int = 2 * GIBIBYTE

    @property
    def count(self) -> int:
        """How many processes this machine gets."""
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        return max(1, min((cores or 1) // self.threads, free // self.room))


@dataclass(frozen=True, eq=False)
class Cluster:
    """An open cluster whose workers have the work.

    Attributes:
        client: Dask's.
        work: name of the `Carried` on every worker.
        scheduler: where it is, in words.
        dashboard: address of the scheduler's page; empty where there is none.
    """

    client: Any
    work: str
    scheduler: str
    dashboard: str

    def workers(self) -> int:
        """How many workers there are now."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])


@contextmanager
def opened(wanted: Wanted, make: MakeWork) -> Iterator[Cluster]:
    """A cluster that has been sent the work; closed when the block ends, its own processes too.

    Raises:
        InputError: the scheduler does not answer, has no worker, or a worker cannot take the work.
    """
    wanted = replace(wanted, workers=wanted.count)  # once: it depends on what is free
    with _scheduler(wanted) as address, _client(address, wanted) as client:
        work = f"p2m-parity-{uuid4().hex}"
        try:
            client.register_plugin(Carried(make, wanted.threads), name=work)
        except Exception as error:  # whatever a worker raises when it cannot unpickle the work
            where = wanted.scheduler or "a worker"
            expected = "workers with pixel2mesh-parity of this version"
            raise InputError(where, f"{type(error).__name__}: {error}", expected) from error
        try:
            link = client.dashboard_link if dashboard_installed() else ""
            cluster = Cluster(client, work, wanted.scheduler or "this machine", link)
            yield cluster
            if wanted.scheduler is None:
                _wait_for_restarted(cluster, wanted.count)
        finally:
            if wanted.scheduler is not None and client.status == "running":
                client.unregister_worker_plugin(work)


def _wait_for_restarted(cluster: Cluster, count: int) -> None:
    """Wait for workers that died last: one that is closed as it starts raises, or prints so."""
    if cluster.workers() < count:
        with suppress(TimeoutError):
            cluster.client.wait_for_workers(count, timeout=START_WITHIN)


@contextmanager
def _scheduler(wanted: Wanted) -> Iterator[Any]:
    """The address of the one that exists, or a scheduler in this process with its own workers."""
    if wanted.scheduler is not None:
        yield wanted.scheduler
        return
    settings = {
        # Before a worker's interpreter starts: the libraries read it when they are imported.
        "distributed.nanny.pre-spawn-environ": environment(wanted.threads),
        "distributed.scheduler.allowed-failures": 1,  # what is suspected is tried again by itself
        "distributed.scheduler.worker-ttl": None,  # a port may hold the interpreter for minutes
    }
    with dask.config.set(settings):
        cluster = distributed.LocalCluster(
            n_workers=wanted.count,
            threads_per_worker=1,
            processes=True,
            memory_limit=max(wanted.room, _share(wanted.count)),
            # Any free port, and for this machine alone: the scheduler serves more than a page.
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        )
        try:
            yield cluster
        finally:
            _close(cluster)


def _close(cluster: Any) -> None:
    """Close a cluster of this process; that it cannot be closed takes no result away."""
    try:
        cluster.close()
    except Exception as error:
        # Seen where a worker was just being started again ("can only join a started process").
        # All results are with the caller by now, and the workers, being daemons, end with it.
        _LOG.warning("the local cluster did not close: %s: %s", type(error).__name__, error)


def _share(workers: int) -> int:
    """Bytes of memory of one of so many workers."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // workers


@contextmanager
def _client(address: Any, wanted: Wanted) -> Iterator[Any]:
    own = wanted.scheduler is None
    try:
        client = distributed.Client(address, timeout=START_WITHIN if own else ANSWER_WITHIN)
    except (OSError, TimeoutError, ValueError) as error:
        found = f"does not answer within {ANSWER_WITHIN:g} s"
        if isinstance(error, ValueError):
            found = str(error)
        raise InputError(
            f"--scheduler {wanted.scheduler}", found, "the address of a running Dask scheduler"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=START_WITHIN if own else ANSWER_WITHIN)
        except TimeoutError as error:
            raise InputError(
                wanted.scheduler or "this machine",
                f"no worker within {START_WITHIN if own else ANSWER_WITHIN:g} s",
                "a scheduler with workers",
            ) from error
        yield client
