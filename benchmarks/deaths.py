"""Kills a worker, the scheduler or the client of an evaluation, and looks what is left.

Every item that a backend runs is counted in a file, so that what was computed twice is known. The
table of items of the disturbed evaluation is held against that of an undisturbed one, byte by byte.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from cluster.opened import IN_FLIGHT
from inputs.dataset import find_entries
from parity.traces.backends import Backend, BackendChoice, Listen

Death = Literal["worker", "client", "scheduler"]
DEATHS: tuple[Death, ...] = ("worker", "client", "scheduler")

WORKERS = 2
COUNT_FILE = "P2M_PARITY_COUNT"
_PATIENCE = 600.0
"""Seconds that anything here may take."""


class Counted:
    """A backend that writes a line to a file for every run."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def run(self, inputs: Mapping[str, Any], weights: Mapping[str, Any], listen: Listen) -> Any:
        """See ``Backend.run``."""
        with Path(os.environ[COUNT_FILE]).open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        return self._backend.run(inputs, weights, listen)


def counted(stage: str, dtype: str, device: str) -> Counted:
    """The project's PyTorch implementation, counted."""
    return Counted(BackendChoice("torch").make(stage, dtype, device))


@dataclass(frozen=True)
class Aftermath:
    """What an evaluation came to after a death.

    Attributes:
        death: who was killed.
        items: of the evaluation.
        rows_at_death: rows on the disk then.
        runs: of the backend, in all.
        in_flight: the most that could be computed again.
        status: exit status of the command that saw the death.
        said: its line.
        same: whether the table is, byte by byte, that of an undisturbed evaluation.
    """

    death: str
    items: int
    rows_at_death: int
    runs: int
    in_flight: int
    status: int
    said: str
    same: bool

    @property
    def again(self) -> int:
        """Items that were computed twice."""
        return self.runs - self.items

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "computed_again": self.again}


def after(death: Death, dataset: Path, items: int, folder: Path, port: str) -> Aftermath:
    """Evaluate, kill in the middle, go on, and compare.

    Args:
        death: who is killed, with signal 9.
        dataset: has at least ``items`` items.
        items: how many are evaluated.
        folder: for results.
        port: ``module:factory`` of a backend that counts its runs as `Counted` does.
    """
    names = [entry.name for entry in find_entries(dataset)][:items]
    (folder / "list.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    given = _Given(dataset, folder, port)
    _finish(given.start("undisturbed"))
    count = given.count("disturbed")
    with _scheduler(death, given) as (keeper, options):
        process = given.start("disturbed", *options)
        rows = _wait_for_rows(process, folder / "disturbed", items // 3)
        _kill(death, process, keeper)
        said = process.communicate(timeout=_PATIENCE)[1].strip()
    status = process.returncode
    if status != 0:
        rows = _rows(folder / "disturbed")
        _finish(given.start("disturbed", "--resume"))
    tables = [folder / name / "items.parquet" for name in ("undisturbed", "disturbed")]
    return Aftermath(
        death=death,
        items=items,
        rows_at_death=rows,
        runs=len(count.read_text().splitlines()),
        in_flight=IN_FLIGHT * WORKERS,
        status=status,
        said=said,
        same=tables[0].read_bytes() == tables[1].read_bytes(),
    )


@dataclass(frozen=True)
class _Given:
    dataset: Path
    folder: Path
    port: str

    def count(self, name: str) -> Path:
        """The file that the runs of an evaluation are counted in."""
        return self.folder / f"{name}.count"

    def environment(self, name: str) -> dict[str, str]:
        found = {**os.environ, COUNT_FILE: str(self.count(name))}
        return found | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}

    def start(self, name: str, *options: str) -> "subprocess.Popen[str]":
        """The command, on its way."""
        weights = self.folder / "weights.safetensors"
        program = "from commands.main import main; main()"
        if not weights.exists():
            words = ["seed", "coarse", str(weights)]
            subprocess.run(
                [sys.executable, "-c", program, *words], check=True, env=self.environment(name)
            )
        words = ["evaluate", str(self.dataset), "--list", str(self.folder / "list.txt")]
        words += ["--weights", str(weights), "--backend", self.port]
        words += ["--out", str(self.folder / name), "--json"]
        if "--scheduler" not in options:
            words += ["--workers", str(WORKERS)]
        return subprocess.Popen(
            [sys.executable, "-c", program, *words, *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=self.environment(name),
        )  # fmt: skip

    def quiet(self, words: list[str]) -> "subprocess.Popen[bytes]":
        """A process that nobody reads."""
        return subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
            env=self.environment("disturbed"),
        )  # fmt: skip


def _finish(process: "subprocess.Popen[str]") -> None:
    said = process.communicate(timeout=_PATIENCE)[1]
    if process.returncode != 0:
        raise RuntimeError(f"evaluate ended with {process.returncode}: {said}")


@contextmanager
def _scheduler(
    death: Death, given: _Given
) -> Iterator[tuple["subprocess.Popen[bytes] | None", list[str]]]:
    """A scheduler of its own with two workers, where that is what dies."""
    if death != "scheduler":
        yield None, []
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    host, port = address.removeprefix("tcp://").split(":")
    keeper = given.quiet([*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"])
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard"]
    workers = [given.quiet(worker) for _ in range(WORKERS)]
    try:
        yield keeper, ["--scheduler", address]
    finally:
        for process in (keeper, *workers):
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those that it started, by their ids."""
    family = [process.pid]
    if psutil.pid_exists(process.pid):
        family += [each.pid for each in psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        if psutil.pid_exists(each):
            os.kill(each, signal.SIGKILL)
    process.wait()


def _rows(folder: Path) -> int:
    return len(list((folder / "parts").glob("row-*.parquet")))


def _wait_for_rows(process: "subprocess.Popen[str]", folder: Path, rows: int) -> int:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        if _rows(folder) >= rows:
            return _rows(folder)
        time.sleep(0.05)
    raise RuntimeError(f"evaluate ended, or did not come to {rows} rows")


def _kill(
    death: Death, process: "subprocess.Popen[str]", keeper: "subprocess.Popen[bytes] | None"
) -> None:
    if death == "client":
        process.kill()
    elif death == "scheduler":
        assert keeper is not None
        keeper.kill()
    else:
        family = psutil.Process(process.pid).children(recursive=True)
        workers = [each for each in family if "spawn_main" in " ".join(each.cmdline())]
        workers[0].send_signal(signal.SIGKILL)
