"""Sorted string tables: the LevelDB container of a checkpoint's ``.index`` file.

A table is a run of blocks and a footer of 48 bytes. A block holds entries in the order of their
keys (bytes shared with the previous key, bytes not shared, bytes of value, as variable-length
integers, then the unshared end of the key and the value), the offsets of the entries at which
sharing starts anew, and their number; a trailer follows, one byte of compression type and the
masked CRC-32C of block and type. The footer points at the metaindex block (always empty here) and
at the index block, whose entries point at the data blocks. The format is that of LevelDB's
``doc/table_format.md``; TensorFlow writes it without compression.

The reader accepts only tables of which every byte is accounted for: blocks end to end from the
first byte to the footer, every checksum right, keys strictly increasing.
"""

import struct
from collections.abc import Iterator
from itertools import pairwise

from weight_conversion.crc32c import crc32c, mask
from weight_conversion.varint import MalformedError, read_varint, write_varint

FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_HANDLES_BYTES = FOOTER_BYTES - 8
_TRAILER_BYTES = 5
_RESTART_INTERVAL = 16
_BLOCK_BYTES = 256 * 1024
# Prefix compression lets a few bytes stand for a long key, again and again: an honest index's
# keys are some tens of bytes each.
_KEY_BYTES_IN_TOTAL = 64 * 1024 * 1024

Entry = tuple[bytes, bytes]
_Handle = tuple[int, int]


def check_footer(footer: bytes) -> None:
    """Raise ``MalformedError`` unless ``footer``, the last 48 bytes of a file, ends a table."""
    if len(footer) != FOOTER_BYTES:
        raise MalformedError(
            f"{len(footer)} bytes, too short for a table's footer of {FOOTER_BYTES}"
        )
    (magic,) = struct.unpack("<Q", footer[_HANDLES_BYTES:])
    if magic != _MAGIC:
        raise MalformedError(f"its last 8 bytes are {magic:#018x}, not a table's {_MAGIC:#018x}")


def read_table(data: bytes) -> list[Entry]:
    """All entries of the table ``data`` in the order of their keys.

    Raises:
        MalformedError: anything is wrong with the table.
    """
    check_footer(data[-FOOTER_BYTES:])
    end = len(data) - FOOTER_BYTES
    handles = data[end : end + _HANDLES_BYTES]
    metaindex, position = _read_handle(handles, 0)
    index, position = _read_handle(handles, position)
    if any(handles[position:]):
        raise MalformedError("the footer's padding is not zero")
    budget = [_KEY_BYTES_IN_TOTAL]
    if list(_block_entries(_block(data, metaindex, end), budget)):
        raise MalformedError("a metaindex block that is not empty")

    pointers = list(_block_entries(_block(data, index, end), budget))
    blocks: list[_Handle] = []
    for _, pointer in pointers:
        handle, position = _read_handle(pointer, 0)
        if position != len(pointer):
            raise MalformedError("an index entry with surplus bytes")
        blocks.append(handle)
    _check_covered([*blocks, metaindex, index], end)

    entries: list[Entry] = []
    for (separator, _), handle in zip(pointers, blocks, strict=True):
        entries += _block_entries(_block(data, handle, end), budget)
        if not entries or entries[-1][0] > separator:
            raise MalformedError("an index entry that does not bound its block's keys")
    for (previous, _), (key, _) in pairwise(entries):
        if key == previous:
            raise MalformedError(f"the key {key!r} twice")
        if key < previous:
            raise MalformedError(f"the key {key!r} after {previous!r}, out of order")
    return entries


def _read_handle(data: bytes, position: int) -> tuple[_Handle, int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _check_covered(handles: list[_Handle], end: int) -> None:
    """Blocks must follow each other without gap or overlap, up to the footer."""
    expected = 0
    for offset, size in handles:
        if offset != expected:
            raise MalformedError(f"a block at byte {offset} where byte {expected} continues")
        expected = offset + size + _TRAILER_BYTES
    if expected != end:
        raise MalformedError(f"blocks end at byte {expected}, the footer starts at {end}")


def _block(data: bytes, handle: _Handle, end: int) -> bytes:
    """The contents of the block at ``handle`` after its checksum held."""
    offset, size = handle
    stop = offset + size
    if stop + _TRAILER_BYTES > end:
        raise MalformedError(f"a block at bytes {offset} to {stop}, past the {end} that there are")
    kind, stored = struct.unpack("<BI", data[stop : stop + _TRAILER_BYTES])
    if mask(crc32c(data[offset : stop + 1])) != stored:
        raise MalformedError(f"the checksum of the block at byte {offset} does not match")
    if kind != 0:
        name = {1: "Snappy"}.get(kind, f"type {kind}")
        raise MalformedError(f"a block compressed with {name}, which TensorFlow does not write")
    return data[offset:stop]


def _block_entries(block: bytes, budget: list[int]) -> Iterator[Entry]:
    """The entries of one block; ``budget`` holds how many bytes of key may still come."""
    if len(block) < 4:
        raise MalformedError(f"a block of {len(block)} bytes")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * restarts
    if restarts < 1 or end < 0:
        raise MalformedError(f"a block of {len(block)} bytes with {restarts} restart points")
    anew = set(struct.unpack(f"<{restarts}I", block[end : len(block) - 4]))
    key, position = b"", 0
    while position < end:
        start = position
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or (shared and start in anew):
            raise MalformedError(f"an entry that shares {shared} bytes with a key of {len(key)}")
        if position + unshared + length > end:
            raise MalformedError("an entry that runs past its block")
        anew.discard(start)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        budget[0] -= len(key)
        if budget[0] < 0:
            raise MalformedError(f"keys of more than {_KEY_BYTES_IN_TOTAL} bytes in all")
        yield key, block[position : position + length]
        position += length
    # An empty block has one restart point, at its end.
    if anew - {0}:
        raise MalformedError("a restart point between entries")


def write_table(entries: list[Entry]) -> bytes:
    """The table of ``entries``, whose keys must be strictly increasing.

    For an index of up to 256 KiB the bytes are the ones that TensorFlow writes.
    """
    if any(key >= following for (key, _), (following, _) in pairwise(entries)):
        raise ValueError("the keys of a table must be strictly increasing")
    out = bytearray()
    pointers: list[Entry] = []
    pending: list[Entry] = []
    pending_bytes = 0
    for number, (key, value) in enumerate(entries, start=1):
        pending.append((key, value))
        pending_bytes += len(key) + len(value)
        last = number == len(entries)
        if last or pending_bytes >= _BLOCK_BYTES:
            handle = _append_block(out, _write_block(pending, _RESTART_INTERVAL))
            pointers.append((_successor(key) if last else key, handle))
            pending, pending_bytes = [], 0
    metaindex = _append_block(out, _write_block([], 1))
    index = _append_block(out, _write_block(pointers, 1))
    out += (metaindex + index).ljust(_HANDLES_BYTES, b"\0") + struct.pack("<Q", _MAGIC)
    return bytes(out)


def _successor(key: bytes) -> bytes:
    """A short key not below ``key``: LevelDB's choice for the last block."""
    for position, byte in enumerate(key):
        if byte != 0xFF:
            return key[:position] + bytes([byte + 1])
    return key


def _write_block(entries: list[Entry], interval: int) -> bytes:
    out = bytearray()
    restarts = [] if entries else [0]
    previous = b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % interval == 0:
            restarts.append(len(out))
        else:
            shared = _common(previous, key)
        for count in (shared, len(key) - shared, len(value)):
            out += write_varint(count)
        out += key[shared:] + value
        previous = key
    out += struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))
    return bytes(out)


def _common(first: bytes, second: bytes) -> int:
    """How many bytes the two begin with in common."""
    for position, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return position
    return min(len(first), len(second))


def _append_block(out: bytearray, block: bytes) -> bytes:
    """Append ``block`` and its trailer; return its handle."""
    handle = write_varint(len(out)) + write_varint(len(block))
    body = block + b"\0"
    out += body + struct.pack("<I", mask(crc32c(body)))
    return handle
