"""Checks on what the data files hold, entry by entry, with messages that say which entry."""

from pathlib import Path
from typing import Any

import numpy as np

from inputs.files import Float32, Int64, float32, shown
from weight_conversion.errors import InputError


def entry(path: Path, data: dict[Any, Any], key: str) -> Any:
    """An entry of a dict form.

    Raises:
        InputError: there is none of this name.
    """
    # Python 3 leaves the keys of a file written by Python 2 as bytes where it is told to.
    for candidate in (key, key.encode("ascii")):
        if candidate in data:
            return data[candidate]
    keys = ", ".join(shown(name, 20) for name in list(data)[:12])
    raise InputError(path, f"has no entry {key!r} (it has {keys or 'none'})", f"an entry {key!r}")


def sequence(where: str, value: Any, length: int) -> list[Any]:
    """The items of a list, a tuple or an array's first axis.

    Raises:
        InputError: anything else, or another number of them.
    """
    if isinstance(value, np.ndarray) and value.ndim > 0:
        value = list(value)
    if not isinstance(value, list | tuple):
        raise InputError(where, f"is {_kind(value)}", f"a list of {length}")
    if len(value) != length:
        raise InputError(where, f"has {len(value)} items", str(length))
    return list(value)


def floats(where: str, value: Any, shape: tuple[int | None, ...]) -> Float32:
    """An array of numbers, rounded to float32.

    Args:
        where: file and entry, for the message.
        value: what the file holds there.
        shape: its shape; None for an axis of any length.

    Raises:
        InputError: no array of numbers, of another shape, or not finite in float32.
    """
    expected = f"numbers of shape {_shape(shape)}"
    _check_array(where, value, shape, "fiu", expected)
    return float32(where, value, expected)


def indices(where: str, value: Any, shape: tuple[int | None, ...], low: int, high: int) -> Int64:
    """An array of whole numbers from ``low`` to ``high``, both included.

    Raises:
        InputError: no array of whole numbers, of another shape, or out of range.
    """
    expected = f"whole numbers from {low} to {high} of shape {_shape(shape)}"
    _check_array(where, value, shape, "fiu", expected)
    wrong = np.argwhere(~((value >= low) & (value <= high) & (value == np.floor(value))))
    if len(wrong):
        at = tuple(int(index) for index in wrong[0])
        raise InputError(where, f"{value[at]} at {list(at)}", expected)
    return np.asarray(value, dtype=np.int64)


def _check_array(
    where: str, value: Any, shape: tuple[int | None, ...], kinds: str, expected: str
) -> None:
    if not isinstance(value, np.ndarray):
        raise InputError(where, f"is {_kind(value)}", expected)
    if value.dtype.kind not in kinds:
        raise InputError(where, f"is an array of {value.dtype}", expected)
    fits = value.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=False)
    )
    if not fits:
        raise InputError(where, f"has shape {value.shape}", expected)


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


def _shape(shape: tuple[int | None, ...]) -> str:
    return "×".join("N" if extent is None else str(extent) for extent in shape)
