"""Writing a folder of results so that a failed command leaves nothing behind."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weight_conversion.errors import InputError


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """Yield a folder whose files move into ``directory`` when the block succeeds.

    Files already in ``directory`` under other names stay; those of the same name are replaced,
    each in one step. When the block fails nothing is touched.

    Raises:
        InputError: the place cannot be written to, or is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(directory, "a file", "a folder to write to")
    try:
        parent = directory.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=parent))
    except OSError as error:
        raise InputError(directory, str(error.strerror or error), "a writable folder") from error
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            target = directory / path.relative_to(temporary)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
