"""Seconds and memory of a process, and parts of a benchmark in processes of their own."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Result = dict[str, Any]
STATUS = Path("/proc/self/status")


def memory_mb() -> int:
    """The greatest memory of this process so far.

    Linux says it itself: what ``getrusage`` says there begins with that of the process before it.
    """
    if STATUS.exists():
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@dataclass
class Times:
    """Seconds by name: those that pass, and those of the processor, child processes included.

    On a machine that others use the second say more: they do not grow while one waits.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Take the block's."""
        start, before = time.perf_counter(), sum(os.times()[:4])
        yield
        self.seconds[name] = time.perf_counter() - start
        self.cpu_seconds[name] = sum(os.times()[:4]) - before


def in_a_process(module: str, *arguments: str) -> Result:
    """What ``python -m MODULE ARGUMENTS`` prints as JSON in its last line."""
    # S603: this interpreter and our own module, no shell.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found
