"""Reading HDF5 files that nobody vouches for.

A trace may come from anywhere. It may be damaged; it may lead out of itself (links, virtual
datasets, external storage), declare more than any memory holds, or keep a reader busy (groups in
groups in groups). All of that is refused here, as one ``InputError``, before any number is read.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weight_conversion.attributes import attribute
from weight_conversion.errors import InputError

DEEPEST = 8
"""Groups within each other; a checkpoint key has four parts."""
MOST_ENTRIES = 10_000
"""Groups and datasets in one group of a trace; the largest official one has 166."""
LARGEST = 40_000_000
"""Numbers in a dataset; the largest official tap has 35,946,882."""
MOST_NUMBERS = 2**30
"""Numbers in all datasets of one group; the official refine taps have 2**28.5."""
NUMBERS_A_CHUNK = 10_000
"""What a chunk counts as among them; HDF5 takes 4 kB for it, even if it was never stored."""
SMALL = 2**24
"""Numbers in a dataset that is read at once, such as a mesh."""


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever h5py raises on a damaged file into an ``InputError`` about ``what``."""
    try:
        yield
    except (
        # HDF5's own errors arrive as any of these, by the C function that failed.
        OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError,
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(path, f"{what} cannot be read ({reason})", "an undamaged trace") from error


def dataset_names(path: Path, file: h5py.File, group: str) -> list[str]:
    """The datasets below ``/group``, by their path from there, each of them checked.

    Raises:
        InputError: the group holds anything but numbers stored in this very file, or more of them
            than any trace does.
    """
    with reading(path, f"/{group}"):
        if file.get(group, getlink=True) is None:
            return []
        found: list[str] = []
        numbers = 0
        for name, entry in _walk(path, file, group):
            found.append(name)
            numbers += _cost(checked(path, entry, f"/{group}/{name}"))
            if numbers > MOST_NUMBERS:
                raise InputError(
                    path,
                    f"/{group} declares too much to read",
                    f"{MOST_NUMBERS:,} numbers or larger chunks",
                )
        return sorted(found)


def checked(path: Path, entry: Any, name: str) -> h5py.Dataset:
    """``entry`` if it is a dataset of numbers, stored in this file, of a size that can be."""
    if not isinstance(entry, h5py.Dataset):
        raise InputError(path, f"{name} is not a dataset", "numbers")
    if not is_number(entry.dtype):
        raise InputError(path, f"{name} has dtype {entry.dtype}", "numbers of at most 64 bits")
    if entry.is_virtual or entry.external:
        raise InputError(path, f"{name} keeps its data in other files", "the data itself")
    # Not ``entry.size``, which wraps around at 2**64 in some versions of h5py.
    if entry.shape is None or math.prod(entry.shape) > LARGEST:
        raise InputError(
            path, f"{name} has shape {entry.shape}", f"at most {LARGEST:,} numbers in a dataset"
        )
    return entry


def is_number(dtype: np.dtype) -> bool:
    """Whether values of this type fit a float64 comparison: floats and integers up to 64 bits."""
    return dtype.kind in "fiu" and dtype.itemsize <= 8


def selections(shape: tuple[int, ...], most: int) -> Iterator[tuple[int | slice, ...]]:
    """Selections that cover an array of this shape in C order, each of at most ``most`` elements.

    A scalar has one selection, the empty one; an array without elements has none.
    """
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    if row == 0:
        return
    if row <= most:
        step = most // row
        for start in range(0, shape[0], step):
            yield (slice(start, start + step),)
        return
    for index in range(shape[0]):
        for rest in selections(shape[1:], most):
            yield (index, *rest)


def text(path: Path, file: h5py.File, name: str) -> str:
    """A root attribute that is a text."""
    value = attribute(path, file, name)
    if not isinstance(value, str):
        found = "absent" if value is None else f"of type {type(value).__name__}"
        raise InputError(path, f"root attribute {name!r} is {found}", "a text")
    return value


def _cost(dataset: h5py.Dataset) -> int:
    """Numbers in a dataset, and its chunks in the measure of numbers."""
    numbers = math.prod(dataset.shape)
    if not dataset.chunks:
        return numbers
    chunks = math.prod(-(-n // m) for n, m in zip(dataset.shape, dataset.chunks, strict=True))
    return numbers + NUMBERS_A_CHUNK * chunks


def _walk(path: Path, file: h5py.File, group: str) -> Iterator[tuple[str, Any]]:
    """What is not a group below ``/group``, depth first, each group in its own order."""
    top = _entry(path, file, group)
    if not isinstance(top, h5py.Group):
        raise InputError(path, f"/{group} is not a group", "a group of datasets")
    seen = 0
    pending = [(top, "", 1)]
    while pending:
        parent, prefix, depth = pending.pop()
        seen += len(parent)
        # Counting groups as well bounds what hard links between groups can unfold to.
        if seen > MOST_ENTRIES or depth > DEEPEST:
            raise InputError(
                path,
                f"/{group} is nested {depth} deep with {seen:,} entries",
                f"at most {DEEPEST} and {MOST_ENTRIES:,}",
            )
        for name in parent:
            entry = _entry(path, parent, name)
            if isinstance(entry, h5py.Group):
                pending.append((entry, f"{prefix}{name}/", depth + 1))
            else:
                yield f"{prefix}{name}", entry


def _entry(path: Path, parent: h5py.Group, name: str) -> Any:
    # Soft and external links could lead out of the group or the file.
    if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
        place = f"{parent.name.rstrip('/')}/{name}"
        raise InputError(path, f"{place} is a link", "the data itself")
    return parent[name]
