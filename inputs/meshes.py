"""Mesh files: Wavefront ``.obj`` and ``.npy``, vertices in the file's order and number.

General mesh libraries merge, reorder or drop vertices when they load; the network's meshes are
read by vertex number, so these readers do nothing of the kind.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from inputs.files import Float32, Int64, check_numbers, float32, read_npy, read_text, shown
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

_POSITION = "v x y z"
# x y z; with a weight; with a colour; with both.
_POSITION_LENGTHS = (3, 4, 6, 7)


def load_mesh(path: str | Path, vertices: int | None = None) -> Float32:
    """The vertices of a mesh file.

    Args:
        path: an ``.obj``, or an ``.npy`` array of shape (V, 3).
        vertices: how many it must have, where that is known.

    Returns:
        (V, 3) float32, in the file's frame.

    Raises:
        InputError: unreadable, another suffix or shape, no vertices, another number of them, or
            coordinates that are not finite in float32.
    """
    path = Path(path)
    expected = f"a mesh of {vertices} vertices" if vertices else "a mesh: .obj, or .npy of V×3"
    if path.suffix.lower() == ".obj":
        points = obj_vectors(path, "v")
    elif path.suffix.lower() == ".npy":
        array = read_npy(path, expected)
        if array.ndim != 2 or array.shape[1] != 3:
            raise InputError(path, f"has shape {shown(array.shape)}", expected)
        points = float32(path, array, expected)
    else:
        raise InputError(path, f"has suffix {path.suffix!r}", expected)
    if len(points) == 0 or (vertices is not None and len(points) != vertices):
        raise InputError(path, f"has {len(points)} vertices", expected)
    return points


def obj_vectors(path: Path, keyword: str) -> Float32:
    """All vectors of one kind of an ``.obj`` file, in order.

    Args:
        path: the file.
        keyword: ``v`` for positions, ``vn`` for normals.

    Returns:
        (N, 3) float32; N is 0 where the file has none.

    Raises:
        InputError: unreadable, or a line that does not hold three finite numbers.
    """
    expected = _POSITION if keyword == "v" else f"{keyword} x y z"
    lengths = _POSITION_LENGTHS if keyword == "v" else (3,)
    rows = []
    for number, values in _obj_lines(path, keyword):
        if len(values) not in lengths:
            raise InputError(f"{path}, line {number}", f"{len(values)} values", expected)
        check_numbers(f"{path}, line {number}", values[:3], expected)
        rows.append(values[:3])
    return float32(path, np.array(rows, dtype=np.float64).reshape(-1, 3), expected)


def obj_triangles(path: Path, vertices: int) -> Int64:
    """The triangles of an ``.obj`` file.

    Args:
        path: the file; its vertices may be elsewhere, as in the official ``face1.obj``.
        vertices: how many vertices the triangles may refer to.

    Returns:
        (F, 3) int64, counted from 0.

    Raises:
        InputError: unreadable, no faces, a face that is no triangle or refers to other vertices.
    """
    expected = f"f a b c, vertices from 1 to {vertices}"
    rows = []
    for number, values in _obj_lines(path, "f"):
        # "7/2/9" is vertex 7 with texture and normal numbers.
        corners = [value.partition("/")[0] for value in values]
        if len(corners) != 3 or not all(
            corner.isascii() and corner.isdigit() and len(corner) < 10 for corner in corners
        ):
            found = shown(" ".join(values))
            raise InputError(f"{path}, line {number}", f"face {found}", expected)
        rows.append([int(corner) for corner in corners])
        if not 1 <= min(rows[-1]) <= max(rows[-1]) <= vertices:
            raise InputError(f"{path}, line {number}", f"face {rows[-1]}", expected)
    if not rows:
        raise InputError(path, "has no faces", expected)
    return np.array(rows, dtype=np.int64) - 1


def save_obj(path: str | Path, vertices: npt.ArrayLike, faces: npt.ArrayLike | None = None) -> None:
    """Write a mesh, replacing an older file only once the new one is whole.

    Numbers have the digits that give the same float32 (nine) or float64 (seventeen) back.

    Args:
        path: the ``.obj`` file.
        vertices: (V, 3).
        faces: (F, 3), counted from 0.

    Raises:
        InputError: the vertices are not V×3 finite numbers, a face is out of range, or the file
            cannot be written.
    """
    path = Path(path)
    points = np.asarray(vertices)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
        raise InputError(path, f"vertices of shape {points.shape}", "V×3 numbers to write")
    if not np.isfinite(points).all():
        raise InputError(path, "vertices that are NaN or infinite", "finite numbers to write")
    digits = 17 if points.dtype == np.float64 else 9
    lines = [f"v {x:.{digits}g} {y:.{digits}g} {z:.{digits}g}" for x, y, z in points.tolist()]
    if faces is not None:
        triangles = np.asarray(faces)
        if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.dtype.kind not in "iu":
            raise InputError(path, f"faces of shape {triangles.shape}", "F×3 indices to write")
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(points):
            raise InputError(path, "faces out of range", f"indices from 0 to {len(points) - 1}")
        lines += [f"f {a} {b} {c}" for a, b, c in (triangles + 1).tolist()]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def _obj_lines(path: Path, keyword: str) -> list[tuple[int, list[str]]]:
    """Line numbers and values of the lines that begin with a keyword."""
    lines = []
    for number, line in enumerate(read_text(path, "a Wavefront .obj file").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words and words[0] == keyword:
            lines.append((number, words[1:]))
    return lines
