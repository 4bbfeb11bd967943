"""``.ply`` files, ASCII and binary in either byte order, read by trimesh.

Rows that are cut it takes for shorter ones, and in a binary file all polygons for as large as the
first, so that both are looked for here.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inputs.files import float32, read_bytes, shown
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

_HEADER = re.compile(rb"ply[ \t]*\r?\n(?:[^\n]*\n){0,999}?end_header[ \t]*\r?\n")
_FORMAT = re.compile(rb"^format[ \t]+(ascii|binary_little_endian|binary_big_endian)[ \t]", re.M)


def read_ply(path: Path) -> Arrays:
    """A ``.ply`` file; vertices in its order and number.

    Raises:
        InputError: unreadable, damaged, or its header claims more than there is.
    """
    expected = "a .ply mesh"
    content = read_bytes(path, expected, LIMIT)
    header = _HEADER.match(content)
    kind = header and _FORMAT.search(header[0])
    if header is None or kind is None or content.find(b"end_header") < header[0].rfind(b"end_head"):
        raise InputError(path, "has no header of a .ply file", expected)
    elements = _elements(path, header[0].decode("latin-1").splitlines())
    body = content[header.end() :]
    if kind[1] == b"ascii":
        _check_rows(path, text_of(path, body, expected).splitlines(), elements)
    else:
        expected += ": whole rows, and faces of one size where it is binary (ASCII takes any)"
        if sum(element.count for element in elements) > len(body):
            said = f"its header says {claims(elements)} but {len(body)} bytes follow"
            raise InputError(path, said, expected)
    from trimesh.exchange.ply import load_ply

    # Of an element with this name trimesh makes paths, which takes minutes.
    content = re.sub(rb"(?m)^element[ \t]+edge\b", b"element line", header[0]) + body
    found = read_with(path, content, lambda stream: load_ply(stream, fix_texture=False), expected)
    rows = found["metadata"]["_ply_raw"]
    for element in elements:
        _check_read(path, rows.get(element.name), element, expected)
    points = np.asarray(found.get("vertices", np.empty((0, 3))))
    if points.dtype.kind not in "fiu":
        raise InputError(path, "the vertices are no numbers", expected)
    normals = found.get("vertex_normals")
    return (
        float32(path, points, f"{expected} with finite vertices"),
        None if normals is None else float32(path, normals, f"{expected} with finite normals"),
        triangles_of(path, found.get("faces"), len(points)),
    )


def _elements(path: Path, header: Sequence[str]) -> list[Element]:
    found: list[Element] = []
    for number, line in enumerate(header, start=1):
        words = line.split()
        if words[:1] == ["element"] and len(words) == 3:
            found.append(Element(words[1], count_of(path, f"element {words[1]}", words[2])))
        elif words[:1] == ["property"] and found and len(words) in (3, 5):
            found[-1].lists.append(len(words) == 5)
        elif words[:1] in (["element"], ["property"]):
            raise InputError(
                f"{path}, line {number}", shown(line), "element NAME COUNT, property …"
            )
    return found


def _check_rows(path: Path, lines: Sequence[str], elements: Sequence[Element]) -> None:
    """Refuse an ASCII ``.ply`` whose rows are fewer than its header says, or cut."""
    if len(lines) < sum(element.count for element in elements):
        said = f"its header says {claims(elements)}, and {len(lines)} lines follow"
        raise InputError(path, said, "a line for each")
    start = 0
    for element in elements:
        least = 3 if element.name == "face" else 0
        for number, line in enumerate(lines[start : start + element.count]):
            words, at = line.split(), 0
            for is_list in element.lists:
                at += 1 + (length_of(words, at, least) if is_list else 0)
            if at != len(words):
                expected = f"a row of {len(element.lists)} values"
                if any(element.lists):
                    expected += ", lists with their length before them, faces of 3 or more"
                raise InputError(f"{path}, {element.name} {number}", shown(line), expected)
        start += element.count


def _check_read(path: Path, read: Any, element: Element, expected: str) -> None:
    """Hold what was read of one kind of a ``.ply`` file's rows against the header."""
    data = None if read is None else read.get("data")
    if element.count == 0 or (data is None and element.name not in ("vertex", "face")):
        return
    columns = data if isinstance(data, dict) else {}
    if isinstance(data, np.ndarray):
        columns = {column: data[column] for column in data.dtype.names or ()}
    if not columns or any(len(column) != element.count for column in columns.values()):
        found = f"not all of its {element.count} rows of {element.name} can be read"
        raise InputError(path, found, expected)
    for column in columns.values():
        kinds = column.dtype.names
        if kinds and "f1" in kinds and (column["f0"] != column["f1"].shape[1]).any():
            raise InputError(path, "its faces have different numbers of vertices", expected)
