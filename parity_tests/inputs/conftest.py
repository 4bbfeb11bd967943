"""Items and Python 2 pickles made from scratch, so that each test can spoil its own."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROW = "{} 27.5 0 0.8 25"


@pytest.fixture
def item(tmp_path: Path) -> Path:
    """A sound item in ShapeNet's layout: eight views of noise, cameras around it."""
    random = np.random.default_rng(0)
    rendering = tmp_path / "item" / "rendering"
    rendering.mkdir(parents=True)
    for view in range(8):
        pixels = random.integers(0, 256, (137, 137, 4), dtype=np.uint8)
        pixels[:20, :, 3] = 0
        assert cv2.imwrite(str(rendering / f"{view:02d}.png"), pixels)
    rows = [ROW.format(45 * view) for view in range(8)]
    (rendering / "rendering_metadata.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "item"


def python2(value: Any) -> bytes:
    """The opcodes with which Python 2's protocol 2 writes a value (str is bytes there)."""
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"K" + bytes([value]) if 0 <= value < 256 else b"J" + struct.pack("<i", value)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, bytes):
        if len(value) < 256:
            return b"U" + bytes([len(value)]) + value
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(python2, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        pairs = b"".join(python2(key) + python2(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    assert isinstance(value, np.ndarray)
    code, order = value.dtype.str[1:].encode(), value.dtype.str[:1].encode()
    dtype = b"cnumpy\ndtype\n" + python2((code, 0, 1)) + b"R"
    dtype += python2((3, order, None, None, None, -1, -1, 0)) + b"b"
    fortran = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
    raw = value.tobytes(order="F" if fortran else "C")
    blank = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    state = python2(1) + python2(value.shape) + dtype + python2(bool(fortran)) + python2(raw)
    return blank + b"(" + state + b"tb"


@pytest.fixture(scope="session")
def python2_pickle() -> Callable[[Any], bytes]:
    return lambda value: b"\x80\x02" + python2(value) + b"."
