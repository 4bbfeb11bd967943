"""Writing results: a reader finds the old one, the whole new one or none, never a mixture.

One mechanism for files, pairs of files and folders. All is written into a hidden *scratch folder*
beside its place and takes its name when it is whole, by renaming; so a process that is killed, a
full disk or any other fault leaves what was there. A scratch folder is locked while its process
lives (``flock``, which the kernel gives back whatever happens), and whoever writes to the same
place next removes those that are not.

Several files cannot take their names at once. Those of the old result are moved aside first, the
one by which people and programs know a result (``report.json``, a checkpoint's index) before all
others, and that of the new result takes its name last: killed in between, there is no result, and
whoever reads at that very moment finds none. Two processes that put a result into the same folder
do so one after the other.
"""

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from weight_conversion.errors import InputError, system_reason

_STEM, _ENDING = ".p2m-parity.", ".part"
_PATIENCE = 60.0
"""Seconds to wait for another process that is putting a result into the same folder."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """Yield a path of the same name elsewhere; its file replaces ``destination`` after the block.

    On any exception nothing is left of it and an existing destination is kept.

    Raises:
        InputError: the folder cannot be written to or vanishes, the disk is full, or a folder has
            the name.
    """
    _check_place(destination.parent, destination.name)
    with _scratch_of(destination, destination.parent) as folder, _told(destination):
        temporary = folder / destination.name
        yield temporary
        _bring_to_disk(temporary)
        temporary.replace(destination)


@contextmanager
def staging(
    directory: Path,
    replaces: Collection[str] = (),
    last: str | None = None,
    called: Path | None = None,
) -> Iterator[Path]:
    """Yield a folder whose files are put into ``directory`` together after the block.

    Files in ``directory`` stay but for those of the same names and those named in ``replaces``,
    which are what an older result of the same kind may consist of. On any exception nothing is
    changed.

    Args:
        directory: where the result will be; made if it is not there.
        replaces: names of files, relative to it.
        last: the name of the file that makes a result of the others, in whichever folder.
        called: what people know the result by, if not by its folder.

    Raises:
        InputError: the place cannot be written to, is a file or vanishes, or the disk is full.
    """
    called = directory if called is None else called
    there = _is_folder(directory)
    above = directory.absolute().parent
    if there:
        with suppress(OSError):
            _remove_leftovers(above)  # of a process that was killed when it had just made it
    # Within the folder where there is one: it may be a mount, or the only place to write to.
    with _scratch_of(called, directory if there else above) as scratch:
        new = scratch / "new"
        with _told(called, scratch):
            new.mkdir()
            yield new
        with _told(called):
            files = sorted(path for path in new.rglob("*") if not path.is_dir())
            for path in files:
                _bring_to_disk(path)
            if there or not _renamed(new, directory):
                names = [str(path.relative_to(new)) for path in files]
                with _alone(directory):
                    _exchange(directory, scratch, names, replaces, last)


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new hidden folder in ``parent``, which is gone after the block.

    Those that killed processes left there are removed. The system's own place for temporary files
    is the default.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_leftovers(parent)
    folder, lock = _locked_folder(parent)
    try:
        # Not the locked one itself: a result may be put into this one too, which locks it.
        inner = folder / "files"
        inner.mkdir()
        yield inner
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def _scratch_of(destination: Path, parent: Path) -> Iterator[Path]:
    """A scratch folder in ``parent``, which is made, for what will be ``destination``."""
    with ExitStack() as stack:
        try:
            _make_folder(parent)
            folder = stack.enter_context(scratch_folder(parent))
        except OSError as error:
            found = str(error.strerror or error)
            raise InputError(destination, found, "a writable folder") from error
        try:
            yield folder
        except Exception as error:
            if folder.is_dir():
                raise
            found = "the folder vanished while it was written to"
            raise InputError(destination, found, "a folder that stays") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, but none in a scratch folder that has vanished.

    Raises:
        OSError: it cannot be made.
    """
    for each in folder.parents:
        if each.name.startswith(_STEM) and each.name.endswith(_ENDING) and not each.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(each))
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _told(destination: Path, scratch: Path | None = None) -> Iterator[None]:
    """Tell errors of the system about ``destination``.

    Args:
        destination: what is being written.
        scratch: where, if other things are done in the block too: then errors about other files
            are left as they are.

    Raises:
        InputError: in place of an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        elsewhere = scratch and not str(error.filename).startswith(str(scratch))
        if elsewhere and error.errno not in _NO_ROOM:
            raise
        found = system_reason(error) or str(error)
        raise InputError(destination, found, "room to write it") from error
    except InputError as error:
        if scratch is not None:  # which people do not know, and will not find
            error.args = (str(error).replace(str(scratch / "new"), str(destination)),)
        raise


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor by which it is locked."""
    while True:
        folder = parent / f"{_STEM}{secrets.token_hex(6)}{_ENDING}"
        folder.mkdir(mode=0o700)
        # Until it is locked another process may take it for a leftover, lock and remove it.
        with suppress(FileNotFoundError, BlockingIOError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise
            except OSError:
                return folder, lock  # a filesystem without locks: nobody removes it either
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def _remove_leftovers(parent: Path) -> None:
    """Remove the scratch folders in ``parent`` whose processes live no more."""
    with os.scandir(parent) as entries:
        found = [each.path for each in entries
                 if each.name.startswith(_STEM) and each.name.endswith(_ENDING)]  # fmt: skip
    for path in found:
        with suppress(OSError):  # a living process's, another user's, or gone by now
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)


def _renamed(new: Path, directory: Path) -> bool:
    """Whether the folder ``new`` could become ``directory``, where there was none."""
    if directory.is_symlink():
        raise InputError(directory, "a link to nothing", "a folder to write to")
    try:
        new.rename(directory)
    except OSError as error:
        # Another process was first.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and directory.is_dir():
            return False
        raise
    return True


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other processes from putting a result into the folder during the block.

    Raises:
        InputError: another one does not come to an end.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    found = f"locked by another program for {_PATIENCE:g} s"
                    raise InputError(directory, found, "a folder to put the result into") from error
                time.sleep(0.02)
            except OSError:
                break  # a filesystem without locks
        yield
    finally:
        os.close(handle)


def _exchange(
    directory: Path, scratch: Path, names: Collection[str], replaces: Collection[str],
    last: str | None,
) -> None:  # fmt: skip
    """Move an old result's files out of ``directory`` and those in ``scratch/new`` into it.

    Raises:
        InputError: a folder is where a file should be, or the other way round.
        OSError: it could not be done; all is as it was then.
    """
    for name in names:
        _check_place(directory, name)
    old = [name for name in dict.fromkeys((*names, *replaces)) if _is_file(directory / name)]
    leaving = sorted(old, key=lambda name: Path(name).name != last)
    entering = sorted(names, key=lambda name: Path(name).name == last)
    moves = [(directory / name, scratch / "old" / name) for name in leaving]
    moves += [(scratch / "new" / name, directory / name) for name in entering]
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            with suppress(OSError):
                target.rename(source)
        raise
    for name in old:
        for parent in Path(name).parents[:-1]:
            with suppress(OSError):  # it holds other files
                (directory / parent).rmdir()


def _check_place(directory: Path, name: str) -> None:
    """Raise unless a file can take this name."""
    if (directory / name).is_dir():
        raise InputError(directory / name, "a folder", "a file to replace, or nothing")
    for parent in Path(name).parents[:-1]:
        if _is_file(directory / parent):
            raise InputError(directory / parent, "a file", "a folder to write to")


def _is_folder(directory: Path) -> bool:
    """Whether there is a folder.

    Raises:
        InputError: there is something else.
    """
    try:
        if directory.is_dir():
            return True
        taken = directory.exists()
    except OSError as error:
        raise InputError(directory, str(error.strerror or error), "a writable folder") from error
    if taken:
        raise InputError(directory, "a file", "a folder to write to")
    return False


def _is_file(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _bring_to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
