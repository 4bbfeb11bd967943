"""The PNG reader: the same pixels as OpenCV for sound files, one silent error for all others."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from inputs.png import read_rgba
from weight_conversion.errors import InputError

PIXELS = np.random.default_rng(3).integers(0, 256, (137, 137, 4), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"

# One pass per group of pixels: first column, first row, column step, row step.
PASSES = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: np.ndarray, depth: int = 8, colour: int = 6) -> bytes:
    """Unfiltered rows of any announced depth and colour type."""
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    height, width = pixels.shape[:2]
    return with_data(zlib.compress(rows), header(width, height, depth, colour, 0, 0, 0))


def header(width: int = 137, height: int = 137, *rest: int) -> bytes:
    return struct.pack(">IIBBBBB", width, height, *(rest or (8, 6, 0, 0, 0)))


def with_data(data: bytes, head: bytes | None = None) -> bytes:
    parts = [(b"IHDR", head or header()), (b"IDAT", data), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def interlaced() -> bytes:
    rows = b"".join(
        b"\0" + row.tobytes() for x, y, dx, dy in PASSES for row in PIXELS[y::dy, x::dx]
    )
    return with_data(zlib.compress(rows), header(137, 137, 8, 6, 0, 0, 1))


@pytest.mark.parametrize("level", [0, 1, 9])
def test_reads_what_opencv_wrote(tmp_path: Path, level: int) -> None:
    path = tmp_path / "a.png"
    assert cv2.imwrite(str(path), PIXELS, [cv2.IMWRITE_PNG_COMPRESSION, level])
    np.testing.assert_array_equal(read_rgba(path, 137), PIXELS)


def test_reads_interlaced_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(interlaced())
    np.testing.assert_array_equal(read_rgba(path, 137)[..., [2, 1, 0, 3]], PIXELS)


def test_ignores_what_is_not_needed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # A broken colour profile and text: libpng would say so on stderr.
    content = png(PIXELS)
    extra = chunk(b"iCCP", b"nonsense") + chunk(b"tEXt", b"x")[:-1] + b"?"
    path = tmp_path / "a.png"
    path.write_bytes(content[:33] + extra + content[33:])
    np.testing.assert_array_equal(read_rgba(path, 137)[..., [2, 1, 0, 3]], PIXELS)
    assert capfd.readouterr() == ("", "")


SOUND = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"not an image\n", "is not a PNG"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(200), "is not a PNG"),
    "signature-only": (SIGNATURE, "is truncated"),
    "half": (png(PIXELS)[:9000], "is truncated"),
    "no-end": (png(PIXELS)[:-12], "is truncated"),
    "data-cut": (with_data(SOUND[:-900]), "truncated (image data)"),
    "checksum-cut": (with_data(SOUND[:-2]), "truncated (image data)"),
    "flipped-bit": (
        png(PIXELS)[:5000] + b"\xa5\x5a" + png(PIXELS)[5002:],
        "checksum of b'IDAT'",
    ),
    "bad-deflate": (with_data(b"\x78\x9cgarbage"), "compressed data"),
    "no-data": (with_data(b""), "truncated (image data)"),
    "bomb": (
        with_data(zlib.compress(bytes(200_000_000), 1)),
        "more image data than its size allows",
    ),
    "bad-filter": (
        with_data(zlib.compress(b"\x09" + bytes(137 * 549 - 1))),
        "unknown row filter",
    ),
    "huge": (
        with_data(SOUND, header(2**31 - 1, 2**31 - 1)),
        "has 2147483647×2147483647 pixels",
    ),
    "zero": (with_data(SOUND, header(0, 137)), "has 0×137 pixels"),
    "other-size": (png(PIXELS[:136]), "has 137×136 pixels"),
    "rgb": (
        png(PIXELS[..., :3], colour=2),
        "its pixels are 8-bit RGB; expected an 8-bit RGBA PNG of 137×137",
    ),
    "grey": (png(PIXELS[..., 0], colour=0), "8-bit greyscale;"),
    "grey-alpha": (png(PIXELS[..., :2], colour=4), "greyscale and alpha"),
    "palette": (png(PIXELS[..., 0], colour=3), "8-bit palette"),
    "16-bit": (png(PIXELS.astype(">u2"), depth=16), "16-bit RGBA"),
    "unknown-colour": (png(PIXELS, colour=9), "unknown (colour type 9)"),
    "no-header": (SIGNATURE + chunk(b"IEND", b""), "begin with its header"),
    "short-header": (
        SIGNATURE + chunk(b"IHDR", b"\0\0"),
        "size of its header",
    ),
    "two-headers": (
        SIGNATURE + 2 * chunk(b"IHDR", header()),
        "two headers",
    ),
    "unknown-critical": (
        SIGNATURE + chunk(b"IHDR", header()) + chunk(b"ABCD", b""),
        "unknown chunk b'ABCD'",
    ),
    "unknown-method": (
        with_data(SOUND, header(137, 137, 8, 6, 1, 0, 0)),
        "unknown compression",
    ),
    "absurd-length": (
        SIGNATURE + b"\xff\xff\xff\xffIHDR" + bytes(40),
        "is truncated",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses(
    name: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "00.png"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_rgba(path, 137)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_refuses_any_cut_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content, path = png(np.zeros((137, 137, 4), np.uint8)), tmp_path / "a.png"
    accepted = []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            read_rgba(path, 137)
        except InputError:
            continue
        accepted.append(length)
    assert accepted == []
    assert capfd.readouterr() == ("", "")
