"""NumPy archives: one ``.npy`` member a variable, named by its checkpoint key.

The archive's comment holds stage and step as JSON, so that its members are the variables and
nothing else: ``np.load(path)["scope/layer/W:0"]`` is the kernel. Members are stored
uncompressed and dated 1980, so that the same weights make the same bytes. A ZIP archive has a
CRC-32 a member, which is checked, and none of its comment nor of the list of its members: the
comment holds one of both, ``crc32c_manifest``, as ``weight_conversion.containers.checksums`` says,
with the members' own CRC-32.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.checksums import MANIFEST, described, manifest_crc32c
from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file
from weight_conversion.weight_set import dtype_text

_KIND = "a NumPy archive (.npz)"
_SUFFIX = ".npy"
_PIECE = 1 << 18
"""Bytes that are read at a time, few enough to stay in the processor's cache until they are summed.
"""


@dataclass(frozen=True)
class _Member:
    """A variable's member: its place in the archive and what its header says.

    ``start`` is where its values begin, in bytes; ``fortran`` says that the first axis of ``shape``
    runs fastest.
    """

    info: zipfile.ZipInfo
    start: int
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


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
        members: dict[str, _Member] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(_SUFFIX)
            if name == info.filename:
                raise InputError(path, f"member {name}", "arrays (.npy) alone")
            if name in members:
                raise InputError(path, f"variable {name} twice", "each variable once")
            with parsing(path, f"{_KIND}, at {name}"), archive.open(info) as stream:
                member = members[name] = _described(info, stream)
            variables.append(Variable(name, member.shape, dtype_text(member.dtype)))

        def read(name: str) -> NDArray[Any]:
            with parsing(path, f"{_KIND}, at {name}"):
                return _read(path, archive, members[name])

        metadata = _metadata(archive)
        _check_manifest(path, archive, metadata, variables)
        step = step_from(metadata.get("step"))
        yield Contents(tuple(variables), read, (path,), step, checked=True)


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write an archive of ``arrays`` by checkpoint key."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}{_SUFFIX}")
            # Without this bound the archive could not hold a member of 4 GB and more.
            with archive.open(member, "w", force_zip64=array.nbytes >= 1 << 31) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)
        metadata = {"stage": stage, "step": step}
        manifest = manifest_crc32c(metadata, described(arrays), _sums(archive))
        archive.comment = json.dumps(metadata | {MANIFEST: f"{manifest:08x}"}).encode()


def _described(info: zipfile.ZipInfo, stream: IO[bytes]) -> _Member:
    """A member by its header alone."""
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = readers[version](stream)
    return _Member(info, stream.tell(), tuple(shape), fortran, dtype)


def _read(path: Path, archive: zipfile.ZipFile, member: _Member) -> NDArray[Any]:
    """A member's values, which the archive holds against its CRC when it comes to their end.

    Raises:
        InputError: they are objects, or fewer or more bytes than their shape takes.
    """
    name = member.info.filename.removesuffix(_SUFFIX)
    if member.dtype.hasobject or not member.dtype.itemsize:
        raise InputError(path, f"variable {name} of type {member.dtype}", "numbers")
    size = math.prod(member.shape) * member.dtype.itemsize
    found = member.info.file_size - member.start
    if found != size:
        raise InputError(path, f"variable {name} of {found} bytes", f"{size} as its header says")
    array = np.empty(member.shape, member.dtype, "F" if member.fortran else "C")
    values = (array.T if member.fortran else array).reshape(-1).view(np.uint8)
    with archive.open(member.info) as stream:
        assert isinstance(stream, zipfile.ZipExtFile)
        stream.read(member.start)
        for start in range(0, size, _PIECE):
            piece = values[start : start + _PIECE]
            if stream.readinto(piece.data) != len(piece):
                raise InputError(path, f"variable {name} ends early", f"{size} bytes")
        # Reading past the end makes the archive check the CRC of no values, too.
        if stream.read(1):
            raise InputError(path, f"surplus bytes after variable {name}", _KIND)
    return array


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


def _sums(archive: zipfile.ZipFile) -> dict[str, int]:
    """The members' CRC-32 by variable, as the archive's directory gives them."""
    return {info.filename.removesuffix(_SUFFIX): info.CRC for info in archive.infolist()}


def _check_manifest(
    path: Path, archive: zipfile.ZipFile, metadata: Mapping[str, Any], variables: list[Variable]
) -> None:
    """Hold comment and directory against the manifest's checksum, where the comment has one.

    Raises:
        InputError: they do not match it, or the comment is what damage leaves of one of ours.
    """
    if MANIFEST not in metadata:
        # Damage to the object itself; to the manifest's own name it changes nothing else.
        if not metadata and (archive.comment[:1] == b"{" or MANIFEST.encode() in archive.comment):
            raise InputError(path, "a comment that is no JSON object", "an undamaged file")
        return
    rest = {name: metadata.get(name) for name in ("stage", "step")}
    if metadata[MANIFEST] != f"{manifest_crc32c(rest, variables, _sums(archive)):08x}":
        found = "the checksum of its names, shapes and comment does not match them"
        raise InputError(path, found, "an undamaged file")
