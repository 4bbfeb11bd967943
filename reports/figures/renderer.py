"""The process that draws meshes with VTK, as whoever waits for its pictures sees it.

It is a process of its own because on a machine without OpenGL VTK can end the process that uses
it, and because it can draw while the caller does something else. Whatever happens there, the caller
gets pictures or the reason why there are none.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from reports import wording
from weight_conversion.atomic import scratch_folder

# The child gets this process's search path as it is, and looks for modules nowhere else.
_BOOT = (
    "import os, sys; sys.path[:] = sys.argv.pop(1).split(os.pathsep); "
    "from reports.figures.drawing import main; sys.exit(main(sys.argv[1:]))"
)


class NotDrawnError(Exception):
    """Why there is no picture."""


def _drawing_command() -> list[str]:
    return [sys.executable, "-c", _BOOT, os.pathsep.join(sys.path)]


def draw(
    request: dict[str, Any], timeout: float = 180.0, command: Sequence[str] | None = None
) -> dict[str, NDArray[np.uint8]]:
    """Every panel of ``request``, (SIZE, SIZE, 3), drawn in another process.

    Raises:
        NotDrawnError: it could not be started, died, took too long, or wrote nothing.
    """
    with drawing(request, timeout, command) as wait:
        return wait()


@contextmanager
def drawing(
    request: dict[str, Any], timeout: float = 180.0, command: Sequence[str] | None = None
) -> Iterator[Callable[[], dict[str, NDArray[np.uint8]]]]:
    """Have every panel of ``request`` drawn in another process while the block goes on.

    The block's value waits for the panels, each (SIZE, SIZE, 3), for at most ``timeout`` seconds
    from then on; it raises ``NotDrawnError`` where the process could not be started, died, took too
    long or wrote nothing. The process is ended with the block.
    """
    names = request["panels"].tolist()
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder())
            np.savez(folder / "request.npz", allow_pickle=False, **request)
            process = stack.enter_context(_started(folder, command or _drawing_command()))
        except OSError as error:
            reason = f"the renderer could not be run: {error.strerror or error}"
        else:
            yield lambda: _panels_of(process, folder, names, timeout)
            return

        def wait() -> dict[str, NDArray[np.uint8]]:
            raise NotDrawnError(reason)

        yield wait


@contextmanager
def _started(folder: Path, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The drawing process, at work in ``folder``; it is ended with the block."""
    with (folder / "stderr").open("wb") as stderr:
        # S603: the command is this interpreter and our own module, no shell, no input text.
        process = subprocess.Popen(  # noqa: S603
            [*command, str(folder / "request.npz"), str(folder / "pictures.npz")],
            cwd=folder,  # where a core dump, if any, disappears with the folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _panels_of(
    process: subprocess.Popen[bytes], folder: Path, names: Sequence[str], timeout: float
) -> dict[str, NDArray[np.uint8]]:
    """What the process has drawn, once it is done."""
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired as error:
        raise NotDrawnError(f"the renderer (VTK) was not done after {timeout:g} s") from error
    try:
        if status != 0:
            raise NotDrawnError(_died(status, (folder / "stderr").read_bytes()))
        if not (folder / "pictures.npz").exists():
            raise NotDrawnError("the renderer (VTK) wrote no pictures")
        with np.load(folder / "pictures.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise NotDrawnError("the renderer (VTK) wrote pictures that cannot be read") from error


def _died(status: int, stderr: bytes) -> str:
    if status < 0:
        try:
            how = f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            how = f"was ended by signal {-status}"
        how += ", as happens where OpenGL is not installed"
    else:
        how = f"ended with status {status}"
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    said = f"; its last words: {wording.shortened(wording.printable(last), 300)}" if last else ""
    return f"the renderer (VTK) {how}{said}"
