"""TensorFlow's V2 checkpoints ("tensor bundles"), read and written without TensorFlow.

A checkpoint with prefix ``P`` is ``P.index``, a sorted string table from variable name to type,
shape, place and checksum, and ``P.data-00000-of-00001`` (or more such files), the raw values. Its
names end where the caller says: a prefix such as ``name.ckpt-10`` has no suffix of its own.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.atomic import staging
from weight_conversion.crc32c import crc32c, mask
from weight_conversion.errors import InputError
from weight_conversion.files import is_folder, require_file
from weight_conversion.protos import (
    DTYPES,
    EntryProto,
    Header,
    encode_entry,
    encode_header,
    parse_entry,
    parse_header,
)
from weight_conversion.sstable import FOOTER_BYTES, check_footer, read_table, write_table
from weight_conversion.varint import MalformedError

# The official indexes have 3 and 7 kB; this is room for some 50,000 variables, and a made-up
# index of this size is refused or read within seconds.
_MOST_INDEX_BYTES = 2 * 1024 * 1024
_NUMPY_NAMES = frozenset(DTYPES.values()) - {
    *("string", "bfloat16", "resource", "variant"),
    *("qint8", "qint16", "qint32", "quint8", "quint16"),
}


_ITEM_BYTES = {name: np.dtype(name).itemsize for name in _NUMPY_NAMES} | {"bfloat16": 2}


@dataclass(frozen=True)
class BundleEntry:
    """One variable of a checkpoint.

    Attributes:
        key: its name.
        dtype: its element type, NumPy's name or else TensorFlow's, such as "string".
        shape: its shape.
        shard: the number of the data file that holds it.
        offset: position of its first byte there.
        size: its bytes.
        checksum: masked CRC-32C of its bytes.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


@dataclass(frozen=True)
class BundleIndex:
    """What an ``.index`` file says: the variables in the order of their names."""

    prefix: Path
    shards: int
    entries: tuple[BundleEntry, ...]

    @property
    def data_paths(self) -> tuple[Path, ...]:
        """The data files that belong to the index, there or not."""
        return tuple(data_path(self.prefix, shard, self.shards) for shard in range(self.shards))

    @cached_property
    def by_key(self) -> dict[str, BundleEntry]:
        """The variables by name."""
        return {entry.key: entry for entry in self.entries}

    @cached_property
    def sizes(self) -> dict[int, int]:
        """Where each data file ends, by its number: with the last of its variables."""
        ends: dict[int, int] = {}
        for entry in self.entries:
            ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size)
        return ends


def index_path(prefix: Path) -> Path:
    """The index file of the checkpoint ``prefix``."""
    return prefix.with_name(f"{prefix.name}.index")


def data_path(prefix: Path, shard: int = 0, shards: int = 1) -> Path:
    """The data file ``shard`` of the checkpoint ``prefix``, which has ``shards`` of them."""
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}")


def read_index(prefix: Path) -> BundleIndex:
    """Read ``prefix.index`` alone; the data files need not be there.

    Raises:
        InputError: the file is missing or damaged anywhere, or describes what is not read:
            big-endian data, variables in slices, sizes that do not fit the shapes.
    """
    path = index_path(prefix)
    try:
        table = read_table(_read_index_bytes(path))
        if not table or table[0][0] != b"":
            raise MalformedError("a table without a checkpoint's header")
        header = parse_header(table[0][1])
    except MalformedError as error:
        raise InputError(path, str(error), "the index of a TensorFlow checkpoint") from error
    entries = tuple(_entry(path, header, key, value) for key, value in table[1:])
    _check_apart(path, entries)
    return BundleIndex(prefix, header.shards, entries)


def read_bundle(index: BundleIndex, keys: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read the variables ``keys`` of a checkpoint, each against its checksum.

    Those in bfloat16, which NumPy does not have, come as float32.

    Raises:
        InputError: a key is not in the index, its type is none of NumPy's, a data file is
            missing, too short or too long, or a checksum does not match.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for key in keys:
        if key not in index.by_key:
            there = f"one of its {len(index.by_key)} variables"
            raise InputError(index_path(index.prefix), f"no variable {key}", there)
        entry = index.by_key[key]
        _check_length(index, entry.shard)
        arrays[key] = _read_entry(data_path(index.prefix, entry.shard, index.shards), entry)
    return arrays


def write_bundle(prefix: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a checkpoint of one data file, byte for byte as TensorFlow's ``Saver`` does.

    Two files cannot be replaced in one step. Both are written whole, elsewhere, and brought to the
    disk; then an existing checkpoint goes, its index first, and the new data file takes its name
    and at once the index, which makes it a checkpoint. Whoever reads in between finds none.

    Raises:
        InputError: a type is none of NumPy's or the folder cannot be written to.
    """
    index, data = index_path(prefix), data_path(prefix)
    for path in (index, data):
        # Found out now, because a failure between the renames would break an existing one.
        if is_folder(path):
            raise InputError(path, "a folder is in the way", "a name that is free or a file's")
    for key, array in arrays.items():
        if not key or array.dtype.name not in _NUMPY_NAMES:
            raise InputError(prefix, f"variable {key!r} of type {array.dtype}", "a numeric type")
    with staging(prefix.parent, last=index.name, called=prefix) as folder:
        table = [(b"", encode_header())]
        offset = 0
        with (folder / data.name).open("wb") as stream:
            for key in sorted(arrays, key=str.encode):
                array = arrays[key]
                raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
                view = raw.reshape(-1).view(np.uint8).data
                stream.write(view)
                checksum = mask(crc32c(view))
                entry = EntryProto(array.dtype.name, array.shape, 0, offset, len(view), checksum)
                table.append((key.encode(), encode_entry(entry)))
                offset += len(view)
        (folder / index.name).write_bytes(write_table(table))


def _read_index_bytes(path: Path) -> bytes:
    """The bytes of the index after a look at its end, so that no large stranger is read whole."""
    require_file(path, "the index of a TensorFlow checkpoint")
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - FOOTER_BYTES))
            check_footer(stream.read(FOOTER_BYTES))
            if size > _MOST_INDEX_BYTES:
                raise MalformedError(
                    f"{size} bytes, more than the {_MOST_INDEX_BYTES} that are read"
                )
            stream.seek(0)
            return stream.read(size)
    except OSError as error:
        raise InputError(path, str(error.strerror or error), "a readable file") from error


def _entry(path: Path, header: Header, raw_key: bytes, value: bytes) -> BundleEntry:
    """One entry of the table, held against itself."""
    if raw_key.startswith(b"\0"):
        # The name of a slice is the variable's between zero bytes, then the slice's extent.
        name = raw_key[1:].partition(b"\0")[0].decode(errors="replace")
        raise InputError(path, f"variable {name}: stored in slices (partitioned)", "it whole")
    try:
        key = raw_key.decode()
    except UnicodeDecodeError as error:
        raise InputError(path, f"the key {raw_key[:60]!r}", "names in UTF-8") from error
    try:
        proto = parse_entry(value)
    except MalformedError as error:
        raise InputError(path, f"variable {key}: {error}", "a whole variable") from error
    if proto.shard >= header.shards:
        found = f"variable {key} in data file {proto.shard}"
        raise InputError(path, found, f"one of {header.shards}, counted from 0")
    if proto.dtype in _ITEM_BYTES:
        expected = math.prod(proto.shape) * _ITEM_BYTES[proto.dtype]
        if proto.size != expected:
            shape = "x".join(map(str, proto.shape)) or "scalar"
            found = f"variable {key} of {proto.size} bytes"
            raise InputError(path, found, f"{expected} for {shape} {proto.dtype}")
    return BundleEntry(key, **vars(proto))


def _check_apart(path: Path, entries: tuple[BundleEntry, ...]) -> None:
    """No two variables may share bytes."""
    placed = sorted((e.shard, e.offset, e.size, e.key) for e in entries if e.size)
    for (shard, offset, size, key), (next_shard, next_offset, _, next_key) in pairwise(placed):
        if shard == next_shard and next_offset < offset + size:
            found = f"variables {key} and {next_key} overlap in data file {shard}"
            raise InputError(path, found, "a place of its own for each")


def _check_length(index: BundleIndex, shard: int) -> None:
    """The data file must end where its last variable does."""
    path = data_path(index.prefix, shard, index.shards)
    require_file(path, f"the data that {index_path(index.prefix).name} describes")
    size = path.stat().st_size
    if size != index.sizes[shard]:
        raise InputError(path, f"{size} bytes", f"{index.sizes[shard]} as the index says")


def _read_entry(path: Path, entry: BundleEntry) -> NDArray[Any]:
    if entry.dtype not in _ITEM_BYTES:
        raise InputError(path, f"variable {entry.key} of type {entry.dtype}", "a numeric type")
    raw = np.empty(entry.size, np.uint8)
    try:
        with path.open("rb") as stream:
            stream.seek(entry.offset)
            count = stream.readinto(raw.data) if entry.size else 0
    except OSError as error:
        raise InputError(path, str(error.strerror or error), "a readable file") from error
    if count != entry.size:
        raise InputError(path, f"variable {entry.key} ends early", f"{entry.size} bytes")
    if mask(crc32c(raw.data)) != entry.checksum:
        found = f"the checksum of variable {entry.key} does not match its data"
        raise InputError(path, found, "an undamaged file")
    if entry.dtype == "bfloat16":  # the upper half of a float32, which NumPy has
        return (raw.view("<u2").astype("<u4") << 16).view("<f4").reshape(entry.shape)
    little = np.dtype(entry.dtype).newbyteorder("<")
    return raw.view(little).reshape(entry.shape)
