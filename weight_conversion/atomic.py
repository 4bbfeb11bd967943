"""Writing files so that a reader sees the old one or the whole new one, never a half."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weight_conversion.errors import InputError


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``destination`` that replaces it when the block succeeds.

    On any exception the temporary file is removed and an existing destination is kept.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{destination.name}.", suffix=".part", dir=destination.parent
        )
        os.close(handle)
    except OSError as error:
        raise InputError(destination, str(error.strerror or error), "a writable folder") from error
    temporary = Path(name)
    try:
        # mkstemp makes files private; the finished file follows the user's umask instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(destination)
    except OSError as error:
        raise InputError(destination, str(error.strerror or error), "room to write it") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
