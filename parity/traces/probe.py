"""Opening a trace in another process first, because the HDF5 library trusts its files.

Damaged structure can send it into an endless loop (a global heap with a block of size 0) or to an
address that is not there. Neither can be caught in the process that it happens to. The other one
opens the trace and walks all of it but the numbers; what it refuses in an orderly way is refused
again, with its message, when the trace is opened here.
"""

import os
import subprocess
import sys
from pathlib import Path

from parity.traces.trace import open_trace
from weight_conversion.errors import InputError

PATIENCE = 20.0
"""Seconds; a sound trace takes well below one."""


def probe(*paths: Path) -> None:
    """Make sure that these traces can be opened without harm, all at once.

    Raises:
        InputError: one of them crashes the HDF5 library or keeps it busy for ``PATIENCE``.
    """
    # What can be imported here can be imported there, however this program was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    children = [
        subprocess.Popen(  # noqa: S603 - this very interpreter and module
            [sys.executable, "-m", __name__, path],
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
                found = "cannot be read (the HDF5 library does not come to an end)"
                raise InputError(path, found, "an undamaged trace") from error
            if status:
                found = f"cannot be read (the HDF5 library crashes, exit status {status})"
                raise InputError(path, found, "an undamaged trace")
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()


def _main() -> None:
    try:
        with open_trace(Path(sys.argv[1])):
            pass
    except InputError:
        return


if __name__ == "__main__":
    _main()
