"""Wavefront ``.obj``, read here because vertices and triangles are known by their numbers.

Of the libraries that read the format (trimesh 5.2, VTK 9.7, meshio 5.3, libigl 2.6) none keeps
them: VTK makes a vertex of every corner where the file has normals; trimesh counts negative
numbers from the end of the file and not from their line, and sorts triangles by material; meshio
and libigl refuse continued lines and take numbers that are out of range.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from inputs.files import Float32, Int64, check_numbers, float32, read_bytes, shown
from inputs.mesh_library import LIMIT, MOST, text_of
from weight_conversion.errors import InputError

_LONGEST_LINE = 1_000_000  # characters, and words where it is continued

_POSITION = "v x y z"
# x y z; with a weight; with a colour; with both.
_POSITION_LENGTHS = (3, 4, 6, 7)

# "7/2/9" is vertex 7 with texture and normal numbers; a negative one counts back from its line.
_CORNER = re.compile(r"(-?[0-9]{1,9})(?:/(?:-?[0-9]{1,9})?){0,2}")


@dataclass
class _Lines:
    """What the lines of a file say."""

    positions: list[list[str]] = field(default_factory=list)
    normals: list[list[str]] = field(default_factory=list)
    triangles: list[tuple[int, int, int]] = field(default_factory=list)


def read_obj(path: Path) -> tuple[Float32, Float32, Int64]:
    """The vertices, normals and triangles of a file, in its order.

    Negative numbers, continued lines and polygons are taken; a polygon becomes a fan of triangles
    around its first corner.

    Returns:
        (V, 3), (N, 3), (F, 3), triangles counted from 0; each may be empty.

    Raises:
        InputError: unreadable, a line that does not hold the numbers it should, or a face that
            refers to no vertex of the file.
    """
    found = _read(path, None)
    vertices, normals = (
        float32(path, np.array(rows, dtype=np.float64).reshape(-1, 3), expected)
        for rows, expected in ((found.positions, _POSITION), (found.normals, "vn x y z"))
    )
    return vertices, normals, np.array(found.triangles, dtype=np.int64).reshape(-1, 3)


def obj_triangles(path: Path, vertices: int) -> Int64:
    """The triangles of an ``.obj`` file whose vertices are elsewhere, as in ``face1.obj``.

    Args:
        path: the file.
        vertices: how many vertices the triangles may refer to.

    Returns:
        (F, 3) int64, counted from 0.

    Raises:
        InputError: see ``read_obj``; no faces, or a face that is no triangle.
    """
    found = _read(path, vertices)
    if not found.triangles:
        raise InputError(path, "has no faces", f"f a b c, vertices from 1 to {vertices}")
    return np.array(found.triangles, dtype=np.int64)


def _read(path: Path, elsewhere: int | None) -> _Lines:
    """The file's lines; ``elsewhere`` is the number of vertices that another file has."""
    found = _Lines()
    greatest, at = 0, 0
    for number, keyword, values in _logical_lines(path):
        where = f"{path}, line {number}"
        if keyword == "f":
            corners = _corners(where, values, len(found.positions), elsewhere)
            if max(corners) > greatest:
                greatest, at = max(corners), number
            first = corners[0] - 1
            found.triangles += [(first, b - 1, c - 1) for b, c in pairwise(corners[1:])]
        elif keyword in ("v", "vn"):
            lengths, expected = (
                (_POSITION_LENGTHS, _POSITION) if keyword == "v" else ((3,), "vn x y z")
            )
            if len(values) not in lengths:
                raise InputError(where, f"{len(values)} values", expected)
            check_numbers(where, values[:3], expected)
            (found.positions if keyword == "v" else found.normals).append(values[:3])
        most = max(map(len, vars(found).values()))
        if most > MOST:
            raise InputError(where, "one row too many", f"{MOST:,} vertices or triangles at most")
    # A face may stand before its vertices.
    count = len(found.positions) if elsewhere is None else elsewhere
    if greatest > count:
        raise InputError(f"{path}, line {at}", f"a face of vertex {greatest}", _numbers(count))
    return found


def _corners(where: str, values: list[str], so_far: int, elsewhere: int | None) -> list[int]:
    """The vertices of a face, counted from 1."""
    expected = _numbers(so_far if elsewhere is None else elsewhere)
    matches = [_CORNER.fullmatch(value) for value in values]
    if len(matches) < 3 or (elsewhere is not None and len(matches) != 3) or None in matches:
        corners = "three" if elsewhere is not None else "three or more"
        raise InputError(where, f"face {shown(' '.join(values))}", f"{corners} of {expected}")
    numbers = [int(match[1]) for match in matches if match is not None]
    found = [so_far + 1 + each if each < 0 else each for each in numbers]
    if min(found) < 1:
        raise InputError(where, f"face {shown(' '.join(values))}", expected)
    return found


def _numbers(count: int) -> str:
    return f"vertices from 1 to {count}" if count else "vertices, of which there are none"


def _logical_lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Number, keyword and values of each line; one that ends in a backslash goes on in the next."""
    expected = "a Wavefront .obj file"
    text = text_of(path, read_bytes(path, expected, LIMIT), expected)
    begun = 0
    words: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) + len(words) > _LONGEST_LINE:
            raise InputError(f"{path}, line {number}", "a line without end", expected)
        # A comment may end in a backslash, as folders of Windows do, and does not go on.
        content = line.partition("#")[0].rstrip()
        goes_on = content.endswith("\\")
        words += content.removesuffix("\\").split()
        begun = begun or number
        if not goes_on:
            if words:
                yield begun, words[0], words[1:]
            begun, words = 0, []
    if words:
        raise InputError(f"{path}, line {begun}", "goes on after the file's end", "a whole line")
