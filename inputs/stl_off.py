"""``.stl`` files, read by trimesh, and ``.off`` files.

trimesh takes an ``.off`` file that was cut short for a smaller mesh, sorts its polygons by size and
breaks at those of five corners; a line a vertex and a line a polygon are read here.
"""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from inputs.files import check_numbers, float32, read_bytes, shown
from inputs.mesh_library import (
    LIMIT,
    Arrays,
    Element,
    claims,
    count_of,
    length_of,
    read_with,
    text_of,
    triangles_of,
)
from weight_conversion.errors import InputError

_MOST_SOLIDS = 1000  # trimesh looks for a free name for each, from the first on
_STL_HEADER, _STL_TRIANGLE = 84, 50  # bytes
_OFF = re.compile(r"\s*[A-Za-z0-9]{0,4}OFF\s*(\S+)\s+(\S+)")


def read_stl(path: Path) -> Arrays:
    """An ``.stl`` file, ASCII or binary.

    The format repeats a vertex in every triangle; those of the same position are one vertex here,
    numbered in the order of first use.

    Raises:
        InputError: unreadable, damaged, or without triangles.
    """
    expected = "an .stl mesh"
    content = read_bytes(path, expected, LIMIT)
    size = len(content)
    claimed = int.from_bytes(content[80:84], "little") if size >= _STL_HEADER else 0
    binary = size == _STL_HEADER + _STL_TRIANGLE * claimed
    vertices = 3 * claimed
    if not binary:
        if not re.match(rb"\s*solid\b", content, re.I) or b"\0" in content:
            found = f"has {size} bytes"
            if size >= _STL_HEADER:
                found = f"its header says {claimed} triangles but {size - _STL_HEADER} bytes follow"
            raise InputError(path, found, "text, or 84 bytes and 50 for each triangle")
        text = text_of(path, content, expected)
        vertices = _check_solids(path, text)
    count_of(path, "triangles", str(vertices // 3))
    from trimesh.exchange.stl import load_stl

    read = read_with(path, content, load_stl, expected)
    solids = list(read["geometry"].values()) if "geometry" in read else [read]
    corners = float32(
        path,
        np.concatenate([np.empty((0, 3)), *(solid["vertices"] for solid in solids)]),
        f"{expected} with finite vertices",
    )
    if len(corners) != vertices:
        raise InputError(path, f"has {vertices} lines of vertices, {len(corners)} readable", "all")
    if not len(corners):
        raise InputError(path, "has no triangles", expected)
    # Adding 0 makes -0 the number that it equals.
    points, first, number = np.unique(corners + 0.0, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return points[order].astype(np.float32), None, place[number.ravel()].reshape(-1, 3)


def _check_solids(path: Path, text: str) -> int:
    """How many vertices the lines of an ASCII ``.stl`` file have.

    Raises:
        InputError: a solid does not end, or triangles are not of three vertices.
    """
    found = {
        word: len(re.findall(rf"^[ \t]*{word}\b", text, re.M | re.I))
        for word in ("solid", "endsolid", "facet", "endfacet", "vertex")
    }
    if not found["solid"] == found["endsolid"] <= _MOST_SOLIDS:
        said = f"{found['solid']} solids begin, {found['endsolid']} end"
        raise InputError(path, said, f"as many, and {_MOST_SOLIDS} at most")
    if not 3 * found["facet"] == 3 * found["endfacet"] == found["vertex"]:
        raise InputError(
            path,
            f"{found['facet']} facets begin, {found['endfacet']} end, {found['vertex']} vertices",
            "three vertices a facet",
        )
    return found["vertex"]


def read_off(path: Path) -> Arrays:
    """An ``.off`` file (text); colours are skipped, vertices keep their order and number.

    Raises:
        InputError: unreadable, damaged, or its header claims more than there is.
    """
    expected = "an .off mesh"
    text = text_of(path, read_bytes(path, expected, LIMIT), expected)
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    header = _OFF.match("\n".join(lines[:2]))
    if header is None:
        raise InputError(path, "does not begin with OFF and its counts", expected)
    points, faces = (
        Element(name, count_of(path, name, count))
        for name, count in (("vertices", header[1]), ("faces", header[2]))
    )
    rows = lines[1 if len(lines[0].split()) > 1 else 2 :]
    if len(rows) < points.count + faces.count:
        said = f"its header says {claims([points, faces])} but {len(rows)} lines follow"
        raise InputError(path, said, expected)
    positions, fans = [], []
    for number, row in enumerate(rows[: points.count]):
        values = row.split()[:3]
        if len(values) < 3:
            raise InputError(f"{path}, vertex {number}", shown(row), "x y z")
        check_numbers(f"{path}, vertex {number}", values, "x y z")
        positions.append(values)
    for number, row in enumerate(rows[points.count : points.count + faces.count]):
        words = row.split()
        corners = words[1 : 1 + length_of(words, 0, 3)]
        if len(corners) < length_of(words, 0, 3) or not all(map(_is_number, corners)):
            expected = "how many vertices it has, 3 or more, and their numbers"
            raise InputError(f"{path}, face {number}", shown(row), expected)
        first, *others = map(int, corners)
        fans += [(first, b, c) for b, c in pairwise(others)]
        count_of(path, "triangles", str(len(fans)))
    vertices = float32(path, np.array(positions, np.float64).reshape(-1, 3), expected)
    return vertices, None, triangles_of(path, np.array(fans, np.int64), len(vertices))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10
