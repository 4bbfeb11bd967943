"""Mesh files as other programs write them: read to the vertex, or refused in a line."""

import struct
from pathlib import Path

import numpy as np
import pytest

from inputs.ground_truth import load_ground_truth
from inputs.meshes import load_mesh
from inputs.obj import obj_triangles
from weight_conversion.errors import InputError

# One that no triangle uses: a library that tidies up would drop it.
VERTICES = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0.1, 1 / 3, -7.5), (5, 5, 5)], np.float32)
TRIANGLES = np.array([(0, 1, 2), (1, 3, 2)])
POSITIONS = [" ".join(map(repr, row)) for row in VERTICES.astype(float).tolist()]
V = "".join(f"v {row}\n" for row in POSITIONS)

OBJ = {
    "plain": V + "f 1 2 3\nf 2 4 3\n",
    "negative": V + "f -5 -4 -3\nf -4 -2 -3\n",
    "negative-where-it-stands": V[: V.index("v 0.1")] + "f -3 -2 -1\n" + V[V.index("v 0.1") :]
    + "f 2 -2 3\n",
    "continued": V.replace("v 1.0 ", "v 1.0 \\\n") + "f 1 \\\n2 3\nf 2\\\n 4 3\n",
    "comments": "# C:\\models\\\n" + V.replace("\n", " # a vertex\n") + "f 1 2 3 # x\nf 2 4 3\n",
    "textures-and-normals": V + "vt 0 0\nvn 0 0 1\nvn 0 1 0\nf 1/1/1 2/1/2 3//1\nf 2//1 4 3//2\n",
    "negative-textures": V + "vt 0 0\nf -5/-1 -4/-1 -3/-1\nf 2/1 4/1 3/1\n",
    "materials": V + "usemtl b\nf 1 2 3\nusemtl a\nf 2 4 3\n",
    "faces-first": "f 1 2 3\nf 2 4 3\n" + V,
}  # fmt: skip


@pytest.mark.parametrize("name", OBJ)
def test_obj(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.obj").write_text(OBJ[name])
    mesh = load_mesh(tmp_path / "m.obj")
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)


def ply(form: str, vertices: int = 5, faces: int = 2, real: str = "float") -> str:
    lists = "property list uchar int vertex_indices\n"
    columns = "".join(f"property {real} {axis}\n" for axis in "xyz")
    return (
        f"ply\nformat {form} 1.0\ncomment of a test\nelement vertex {vertices}\n{columns}"
        f"element face {faces}\n{lists}end_header\n"
    )


ROWS = "".join(f"{row}\n" for row in POSITIONS)
LISTS = "3 0 1 2\n3 1 3 2\n"
ASCII = (ply("ascii") + ROWS + LISTS).encode()


def binary_ply(order: str, real: str = "f4", faces: tuple[tuple[int, ...], ...] = ()) -> bytes:
    polygons = faces or tuple(map(tuple, TRIANGLES.tolist()))
    form = "binary_little_endian" if order == "<" else "binary_big_endian"
    header = ply(form, faces=len(polygons), real="float" if real == "f4" else "double").encode()
    lists = [bytes([len(each)]) + np.array(each, f"{order}i4").tobytes() for each in polygons]
    return header + VERTICES.astype(order + real).tobytes() + b"".join(lists)


EDGES = "element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header"
PLY = {
    "ascii": ASCII,
    "little": binary_ply("<"),
    "big": binary_ply(">"),
    "doubles": binary_ply(">", "f8"),
    "crlf-header": ASCII.replace(b"\n", b"\r\n"),
    "vertex_index": ASCII.replace(b"vertex_indices", b"vertex_index"),
    "edges": ASCII.replace(b"end_header", EDGES.encode()) + b"0 1\n",
}


@pytest.mark.parametrize("name", PLY)
def test_ply(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(PLY[name])
    mesh = load_mesh(tmp_path / "m.ply")
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)


OFF = {
    "plain": f"OFF\n5 2 0\n{ROWS}{LISTS}",
    "counts-beside": f"OFF 5 2 0\n# of a test\n\n{ROWS}{LISTS}",
    "colours": f"COFF\n5 2 0\n{ROWS}{LISTS}".replace("3 0 1 2", "3 0 1 2 255 0 0"),
}


@pytest.mark.parametrize("name", OFF)
def test_off(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.off").write_text(OFF[name])
    mesh = load_mesh(tmp_path / "m.off")
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)


def binary_stl(corners: np.ndarray, title: bytes = b"") -> bytes:
    facets = [bytes(12) + each.astype("<f4").tobytes() + bytes(2) for each in corners]
    return title.ljust(80) + struct.pack("<I", len(facets)) + b"".join(facets)


def ascii_stl(corners: np.ndarray) -> str:
    lines = ["solid a test"]
    for facet in corners.astype(float).tolist():
        lines += ["facet normal 0 0 1", " outer loop"]
        lines += [f"  vertex {x!r} {y!r} {z!r}" for x, y, z in facet]
        lines += [" endloop", "endfacet"]
    return "\n".join([*lines, "endsolid a test", ""])


CORNERS = VERTICES[TRIANGLES]
STL = {
    "binary": binary_stl(CORNERS),
    "binary-that-says-solid": binary_stl(CORNERS, b"solid"),
    "ascii": ascii_stl(CORNERS).encode(),
    "two-solids": (ascii_stl(CORNERS[:1]) + ascii_stl(CORNERS[1:])).encode(),
    "minus-zero": binary_stl(np.where(CORNERS == 0, np.float32(-0.0), CORNERS)),
}


@pytest.mark.parametrize("name", STL)
def test_stl_is_merged_in_the_order_of_first_use(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.stl").write_bytes(STL[name])
    mesh = load_mesh(tmp_path / "m.stl")
    np.testing.assert_array_equal(mesh.vertices, VERTICES[:4])
    np.testing.assert_array_equal(mesh.faces, TRIANGLES)


POLYGONS = {
    "m.obj": V + "f 1 2 4 3\nf 1 2 4 5 3\n",
    "m.ply": ply("ascii") + ROWS + "4 0 1 3 2\n5 0 1 3 4 2\n",
    "m.off": f"OFF\n5 2 0\n{ROWS}4 0 1 3 2\n5 0 1 3 4 2\n",
}


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_become_triangles(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(POLYGONS[name])
    mesh = load_mesh(tmp_path / name)
    assert mesh.faces is not None
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    found = {tuple(sorted(face)) for face in mesh.faces.tolist()}
    assert found == {(0, 1, 3), (0, 2, 3), (0, 3, 4), (0, 2, 4)}
    assert len(mesh.faces) == 5


def test_quads_of_a_binary_ply_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "m.ply").write_bytes(binary_ply("<", faces=((0, 1, 3, 2), (1, 3, 4, 2))))
    expected = [(0, 1, 3), (0, 3, 2), (1, 3, 4), (1, 4, 2)]
    np.testing.assert_array_equal(load_mesh(tmp_path / "m.ply").faces, expected)


def test_points_with_normals_are_ground_truth(tmp_path: Path) -> None:
    columns = "".join(f"property float {name}\n" for name in ("x", "y", "z", "nx", "ny", "nz"))
    header = f"ply\nformat ascii 1.0\nelement vertex 2\n{columns}end_header\n"
    (tmp_path / "gt.ply").write_text(header + "1 2 3 0 0 1\n4 5 6 0 1 0\n")
    truth = load_ground_truth(tmp_path / "gt.ply", (0, 0, 0, 1, 25))
    np.testing.assert_array_equal(truth.points, [(1, 2, 3), (4, 5, 6)])
    np.testing.assert_array_equal(truth.normals, [(0, 0, 1), (0, 1, 0)])


MIXED = binary_ply("<", faces=((0, 1, 2), (0, 1, 3, 2)))
# As many bytes as three triangles have, which is all that trimesh looks at.
DECEIVING = binary_ply("<", faces=((0, 1, 3, 2), (0, 1, 2), (0, 1, 3, 4, 2)))
SPOILED: dict[str, tuple[str, bytes, str]] = {
    "obj-zero": ("m.obj", f"{V}f 0 1 2\n".encode(), "line 6: face '0 1 2'; expected vertices"),
    "obj-range": ("m.obj", f"{V}f 1 2 6\n".encode(), "line 6: a face of vertex 6"),
    "obj-before": ("m.obj", f"{V}f -6 1 2\n".encode(), "line 6: face '-6 1 2'"),
    "obj-two": ("m.obj", f"{V}f 1 2\n".encode(), "line 6: face '1 2'; expected three or more"),
    "obj-word": ("m.obj", f"{V}f 1 2 x\n".encode(), "line 6: face '1 2 x'"),
    "obj-huge": ("m.obj", f"{V}f 1 2 9999999999999999\n".encode(), "line 6: face"),
    "obj-end": ("m.obj", b"v 1 2 \\\n", "line 1: goes on after the file's end"),
    "obj-line": ("m.obj", b"f" + b" 1" * 600_000, "line 1: a line without end"),
    "obj-lines": ("m.obj", b"\r" * 2_000_000, "has 2,000,000 lines"),
    "ply-header": ("m.ply", b"ply\nformat ascii 1.0\n", "has no header of a .ply file"),
    "ply-cut": ("m.ply", PLY["little"][:-3], "trimesh cannot read it"),
    "ply-longer": ("m.ply", PLY["little"] + b"x", "trimesh cannot read it"),
    "ply-ascii-cut": ("m.ply", ASCII[:-8], "2 face, and 6 lines follow; expected a line for each"),
    "ply-ascii-row": ("m.ply", ASCII[:-3], "face 1: '3 1 3'; expected a row of 1 values, lists"),
    "ply-word": ("m.ply", ASCII.replace(b"5.0 5.0 5.0", b"5.0 5.0 five"), "trimesh cannot read it"),
    "ply-nan": ("m.ply", ASCII.replace(b"-7.5", b"nan"), "values are NaN, infinite or beyond"),
    "ply-range": ("m.ply", ASCII.replace(b"3 1 3 2", b"3 1 5 2"), "face 1: [1, 5, 2]; expected"),
    "ply-negative": ("m.ply", ASCII.replace(b"3 1 3 2", b"3 1 -1 2"), "face 1: [1, -1, 2]"),
    "ply-claim": ("m.ply", ply("ascii", 10**12).encode(), "element vertex: '1000000000000'"),
    "ply-bytes": ("m.ply", ply("binary_little_endian", 400_000).encode(), "but 0 bytes follow"),
    "ply-list": (
        "m.ply",
        PLY["little"].replace(b"uchar int", b"uint int")[:-20] + b"\xff" * 20,
        "trimesh cannot read it",
    ),
    "ply-mixed": ("m.ply", MIXED, "faces of one size where it is binary (ASCII takes any)"),
    "ply-deceiving": ("m.ply", DECEIVING, "its faces have different numbers of vertices"),
    "ply-no-x": ("m.ply", ASCII.replace(b"float x", b"float a"), "trimesh cannot read it"),
    "stl-cut": ("m.stl", STL["binary"][:-1], "says 2 triangles but 99 bytes follow"),
    "stl-claim": ("m.stl", bytes(80) + b"\xff" * 4, "says 4294967295 triangles but 0 bytes"),
    "stl-none": ("m.stl", bytes(84), "has no triangles"),
    "stl-end": ("m.stl", STL["ascii"][:-16], "1 solids begin, 0 end"),
    "stl-facet": ("m.stl", STL["ascii"].replace(b"endfacet", b"", 1), "2 facets begin, 1 end"),
    "stl-short": ("m.stl", STL["ascii"].replace(b"1.0 0.0 0.0", b"1.0 0.0", 1), "trimesh cannot"),
    "stl-nan": ("m.stl", binary_stl(CORNERS * np.float32(np.nan)), "values are NaN"),
    "off-cut": ("m.off", OFF["plain"][:-9].encode(), "5 vertices, 2 faces but 6 lines follow"),
    "off-row": ("m.off", OFF["plain"][:-3].encode(), "face 1: '3 1 3'; expected how many vertices"),
    "off-claim": ("m.off", b"OFF\n999999999999 1 0\n", "vertices: '999999999999'"),
    "off-range": ("m.off", OFF["plain"].replace("1 3 2", "1 9 2").encode(), "face 1: [1, 9, 2]"),
    "off-nan": ("m.off", OFF["plain"].replace("-7.5", "nan").encode(), "vertex 3: 'nan' is not"),
    "off-short": ("m.off", OFF["plain"].replace(" -7.5", "").encode(), "vertex 3: '0.1"),
    "off-word": ("m.off", OFF["plain"].replace("3 1 3 2", "3 1 3 x").encode(), "face 1: '3 1 3 x'"),
    "off-binary": ("m.off", b"OFF BINARY\n\xff\xfe", "is not text"),
    "off-other": ("m.off", b"PK\x03\x04", "does not begin with OFF and its counts"),
    **{f"{kind}-empty": (f"m.{kind}", b"", "is empty") for kind in ("obj", "ply", "stl", "off")},
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file, content, message = SPOILED[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_mesh(tmp_path / file)
    assert str(caught.value).startswith(str(tmp_path / file))
    assert message in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["little", "big", "ascii"])
def test_no_cut_of_a_ply_is_taken_for_a_smaller_mesh(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.ply"
    start = PLY[name].index(b"end_header")
    for length in range(start, len(PLY[name].rstrip())):
        path.write_bytes(PLY[name][:length])
        with pytest.raises(InputError):
            load_mesh(path)


def test_a_template_s_triangles_need_no_vertices(tmp_path: Path) -> None:
    (tmp_path / "face1.obj").write_text("f 1/5/6 2//7 3\n")
    np.testing.assert_array_equal(obj_triangles(tmp_path / "face1.obj", 3), [(0, 1, 2)])
    (tmp_path / "face1.obj").write_text("f 1 2 3 4\n")
    with pytest.raises(InputError, match="expected three of vertices from 1 to 4"):
        obj_triangles(tmp_path / "face1.obj", 4)
    (tmp_path / "face1.obj").write_text("v 1 2 3\n")
    with pytest.raises(InputError, match="has no faces"):
        obj_triangles(tmp_path / "face1.obj", 4)
