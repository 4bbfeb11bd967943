"""Variable-length integers: seven bits a byte, low bits first, the high bit on all but the last.

The index of a checkpoint and its protocol buffers both use them. Anything malformed raises
``MalformedError``, which the callers turn into an :class:`InputError` that names the file.
"""

_LIMIT = 1 << 64


class MalformedError(ValueError):
    """Bytes that are not what their format says; the text says what was found."""


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned 64-bit integer at ``position`` of ``data``, and the position after it."""
    value = shift = 0
    for index in range(position, min(position + 10, len(data))):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            # One number has one spelling, so that no changed byte goes unnoticed.
            if value >= _LIMIT or (byte == 0 and shift):
                break
            return value, index + 1
        shift += 7
    raise MalformedError(f"a bad variable-length integer at byte {position}")


def write_varint(value: int) -> bytes:
    """The bytes of ``value``, which must be at least 0 and less than 2**64."""
    if not 0 <= value < _LIMIT:
        raise ValueError(f"{value} is not an unsigned 64-bit integer")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
