"""Tasks through a cluster of this machine: what is redone, what becomes a reason, what is sent."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import distributed
import pytest
from distributed.client import FutureCancelledError

from cluster import opened as opened_module
from cluster.flow import Outcome, flow
from cluster.opened import IN_FLIGHT, Cluster, Wanted, opened
from cluster.worker import Done, environment
from weight_conversion.errors import InputError

WORKERS = 2


def work_in(folder: str) -> Callable[[Path], Callable[[Any], Any]]:
    """Makes work that is pickled by value: workers cannot import this module."""

    def make(scratch: Path) -> Callable[[Any], Any]:
        import os
        from pathlib import Path

        (Path(folder) / f"made-{os.getpid()}").touch()
        assert Path(scratch).is_dir()

        def work(task: Any) -> Any:
            seen = Path(folder) / f"seen-{task}"
            first = not seen.exists()
            seen.touch()
            if task == "dies" or (task == "dies once" and first):
                os.kill(os.getpid(), signal.SIGKILL)
            if task == "raises":
                raise ValueError("this one cannot be done")
            return task, os.environ["OMP_NUM_THREADS"]

        return work

    return make


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict, int]]:
    """What became of tasks, two of which kill their workers."""
    folder = tmp_path_factory.mktemp("work")
    handed = taken = most = 0

    def tasks() -> Iterator[tuple[str, Any]]:
        nonlocal handed, most
        for task in ("dies once", "raises", *range(12), "dies"):
            handed += 1
            most = max(most, handed - taken)
            yield str(task), task

    found: dict[str, Outcome] = {}
    with opened(Wanted(workers=WORKERS, threads=3), work_in(str(folder))) as cluster:
        for outcome in flow(cluster, tasks()):
            taken += 1
            found[outcome.key] = outcome
    yield folder, found, most


def result(outcome: Outcome) -> Any:
    assert isinstance(outcome.done, Done), outcome
    return outcome.done.result


def test_every_task_comes_back_once(outcomes: tuple[Path, dict, int]) -> None:
    _, found, _ = outcomes
    assert set(found) == {"dies once", "raises", "dies", *map(str, range(12))}
    assert [result(found[str(number)])[0] for number in range(12)] == list(range(12))


def test_a_task_whose_worker_died_is_done_again(outcomes: tuple[Path, dict, int]) -> None:
    assert result(outcomes[1]["dies once"])[0] == "dies once"


def test_what_always_kills_its_worker_has_a_reason(outcomes: tuple[Path, dict, int]) -> None:
    found = outcomes[1]["dies"]
    assert found.done is None
    assert found.reason == "its worker process died each time: of memory, or of the backend"


def test_what_a_task_raises_is_its_reason(outcomes: tuple[Path, dict, int]) -> None:
    assert outcomes[1]["raises"].reason == "ValueError: this one cannot be done"


def test_no_more_are_handed_out_than_workers_take(outcomes: tuple[Path, dict, int]) -> None:
    assert outcomes[2] == IN_FLIGHT * WORKERS


def test_the_work_is_made_once_a_process(outcomes: tuple[Path, dict, int]) -> None:
    folder, found, _ = outcomes
    made = {path.name for path in folder.glob("made-*")}
    used = {f"made-{each.done.worker.rpartition(':')[2]}" for each in found.values() if each.done}
    assert used <= made
    # One a process: two, and one for each of five deaths at most: one, and twice two.
    assert len(made) <= WORKERS + 5


def test_threads_are_those_that_were_chosen(outcomes: tuple[Path, dict, int]) -> None:
    assert result(outcomes[1]["0"])[1] == "3"
    assert environment(3)["OPENBLAS_NUM_THREADS"] == "1"  # they spin while they wait


def test_what_waited_behind_a_task_that_kills_is_not_blamed() -> None:
    """One worker: what it has been handed beside a task that kills it dies with it each time."""
    tasks = [("dies 1", "dies"), ("1", 1), ("dies 2", "dies"), ("2", 2)]
    with opened(Wanted(workers=1), dying) as cluster:
        found = {each.key: each for each in flow(cluster, iter(tasks))}
    assert {key: each.killed_worker for key, each in found.items()} == {
        "dies 1": True,
        "1": False,
        "dies 2": True,
        "2": False,
    }
    assert result(found["1"]) == 1
    assert result(found["2"]) == 2


def dying(_scratch: Path) -> Callable[[Any], Any]:
    import os
    import signal

    def work(task: Any) -> Any:
        if task == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    return work


def test_a_cluster_that_does_not_close_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its last task killed its worker; the worker is back before the cluster is closed."""
    there = []

    class Stubborn(distributed.LocalCluster):
        def close(self, timeout: float | None = None) -> None:
            there.append(len(self.scheduler_info["workers"]))
            super().close(timeout)
            raise AssertionError("can only join a started process")

    monkeypatch.setattr(distributed, "LocalCluster", Stubborn)
    with opened(Wanted(workers=1), dying) as cluster:
        found = list(flow(cluster, iter([("dies", "dies")])))
    assert [each.key for each in found] == ["dies"]
    assert there == [1]
    assert caplog.messages == [
        "the local cluster did not close: AssertionError: can only join a started process"
    ]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_module, "ANSWER_WITHIN", 0.5)


def nothing(_scratch: Path) -> Callable[[Any], Any]:
    return print


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:9", "does not answer within 0.5 s; expected the address of a running"),
        ("sky://above", "unknown address scheme 'sky'"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_scheduler_that_does_not_answer(address: str, words: str) -> None:
    wanted = Wanted(scheduler=address)
    with pytest.raises(InputError, match=words) as caught, opened(wanted, nothing):
        pass
    assert f"--scheduler {address}: " in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_a_scheduler_without_workers() -> None:
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty:
        wanted = Wanted(scheduler=empty.scheduler_address)
        with (
            pytest.raises(InputError, match=r"no worker within 0.5 s; expected a scheduler with"),
            opened(wanted, nothing),
        ):
            pass


def test_workers_are_as_many_as_cores_and_memory_admit() -> None:
    assert Wanted(workers=7).count == 7
    assert Wanted(threads=10_000).count == 1
    assert Wanted(room=2**60).count == 1


class Future:
    """What Dask gives for a task, as far as ``flow`` asks."""

    def __init__(self, status: str, error: BaseException) -> None:
        self.status, self._error = status, error

    def result(self) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "future",
    [Future("cancelled", AssertionError()), Future("finished", FutureCancelledError(
        "key", "scheduler-connection-lost")), Future("finished", OSError("Timed out"))],
    ids=["cancelled", "cancelled later", "no answer"],
)  # fmt: skip
def test_a_scheduler_that_is_gone_ends_it(future: Future) -> None:
    from cluster.flow import _outcome

    cluster = Cluster(None, "work", "tcp://there:1", "")
    with pytest.raises(InputError, match="the scheduler of tcp://there:1: is gone; expected the s"):
        _outcome(cluster, "item", future)


@contextmanager
def started(program: str, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process of ours and the first line that it prints; killed in the end."""
    path = folder / "program.py"
    path.write_text(program)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_scheduler_that_is_killed(tmp_path: Path) -> None:
    def make(_scratch: Path) -> Callable[[Any], Any]:
        import time

        return lambda task: time.sleep(0.05) or task

    with started(SCHEDULER, tmp_path) as (process, address):
        taken = 0
        with (
            pytest.raises(InputError, match=f"the scheduler of {address}: is gone"),
            opened(Wanted(scheduler=address), make) as cluster,
        ):
            for _ in flow(cluster, ((str(number), number) for number in range(10_000))):
                taken += 1
                if taken == 3:
                    process.kill()
        assert 3 <= taken <= 3 + IN_FLIGHT


SCHEDULER = """
import time
import distributed

if __name__ == "__main__":
    options = {"processes": False, "protocol": "tcp", "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""


def test_workers_end_with_their_client(tmp_path: Path) -> None:
    with started(CLIENT, tmp_path) as (client, said):
        worker = int(said)
        assert alive(worker)
        client.kill()
        client.wait()
        _until(partial(_dead, worker))


CLIENT = """
import os, time
from cluster.flow import flow
from cluster.opened import Wanted, opened

def make(scratch):
    def work(task):
        return os.getpid() if task == 0 else time.sleep(600)
    return work

if __name__ == "__main__":
    with opened(Wanted(workers=1), make) as cluster:
        for outcome in flow(cluster, [("0", 0), ("1", 1)]):
            print(outcome.done.result, flush=True)
"""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that ended and that nobody has asked about is still listed.
    status = Path(f"/proc/{process}/status")
    return not (status.exists() and "State:\tZ" in status.read_text())


def _dead(process: int) -> bool:
    return not alive(process)


def _until(happened: Callable[[], bool]) -> None:
    import time

    end = time.monotonic() + 20
    while not happened() and time.monotonic() < end:
        time.sleep(0.2)
    assert happened()
