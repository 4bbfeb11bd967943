"""Tasks through a cluster: some in flight at a time, each result handed on as it comes."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from cluster.opened import IN_FLIGHT, Cluster
from cluster.runtime import distributed
from cluster.worker import Done, perform
from weight_conversion.errors import InputError

_LOOK_AGAIN = 5.0
"""Seconds after which the number of workers is asked for anew."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: ``done``, or the reason why it could not be done."""

    key: str
    done: Done | None
    reason: str = ""


def flow(cluster: Cluster, tasks: Iterable[tuple[str, Any]]) -> Iterator[Outcome]:
    """Do tasks, in any order.

    A task whose worker dies is done again elsewhere, three times at most (Dask's
    ``allowed-failures``). As many are handed out as `IN_FLIGHT` for each worker, and the next one
    when a result has been taken, so that neither tasks nor results pile up anywhere.

    Args:
        cluster: see ``opened``.
        tasks: key, unique among them, and argument.

    Raises:
        InputError: the scheduler is gone.
    """
    waiting = iter(tasks)
    running = distributed.as_completed()
    keys: dict[Any, str] = {}
    room, looked = 0, float("-inf")
    while True:
        if time.monotonic() - looked > _LOOK_AGAIN:
            room, looked = max(1, IN_FLIGHT * cluster.workers()), time.monotonic()
        for key, argument in waiting if len(keys) < room else ():
            future = cluster.client.submit(
                perform, cluster.work, argument, key=f"{key}-{cluster.work}", pure=False
            )
            keys[future] = key
            running.add(future)
            if len(keys) >= room:
                break
        if not keys:
            return
        future = next(running)
        yield _outcome(cluster, keys.pop(future), future)


def _outcome(cluster: Cluster, key: str, future: Any) -> Outcome:
    if future.status == "cancelled":
        raise _gone(cluster)
    try:
        return Outcome(key, future.result())
    except distributed.KilledWorker:
        return Outcome(key, None, "its worker process died each time: of memory, or of the backend")
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
