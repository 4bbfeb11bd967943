"""What every weights file looks like to the rest of the project, whatever its format."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from weight_conversion.errors import InputError, system_reason
from weight_conversion.files import is_file

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Variable:
    """One variable as the file describes it, before its values are read.

    ``dtype`` is NumPy's name where there is one ("float32"), with the byte order before it if it
    is not this machine's ("big-endian float32").
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Contents:
    """An open weights file.

    Attributes:
        variables: what it lists.
        read: the values of one variable, by name, in the file's layout.
        files: where the values are kept.
        step: the training step that its metadata give.
        checked: whether ``read`` holds values against a checksum.
        extras: what else it holds, by name, and nothing here reads.
        notes: what a person should know about how it was found.
    """

    variables: tuple[Variable, ...]
    read: Callable[[str], NDArray[Any]]
    files: tuple[Path, ...]
    step: int | None = None
    checked: bool = False
    extras: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[Path, ...]:
        """The files that are not there; reading then fails."""
        return tuple(path for path in self.files if not is_file(path))


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a format's library raises into an :class:`InputError` about ``path``.

    Raises:
        InputError: anything went wrong inside the block; ``kind`` is what was expected.
    """
    try:
        yield
    except InputError:
        raise
    # The libraries document no complete list of what damaged bytes make them raise (struct and
    # zlib errors, KeyError, RecursionError, MemoryError were all seen), and each of them means
    # the same to the user.
    except Exception as error:
        found = f"{type(error).__name__}: {_first_line(error) or 'unreadable'}"
        raise InputError(path, found, kind) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn whatever a format's library raises while it writes into an :class:`InputError`.

    Raises:
        InputError: anything went wrong inside the block, such as a full disk.
    """
    try:
        yield
    except InputError:
        raise
    # A full disk is an OSError to one library, a RuntimeError to the next.
    except Exception as error:
        reason = system_reason(error) or _first_line(error) or type(error).__name__
        raise InputError(path, f"writing failed ({reason})", "room to write it") from error


def _first_line(error: Exception) -> str:
    """The beginning of a library's message, without the colours that it may hold."""
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return lines[0][:200] if lines else ""


def step_from(value: object) -> int | None:
    """The step that a file's metadata give, as a number or its digits; None for anything else.

    Metadata are anybody's: what is not a step, such as a "step" of a foreign tool, is no error.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return value
    return None
