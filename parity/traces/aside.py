"""What a port prints and warns of, kept away from stdout."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress


@contextmanager
def aside() -> Iterator[None]:
    """Send what a port prints to stderr: its own, its C libraries' and its child processes'."""
    with warnings.catch_warnings():
        # PyTorch says so of every array that it shares and must not write to; most ports do not.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        with _descriptor_aside(), redirect_stdout(sys.stderr):
            yield


@contextmanager
def _descriptor_aside() -> Iterator[None]:
    _flush()
    kept = None
    with suppress(OSError):  # a process without stdout or stderr
        kept = os.dup(1)
        os.dup2(2, 1)
    try:
        yield
    finally:
        _flush()
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    with suppress(OSError, AttributeError, TypeError):  # where there is no C library by this name
        ctypes.CDLL(None).fflush(None)
