"""CRC-32C (Castagnoli), masked as TensorFlow and LevelDB store it.

A checksum that is stored beside the data it covers is rotated and offset first, because the CRC
of data that contain their own CRC is degenerate.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MASK_DELTA = 0xA282EAD8
_CHUNK = 1 << 20


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of ``data``, contiguous bytes."""
    # Only where files are read and written: a machine that computes alone may not have it.
    import google_crc32c

    value: int = 0
    # The extension reads only immutable buffers, so that a writable one is copied, by small
    # pieces that stay in the cache.
    for start in range(0, len(data), _CHUNK):
        value = google_crc32c.extend(value, bytes(data[start : start + _CHUNK]))
    return value


def array_crc32c(array: NDArray[Any]) -> int:
    """The checksum of an array's values: of their little-endian bytes in C order."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return crc32c(little.reshape(-1).view(np.uint8).data)


def mask(value: int) -> int:
    """The stored form of a checksum."""
    return (((value >> 15) | (value << 17)) + _MASK_DELTA) & 0xFFFFFFFF
