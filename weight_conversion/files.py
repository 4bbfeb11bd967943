"""Whether a file is there, asked so that a bad path is bad input and never a crash."""

from pathlib import Path

from weight_conversion.errors import InputError


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file that can be looked at."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, a folder that may not be entered
        return False


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that can be looked at."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def require_file(path: Path, expected: str) -> None:
    """Raise unless ``path`` is a file.

    Raises:
        InputError: there is nothing, or something else; ``expected`` says what should be there.
    """
    if not is_file(path):
        raise InputError(path, "a folder" if is_folder(path) else "no such file", expected)
