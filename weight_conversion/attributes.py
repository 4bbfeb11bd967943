"""Attributes of HDF5 files that nobody vouches for."""

from pathlib import Path
from typing import Any

import h5py

from weight_conversion.errors import InputError

LONGEST = 2**20
"""Bytes in an attribute."""
_SCALARS = (
    h5py.h5t.TypeStringID, h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeEnumID,
)  # fmt: skip


def attribute(
    path: Path, holder: h5py.Group | h5py.Dataset, name: str, *, heap: bool = True
) -> Any:
    """An attribute that is one text, number or truth value; None where it is absent.

    ``heap`` says whether texts of variable length are read, which lie in HDF5's global heap, in
    which the library may search for ever.

    Raises:
        InputError: it is anything else. Then it is not even read, because HDF5 follows whatever
            addresses a damaged type leads it to.
    """
    if name not in holder.attrs:
        return None
    opened = h5py.h5a.open(holder.id, name.encode())
    if (
        opened.shape != ()
        or not isinstance(opened.get_type(), _SCALARS)
        or opened.get_storage_size() > LONGEST
        or not (heap or _fixed(opened.get_type()))
    ):
        raise InputError(
            path, f"attribute {name!r} of {holder.name} is no single value", "a text or a number"
        )
    return holder.attrs[name]


def _fixed(kind: h5py.h5t.TypeID) -> bool:
    return not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str())
