"""NumPy archives: one ``.npy`` member a variable, named by its checkpoint key.

The archive's comment holds stage and step as JSON, so that its members are the variables and
nothing else: ``np.load(path)["scope/layer/W:0"]`` is the kernel. Members are stored
uncompressed and dated 1980, so that the same weights make the same bytes.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file
from weight_conversion.weight_set import dtype_text

_KIND = "a NumPy archive (.npz)"
_SUFFIX = ".npy"


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open an archive.

    Raises:
        InputError: it is missing, damaged, or holds members that are not arrays.
    """
    require_file(path, _KIND)
    with parsing(path, _KIND):
        archive = zipfile.ZipFile(path)
    with archive:
        _check_end(path, archive.comment)
        variables = []
        members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(_SUFFIX)
            if name == info.filename:
                raise InputError(path, f"member {name}", "arrays (.npy) alone")
            if name in members:
                raise InputError(path, f"variable {name} twice", "each variable once")
            members[name] = info
            with parsing(path, f"{_KIND}, at {name}"), archive.open(info) as stream:
                variables.append(_describe(name, stream))

        def read(name: str) -> NDArray[Any]:
            with parsing(path, f"{_KIND}, at {name}"), archive.open(members[name]) as stream:
                array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
                # Reading past the end also makes the archive check the member's CRC.
                if stream.read(1):
                    raise InputError(path, f"surplus bytes after variable {name}", _KIND)
                return array

        yield Contents(tuple(variables), read, (path,), step_from(_metadata(archive).get("step")))


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write an archive of ``arrays`` by checkpoint key."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}{_SUFFIX}")
            # Without this bound the archive could not hold a member of 4 GB and more.
            with archive.open(member, "w", force_zip64=array.nbytes >= 1 << 31) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
        archive.comment = json.dumps({"stage": stage, "step": step}).encode()


def _describe(name: str, stream: IO[bytes]) -> Variable:
    """Name, shape and type from the member's header alone."""
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, _, dtype = readers[version](stream)
    return Variable(name, tuple(shape), dtype_text(dtype))


def _check_end(path: Path, comment: bytes) -> None:
    """Raise unless the comment, the last thing in an archive, is whole and the last.

    Raises:
        InputError: the archive was cut within its comment, or something was appended.
    """
    with parsing(path, _KIND), path.open("rb") as stream:
        stream.seek(-2 - len(comment), os.SEEK_END)
        if int.from_bytes(stream.read(2), "little") != len(comment):
            raise InputError(path, "it does not end where it should", _KIND)


def _metadata(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The comment's JSON object; an archive that NumPy alone wrote has none."""
    try:
        value = json.loads(archive.comment or b"{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
