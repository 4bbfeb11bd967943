"""Opening a file in another process first, because the HDF5 library trusts its files.

Damaged structure can send it into an endless loop (a global heap with a block of size 0) or to an
address that is not there. Neither can be caught in the process that it happens to. The other one
reads the file as the program will; what it refuses in an orderly way is refused again, with its
message, when the file is opened here.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from weight_conversion.errors import InputError

CPU_SECONDS = 5
"""What the other process may compute; a sound file takes well below one. Seconds of the clock would
count how busy the machine is."""
PATIENCE = 120.0
"""Seconds of the clock, in which it must come to its end."""


def probe(module: str, kind: str, *paths: Path) -> None:
    """Make sure that these files can be read without harm, all at once.

    Args:
        module: run as a program with a path, it calls ``try_out``.
        kind: what is expected.
        paths: the files.

    Raises:
        InputError: one of them crashes the HDF5 library or keeps it busy.
    """
    # What can be imported here can be imported there, however this program was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    children = [
        subprocess.Popen(  # noqa: S603 - this very interpreter and a module of ours
            [sys.executable, "-m", module, path],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for path in paths
    ]
    try:
        for path, child in zip(paths, children, strict=True):
            try:
                status = child.wait(PATIENCE)
            except subprocess.TimeoutExpired as error:
                raise InputError(path, _ENDLESS, kind) from error
            if status in (-signal.SIGXCPU, -signal.SIGKILL):
                raise InputError(path, _ENDLESS, kind)
            if status:
                found = f"cannot be read (the HDF5 library crashes, exit status {status})"
                raise InputError(path, found, kind)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


_ENDLESS = "cannot be read (the HDF5 library does not come to an end)"


def try_out(read: Callable[[Path], object]) -> None:
    """In the other process: read the file that is named on the command line.

    It ends by itself where it takes too long, though nobody may wait for it any more.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    with suppress(InputError):
        read(Path(sys.argv[1]))
