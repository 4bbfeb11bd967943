"""What reading a mesh file through trimesh takes beside trimesh: files come from strangers.

It believes a header's counts, takes a file that was cut short for a smaller mesh, and raises
whatever breaks. So counts are looked at before it reads and once more after.
"""

import io
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inputs.files import MEBIBYTE, Float32, Int64, shown
from weight_conversion.errors import InputError

MOST = 500_000
"""Rows of a file, at most: of each kind."""

LIMIT = 32 * MEBIBYTE
"""Bytes of a file, at most."""

_MOST_LINES = 3 * MOST
_MOST_DIGITS = 4  # of a polygon's number of corners
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where Python's splitlines() splits

Arrays = tuple[Float32, Float32 | None, Int64]
"""Vertices (V, 3), their normals (V, 3) where the file has them, triangles (F, 3)."""

# What trimesh has to say is said in the one error; without a handler it goes to stderr.
logging.getLogger("trimesh").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Element:
    """Rows of one kind: how many a header claims, and for each value whether it is a list."""

    name: str
    count: int
    lists: list[bool] = field(default_factory=list)


def claims(elements: Sequence[Element]) -> str:
    """What a header claims, in words."""
    return ", ".join(f"{each.count} {each.name}" for each in elements)


def read_with(
    path: Path, content: bytes, read: Callable[[Any], dict[str, Any]], expected: str
) -> dict[str, Any]:
    """What trimesh's ``read`` makes of a file; whatever breaks becomes the one error.

    Raises:
        InputError: it breaks.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            # NumPy's of numbers that end too early.
            warnings.simplefilter("error", DeprecationWarning)
            return read(io.BytesIO(content))
    except Exception as error:  # a damaged file breaks it in every way
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(path, f"trimesh cannot read it: {shown(reason, 80)}", expected) from error


def text_of(path: Path, content: bytes, expected: str) -> str:
    """The text of a file.

    Raises:
        InputError: it is none, or has far too many lines.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not text (byte {error.start})", expected) from error
    lines = sum(text.count(end) for end in _LINE_ENDS)
    if lines > _MOST_LINES:
        raise InputError(path, f"has {lines:,} lines", f"{expected} of {_MOST_LINES:,} at most")
    return text


def count_of(path: Path, what: str, claimed: str) -> int:
    """A count that a header claims.

    Raises:
        InputError: it is no number, or one that nobody can mean.
    """
    digits = claimed.isascii() and claimed.isdigit() and len(claimed) < 19
    if not digits or int(claimed) > MOST:
        raise InputError(path, f"its header says {what}: {shown(claimed)}", f"{MOST:,} at most")
    return int(claimed)


def length_of(words: Sequence[str], at: int, least: int) -> int:
    """The length of a list that begins at a word; more than there is where it is none."""
    word = words[at] if at < len(words) else ""
    plain = word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS
    return int(word) if plain and int(word) >= least else len(words)


def triangles_of(path: Path, faces: npt.ArrayLike | None, vertices: int) -> Int64:
    """Polygons of one size as triangles (F, 3), each a fan around its first corner, in order.

    Raises:
        InputError: a polygon refers to other vertices than the mesh has.
    """
    polygons = np.asarray([] if faces is None else faces)
    if not polygons.size:
        return np.empty((0, 3), np.int64)
    if polygons.ndim != 2 or polygons.shape[1] < 3 or polygons.dtype.kind not in "iu":
        raise InputError(path, f"faces of shape {polygons.shape}", "three or more vertices a face")
    wrong = np.flatnonzero(((polygons < 0) | (polygons >= vertices)).any(axis=1))
    if len(wrong):
        raise InputError(
            f"{path}, face {wrong[0]}", shown(polygons[wrong[0]].tolist()),
            f"vertices from 0 to {vertices - 1}",
        )  # fmt: skip
    sides = polygons[:, 1:-1], polygons[:, 2:]
    count_of(path, "triangles", str(sides[0].size))
    fan = np.stack([np.broadcast_to(polygons[:, :1], sides[0].shape), *sides], axis=2)
    return fan.reshape(-1, 3).astype(np.int64)
