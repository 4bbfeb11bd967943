"""8-bit RGBA PNG files from strangers.

OpenCV decodes, but only what has been checked: libpng answers a damaged file with messages on
stderr and half a picture, and believes a header that asks for gigabytes. So the file is taken
apart here, its size is held against the header's, and OpenCV gets a fresh PNG of the same pixels
with nothing but the three chunks they need. (Chunks and interlacing: PNG specification, W3C, third
edition, sections 5, 8 and 11.)
"""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from inputs.files import MEBIBYTE, read_bytes
from weight_conversion.errors import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "greyscale", 2: "RGB", 3: "palette", 4: "greyscale and alpha", 6: "RGBA"}
_RGBA = 6
_LAST_FILTER = 4

# First column, first row, column step and row step of the passes of an interlaced image.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def read_rgba(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """A square image with transparency.

    Args:
        path: an 8-bit RGBA PNG file.
        size: width and height that it must have, in pixels.

    Returns:
        (size, size, 4) uint8, blue, green, red, alpha.

    Raises:
        InputError: missing, not a PNG, damaged, of another size, depth or colour type.
    """
    expected = f"an 8-bit RGBA PNG of {size}×{size} pixels"
    try:
        header, compressed = _header_and_data(read_bytes(path, expected, 4 * MEBIBYTE), size)
        scanlines = _scanlines(compressed, _passes(size, interlaced=bool(header[12])))
    except ValueError as error:
        raise InputError(path, str(error), expected) from error
    clean = (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(scanlines, 1))
        + _chunk(b"IEND", b"")
    )
    image = cv2.imdecode(np.frombuffer(clean, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != (size, size, 4) or image.dtype != np.uint8:
        raise InputError(path, "OpenCV cannot decode it", expected)
    return image.astype(np.uint8, copy=False)


def _header_and_data(content: bytes, size: int) -> tuple[bytes, bytes]:
    """The 13 bytes of IHDR, checked, and the compressed image data."""
    if not content.startswith(_SIGNATURE):
        raise ValueError("is not a PNG")
    header, data, position = b"", [], len(_SIGNATURE)
    while True:
        if position + 12 > len(content):
            raise ValueError("the PNG is truncated")
        length = int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        body = content[position + 8 : position + 8 + length]
        checksum = content[position + 8 + length : position + 12 + length]
        if len(body) != length or len(checksum) != 4:
            raise ValueError("the PNG is truncated")
        # A lower-case first letter marks what a decoder may skip: profiles, texts, animations.
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(kind + body) != int.from_bytes(checksum, "big"):
            raise ValueError(f"the PNG is damaged (checksum of {kind!r})")
        if not header and kind != b"IHDR":
            raise ValueError("the PNG is damaged (it does not begin with its header)")
        if kind == b"IHDR":
            if header:
                raise ValueError("the PNG is damaged (it has two headers)")
            _check_header(body, size)
            header = body
        elif kind == b"IDAT":
            data.append(body)
        elif kind == b"IEND":
            return header, b"".join(data)
        elif critical and kind != b"PLTE":
            raise ValueError(f"the PNG is damaged (unknown chunk {kind!r})")
        position += 12 + length


def _check_header(body: bytes, size: int) -> None:
    if len(body) != 13:
        raise ValueError("the PNG is damaged (size of its header)")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    if (depth, colour) != (8, _RGBA):
        name = _COLOUR_TYPES.get(colour, f"unknown (colour type {colour})")
        raise ValueError(f"its pixels are {depth}-bit {name}")
    if (width, height) != (size, size):
        raise ValueError(f"has {width}×{height} pixels")
    if compression or filtering or interlace > 1:
        raise ValueError("the PNG is damaged (unknown compression, filter or interlace method)")


def _passes(size: int, interlaced: bool) -> list[tuple[int, int]]:
    """Width and height of each pass of a square image."""
    if not interlaced:
        return [(size, size)]
    sizes = [(-(-(size - x) // dx), -(-(size - y) // dy)) for x, y, dx, dy in _ADAM7]
    return [(width, height) for width, height in sizes if width > 0 and height > 0]


def _scanlines(compressed: bytes, passes: list[tuple[int, int]]) -> bytes:
    """The filtered rows of all passes, each a filter number and 4 bytes a pixel."""
    expected = sum(height * (1 + 4 * width) for width, height in passes)
    stream = zlib.decompressobj()
    try:
        # Never more than a byte above what the header allows: a few can expand to gigabytes.
        content = stream.decompress(compressed, expected + 1)
        content += stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ValueError("the PNG is damaged (compressed data)") from error
    if len(content) > expected:
        raise ValueError("the PNG is damaged (more image data than its size allows)")
    if len(content) < expected or not stream.eof:
        raise ValueError("the PNG is truncated (image data)")
    position = 0
    for width, height in passes:
        stride = 1 + 4 * width
        if max(content[position : position + height * stride : stride]) > _LAST_FILTER:
            raise ValueError("the PNG is damaged (unknown row filter)")
        position += height * stride
    return content


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return len(body).to_bytes(4, "big") + kind + body + checksum.to_bytes(4, "big")
