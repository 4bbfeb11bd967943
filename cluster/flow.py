"""Tasks through a cluster: some in flight at a time, each result handed on as it comes."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cluster.opened import IN_FLIGHT, Cluster
from cluster.runtime import distributed
from cluster.worker import Done, perform
from weight_conversion.errors import InputError

_LOOK_AGAIN = 5.0
"""Seconds after which the number of workers is asked for anew."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: ``done``, or the reason why it could not be done.

    ``killed_worker``: the reason is that the processes that were handed it died.
    """

    key: str
    done: Done | None
    reason: str = ""
    killed_worker: bool = False


def flow(cluster: Cluster, tasks: Iterable[tuple[str, Any]]) -> Iterator[Outcome]:
    """Do tasks, in any order.

    A task whose worker dies is done again elsewhere, as often as Dask's ``allowed-failures`` says.
    Dask counts that for whatever the worker had been handed, the next task as well as the one it
    did. So a task that has used it up is done once more in the end, with nothing beside it, before
    it is the one that is said to kill its worker.

    As many are handed out as `IN_FLIGHT` for each worker, and the next one when a result has been
    taken, so that neither tasks nor results pile up anywhere.

    Args:
        cluster: see ``opened``.
        tasks: key, unique among them, and argument.

    Raises:
        InputError: the scheduler is gone.
    """
    suspects: list[tuple[str, Any]] = []
    for outcome, argument in _beside_each_other(cluster, tasks):
        if outcome.killed_worker:
            suspects.append((outcome.key, argument))
        else:
            yield outcome
    for suspect in suspects:
        yield from (outcome for outcome, _ in _beside_each_other(cluster, [suspect]))


def _beside_each_other(
    cluster: Cluster, tasks: Iterable[tuple[str, Any]]
) -> Iterator[tuple[Outcome, Any]]:
    """What became of each task, and its argument."""
    waiting = iter(tasks)
    running = distributed.as_completed()
    handed: dict[Any, tuple[str, Any]] = {}
    room, looked = 0, float("-inf")
    while True:
        if time.monotonic() - looked > _LOOK_AGAIN:
            room, looked = max(1, IN_FLIGHT * cluster.workers()), time.monotonic()
        for key, argument in waiting if len(handed) < room else ():
            # Never the key of an earlier try, whose deaths Dask would count on.
            name = f"{key}-{cluster.work}-{uuid4().hex}"
            future = cluster.client.submit(perform, cluster.work, argument, key=name, pure=False)
            handed[future] = (key, argument)
            running.add(future)
            if len(handed) >= room:
                break
        if not handed:
            return
        future = next(running)
        key, argument = handed.pop(future)
        yield _outcome(cluster, key, future), argument


def _outcome(cluster: Cluster, key: str, future: Any) -> Outcome:
    if future.status == "cancelled":
        raise _gone(cluster)
    try:
        return Outcome(key, future.result())
    except distributed.KilledWorker:
        reason = "its worker process died each time: of memory, or of the backend"
        return Outcome(key, None, reason, killed_worker=True)
    except (CancelledError, OSError) as error:
        raise _gone(cluster) from error
    except Exception as error:  # what a task raises is about that task
        return Outcome(key, None, f"{type(error).__name__}: {error}")


def _gone(cluster: Cluster) -> InputError:
    return InputError(
        f"the scheduler of {cluster.scheduler}",
        "is gone",
        "the same command with --resume, once there is one again",
    )
