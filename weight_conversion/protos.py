"""The two protocol buffers in a checkpoint's index: its header and one entry a variable.

Field numbers are those of TensorFlow's ``tensor_bundle.proto``, ``tensor_shape.proto``,
``tensor_slice.proto``, ``types.proto`` and ``versions.proto``. Unknown fields are skipped, as
protocol buffers ask of every reader; what this project cannot honour (big-endian data, a newer
minimum version, variables stored in slices) is refused.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from weight_conversion.varint import MalformedError, read_varint, write_varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VERSION = 1
_MOST_SHARDS = 99_999
_MOST_DIMENSIONS = 32
_MOST_ELEMENTS = 1 << 40

DTYPES: dict[int, str] = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
}
"""TensorFlow's number of each element type, and NumPy's name for it where there is one."""


@dataclass(frozen=True)
class Header:
    """``BundleHeaderProto``: over how many data files the variables are spread."""

    shards: int


@dataclass(frozen=True)
class EntryProto:
    """``BundleEntryProto``: one variable. ``checksum`` is the masked CRC-32C of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


def parse_header(data: bytes) -> Header:
    """Read the header.

    Raises:
        MalformedError: it is damaged, or asks for what this reader does not have.
    """
    shards = 0
    for field, value in _fields(data):
        if field == 1:
            shards = _number(value)
        elif field == 2 and _number(value) != 0:
            raise MalformedError("big-endian data, where only little-endian is read")
        elif field == 3:
            least = [_number(inner) for number, inner in _fields(_bytes(value)) if number == 2]
            if least and least[-1] > _VERSION:
                raise MalformedError(f"a checkpoint for readers of version {least[-1]} and newer")
    if not 1 <= shards <= _MOST_SHARDS:
        raise MalformedError(f"a header with {shards} data files")
    return Header(shards)


def parse_entry(data: bytes) -> EntryProto:
    """Read an entry.

    Raises:
        MalformedError: it is damaged, or the variable is stored in slices.
    """
    numbers = {1: 0, 3: 0, 4: 0, 5: 0, 6: 0}
    shape: tuple[int, ...] = ()
    for field, value in _fields(data):
        if field == 2:
            shape = _parse_shape(_bytes(value))
        elif field == 7:
            raise MalformedError("stored in slices (a partitioned variable), which is not read")
        elif field == 6:
            if not isinstance(value, _Fixed32):
                raise MalformedError("a checksum that is not a 32-bit number")
            numbers[6] = value.value
        elif field in numbers:
            numbers[field] = _number(value)
    if numbers[1] not in DTYPES:
        raise MalformedError(f"the unknown element type {numbers[1]}")
    return EntryProto(DTYPES[numbers[1]], shape, numbers[3], numbers[4], numbers[5], numbers[6])


def encode_header() -> bytes:
    """The header of a little-endian checkpoint with one data file."""
    return _tag(1, _VARINT) + b"\x01" + _block(3, _tag(1, _VARINT) + write_varint(_VERSION))


def encode_entry(entry: EntryProto) -> bytes:
    """The bytes of ``entry`` as TensorFlow writes them: zeros are left out."""
    number = {name: number for number, name in DTYPES.items()}[entry.dtype]
    dimensions = [_optional(1, size) for size in entry.shape]
    return b"".join(
        (
            _optional(1, number),
            _block(2, b"".join(_block(2, dimension) for dimension in dimensions)),
            _optional(3, entry.shard),
            _optional(4, entry.offset),
            _optional(5, entry.size),
            _tag(6, _FIXED32) + struct.pack("<I", entry.checksum) if entry.checksum else b"",
        )
    )


@dataclass(frozen=True)
class _Fixed32:
    value: int


def _fields(data: bytes) -> Iterator[tuple[int, "int | bytes | _Fixed32"]]:
    """Field numbers and values of a message; 64-bit fixed fields, unused here, are skipped."""
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        field, wire = tag >> 3, tag & 7
        if field == 0:
            raise MalformedError("a field of number 0")
        if wire == _VARINT:
            value, position = read_varint(data, position)
            yield field, value
            continue
        if wire == _BYTES:
            size, position = read_varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise MalformedError(f"a field of wire type {wire}")
        raw = data[position : position + size]
        if len(raw) != size:
            raise MalformedError("a field that runs past its message")
        position += size
        if wire == _BYTES:
            yield field, raw
        elif wire == _FIXED32:
            yield field, _Fixed32(struct.unpack("<I", raw)[0])


def _number(value: "int | bytes | _Fixed32") -> int:
    if not isinstance(value, int):
        raise MalformedError("a field that should be a number and is not")
    return value


def _bytes(value: "int | bytes | _Fixed32") -> bytes:
    if not isinstance(value, bytes):
        raise MalformedError("a field that should be a message and is not")
    return value


def _parse_shape(data: bytes) -> tuple[int, ...]:
    shape: list[int] = []
    for field, value in _fields(data):
        if field == 3 and _number(value):
            raise MalformedError("a shape of unknown rank")
        if field == 2:
            sizes = [_number(inner) for number, inner in _fields(_bytes(value)) if number == 1]
            shape.append(sizes[-1] if sizes else 0)
    # A dimension of -1, "unknown", reads as 2**64 - 1. A dimension of 0 excuses no other: NumPy
    # multiplies the rest as well.
    if len(shape) > _MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) > _MOST_ELEMENTS:
        raise MalformedError(f"the absurd shape {_abbreviated(shape)}")
    return tuple(shape)


def _abbreviated(shape: list[int]) -> str:
    shown = "x".join(str(size) for size in shape[:6])
    return shown + (f"x... ({len(shape)} dimensions)" if len(shape) > 6 else "")


def _tag(field: int, wire: int) -> bytes:
    return write_varint(field << 3 | wire)


def _optional(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + write_varint(value) if value else b""


def _block(field: int, message: bytes) -> bytes:
    return _tag(field, _BYTES) + write_varint(len(message)) + message
