"""Mesh files of every common kind; vertices in the file's order and number.

The network's meshes are read by vertex number, so nothing is merged, reordered or dropped, but in
``.stl``, which has no vertex numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inputs.files import Float32, Int64, float32, read_npy, shown
from inputs.obj import read_obj
from inputs.ply import read_ply
from inputs.stl_off import read_off, read_stl
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

MESH_FILES = ".obj, .ply, .stl, .off or .npy"
"""What a mesh file may be, for help texts and messages."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """What a mesh file holds.

    Attributes:
        vertices: (V, 3) float32, in the file's frame.
        faces: (F, 3) int64, counted from 0; polygons are cut into triangles. None where there are
            none.
        normals: (V, 3) float32, of the vertices; None where the file has none of them.
    """

    vertices: Float32
    faces: Int64 | None = None
    normals: Float32 | None = None


def load_mesh(path: str | Path, vertices: int | None = None) -> Mesh:
    """Read a mesh file.

    Args:
        path: an ``.obj``, ``.ply``, ``.stl`` or ``.off`` file, or an ``.npy`` array of shape
            (V, 3).
        vertices: how many it must have, where that is known.

    Raises:
        InputError: unreadable, damaged, another suffix or shape, no vertices, another number of
            them, coordinates that are not finite in float32, or triangles of other vertices.
    """
    path = Path(path)
    expected = f"a mesh of {vertices} vertices" if vertices else f"a mesh: {MESH_FILES} (V×3)"
    suffix = path.suffix.lower()
    if suffix == ".npy":
        array = read_npy(path, expected)
        if array.ndim != 2 or array.shape[1] != 3:
            raise InputError(path, f"has shape {shown(array.shape)}", expected)
        mesh = Mesh(float32(path, array, expected))
    elif suffix == ".obj":
        points, normals, faces = read_obj(path)
        # Normals that are fewer or more belong to face corners and not to vertices.
        ours = normals if len(normals) == len(points) else None
        mesh = Mesh(points, faces if len(faces) else None, ours)
    elif suffix in _LIBRARY:
        points, given, faces = _LIBRARY[suffix](path)
        mesh = Mesh(points, faces if len(faces) else None, given)
    else:
        raise InputError(path, f"has suffix {path.suffix!r}", expected)
    count = len(mesh.vertices)
    if count == 0 or (vertices is not None and count != vertices):
        raise InputError(path, f"has {count} vertices", expected)
    return mesh


_LIBRARY = {".ply": read_ply, ".stl": read_stl, ".off": read_off}


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
