import struct

import pytest

from weight_conversion.crc32c import crc32c, mask
from weight_conversion.sstable import FOOTER_BYTES, read_table, write_table
from weight_conversion.varint import MalformedError, read_varint, write_varint

ENTRIES = [
    (b"", b"header"),
    *((f"key/{number:03d}".encode(), b"v" * number) for number in range(40)),
]


def table(blocks: list[bytes], kind: int = 0, separators: tuple[bytes, ...] = ()) -> bytes:
    """A table of hand-made data blocks whose checksums are right."""
    out = b""

    def append(block: bytes, kind: int = 0) -> bytes:
        nonlocal out
        handle = write_varint(len(out)) + write_varint(len(block))
        body = block + bytes([kind])
        out += body + struct.pack("<I", mask(crc32c(body)))
        return handle

    handles = [append(block, kind) for block in blocks]
    names = separators or tuple(b"\xff" + bytes([number]) for number in range(len(blocks)))
    metaindex = append(struct.pack("<II", 0, 1))
    index = append(block_of(*zip(names, handles, strict=True)))
    return out + (metaindex + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def block_of(*entries: tuple[bytes, bytes]) -> bytes:
    body = b"".join(entry(0, key, value) for key, value in entries)
    return body + struct.pack("<II", 0, 1)


def entry(shared: int, unshared: bytes, value: bytes = b"") -> bytes:
    return b"".join(write_varint(n) for n in (shared, len(unshared), len(value))) + unshared + value


def ended(body: bytes) -> bytes:
    return body + struct.pack("<II", 0, 1)


def test_round_trip() -> None:
    assert read_table(write_table(ENTRIES)) == ENTRIES


def test_round_trip_of_nothing() -> None:
    assert read_table(write_table([])) == []


def test_round_trip_over_several_blocks() -> None:
    entries = [(f"{number:05d}".encode(), bytes(1000)) for number in range(1000)]
    data = write_table(entries)
    assert read_table(data) == entries
    assert len(data) > 1_000_000


def test_a_hand_made_table_is_read() -> None:
    blocks = [block_of((b"a", b"1")), ended(entry(0, b"bb", b"2") + entry(1, b"c", b"3"))]
    assert read_table(table(blocks)) == [(b"a", b"1"), (b"bb", b"2"), (b"bc", b"3")]


@pytest.mark.parametrize("position", range(len(write_table(ENTRIES[:6]))))
def test_no_changed_byte_goes_unnoticed(position: int) -> None:
    data = write_table(ENTRIES[:6])
    for change in (0x01, 0x80, 0xFF):
        changed = bytearray(data)
        changed[position] ^= change
        with pytest.raises(MalformedError):
            read_table(bytes(changed))


@pytest.mark.parametrize("length", range(0, len(write_table(ENTRIES[:6])), 3))
def test_no_truncation_goes_unnoticed(length: int) -> None:
    data = write_table(ENTRIES[:6])
    with pytest.raises(MalformedError):
        read_table(data[:length])
    with pytest.raises(MalformedError):
        read_table(data[len(data) - length :])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too|less than"),
        (bytes(FOOTER_BYTES), "its last 8 bytes are 0x0000000000000000"),
        (table([block_of((b"a", b""), (b"a", b""))]), "the key b'a' twice"),
        (table([block_of((b"b", b""), (b"a", b""))]), "b'a' after b'b', out of order"),
        (table([block_of((b"b", b"")), block_of((b"a", b""))]), "out of order"),
        (table([ended(entry(3, b"a"))]), "shares 3 bytes with a key of 0"),
        (table([ended(entry(0, b"a") + entry(2, b"b"))]), "shares 2 bytes with a key of 1"),
        (table([ended(write_varint(0) + write_varint(1 << 62) + b"\0")]), "runs past its block"),
        (table([ended(b"\0\1\x80\x80")]), "bad variable-length integer"),
        (table([b"\0\0"]), "a block of 2 bytes"),
        (table([struct.pack("<I", 0)]), "0 restart points"),
        (table([struct.pack("<I", 0xFFFFFFFF)]), "4294967295 restart points"),
        (table([entry(0, b"ab") + struct.pack("<III", 0, 2, 2)]), "restart point between"),
        (table([block_of((b"a", b""))], kind=1), "compressed with Snappy"),
        (table([block_of((b"a", b""))], kind=7), "compressed with type 7"),
        (table([block_of((b"b", b""))], separators=(b"a",)), "does not bound"),
    ],
)
def test_hostile_table(data: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read_table(data)


def test_blocks_that_overlap() -> None:
    data = table([block_of((b"a", b""))])
    handle = write_varint(0) + write_varint(len(block_of((b"a", b""))))
    twice = data[:-FOOTER_BYTES] + (handle * 2).ljust(40, b"\0") + data[-8:]
    with pytest.raises(MalformedError, match="metaindex block that is not empty"):
        read_table(twice)
    outside = write_varint(1 << 40) + write_varint(8)
    beyond = data[:-FOOTER_BYTES] + (outside * 2).ljust(40, b"\0") + data[-8:]
    with pytest.raises(MalformedError, match="past the"):
        read_table(beyond)


def test_bytes_that_no_block_covers() -> None:
    data = table([block_of((b"a", b""))])
    with pytest.raises(MalformedError, match="blocks end at byte"):
        read_table(data[:-FOOTER_BYTES] + b"?" + data[-FOOTER_BYTES:])


def test_keys_that_expand_without_end() -> None:
    # 4 bytes an entry, each of which repeats a key of 100,000 bytes and lengthens it by one.
    body = entry(0, b"k" * 100_000)
    body += b"".join(entry(100_000 + number, b"k") for number in range(2_000))
    with pytest.raises(MalformedError, match="keys of more than"):
        read_table(table([ended(body)]))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, (1 << 32) - 1, (1 << 64) - 1])
def test_varint_round_trip(value: int) -> None:
    data = write_varint(value)
    assert read_varint(b"?" + data + b"?", 1) == (value, 1 + len(data))


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\xff" * 11, b"\xff" * 9 + b"\x02", b"\x81\x00"], ids=repr
)
def test_bad_varint(data: bytes) -> None:
    with pytest.raises(MalformedError, match="bad variable-length integer at byte 0"):
        read_varint(data, 0)


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_number_without_varint(value: int) -> None:
    with pytest.raises(ValueError, match="not an unsigned 64-bit integer"):
        write_varint(value)


def test_unsorted_keys_are_not_written() -> None:
    with pytest.raises(ValueError, match="strictly increasing"):
        write_table([(b"b", b""), (b"a", b"")])
