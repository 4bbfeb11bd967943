"""The template: the project's own, both official forms, and files that are neither."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inputs.hypotheses import build_hypotheses, load_hypotheses
from inputs.template import Template, build_template, load_template
from network.levels import EDGES, FACES, VERTICES
from parity_tests.inputs.template_check import check_template
from weight_conversion.errors import InputError

OWN = build_template()


def as_dict(template: Template) -> dict[bytes, Any]:
    """The dict form, with the types of the official files."""
    stages = [
        [
            (each.indices.astype(np.int32), each.values.astype(np.float64), each.shape)
            for each in support
        ]
        for support in template.supports
    ]
    hypotheses = build_hypotheses()
    return {
        b"coord": template.coordinates,
        b"stage1": stages[0],
        b"stage2": stages[1],
        b"stage3": stages[2],
        b"pool_idx": list(template.unpooling),
        b"faces": [np.zeros((count, 4), np.int32) for count in EDGES],
        b"lape_idx": [table.astype(np.int64) for table in template.laplace],
        b"faces_triangle": list(template.faces),
        b"sample_coord": hypotheses.offsets.astype(np.float64),
        b"sample_cheb_dense": [each.astype(np.float64) for each in hypotheses.supports],
    }


def as_tuple(template: Template) -> tuple[Any, ...]:
    form = as_dict(template)
    deltas = [np.zeros((count, 3)) for count in VERTICES]
    return (
        form[b"coord"],
        form[b"stage1"],
        form[b"stage2"],
        form[b"stage3"],
        form[b"pool_idx"],
        form[b"faces"],
        deltas,
        form[b"lape_idx"],
    )


def write_faces(folder: Path) -> None:
    for level, faces in enumerate(OWN.faces, start=1):
        lines = [f"f {a} {b} {c}\n" for a, b, c in (faces + 1).tolist()]
        (folder / f"face{level}.obj").write_text("".join(lines))


def assert_same(one: Template, other: Template) -> None:
    def arrays(template: Template) -> list[np.ndarray]:
        return [
            template.coordinates,
            *(array for s in template.supports for m in s for array in (m.indices, m.values)),
            *template.unpooling,
            *template.laplace,
            *template.faces,
        ]

    for a, b in zip(arrays(one), arrays(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


class TestOwn:
    def test_is_sound(self) -> None:
        assert check_template(OWN) == ()

    def test_is_the_same_every_time(self) -> None:
        assert_same(OWN, build_template())

    @pytest.mark.parametrize("level", range(3))
    def test_shapes_and_types(self, level: int) -> None:
        identity, scaled = OWN.supports[level]
        assert OWN.coordinates.dtype == identity.values.dtype == scaled.values.dtype == np.float32
        assert identity.indices.dtype == scaled.indices.dtype == np.int64
        assert scaled.indices.shape == (VERTICES[level] + 2 * EDGES[level], 2)
        assert OWN.laplace[level].dtype == np.int32
        assert OWN.faces[level].dtype == np.int64
        assert OWN.faces[level].shape == (FACES[level], 3)
        # Row by row, as in the official file.
        order = np.lexsort(scaled.indices.T[::-1])
        np.testing.assert_array_equal(order, np.arange(len(order)))

    def test_is_an_even_ellipsoid_before_the_first_view(self) -> None:
        unit = (OWN.coordinates - np.array([0, 0, -0.8])) / np.array([0.28, 0.2, 0.2])
        np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-5)
        pairs = OWN.unpooling[0]
        lengths = np.linalg.norm(unit[pairs[:, 0]] - unit[pairs[:, 1]], axis=1)
        assert lengths.max() / lengths.min() < 2.0

    def test_no_vertex_has_more_neighbours_than_the_table_has_columns(self) -> None:
        assert max(table[:, -1].max() for table in OWN.laplace) <= 7


class TestOfficial:
    def test_is_sound_but_for_its_winding(self, official: Path) -> None:
        template = load_template(official / "template" / "info_ellipsoid.dat")
        assert check_template(template) == (
            "level 2: faces are wound inconsistently",
            "level 3: faces are wound inconsistently",
        )

    def test_has_the_place_and_size_of_the_own_one(self, official: Path) -> None:
        template = load_template(official / "template" / "info_ellipsoid.dat")
        for end in (np.min, np.max):
            one, other = end(template.coordinates, axis=0), end(OWN.coordinates, axis=0)
            np.testing.assert_allclose(one, other, atol=0.01)
        assert template.name == "info_ellipsoid.dat"

    def test_holds_no_hypotheses(self, official: Path) -> None:
        with pytest.raises(InputError, match="holds a tuple, no hypotheses"):
            load_hypotheses(official / "template" / "info_ellipsoid.dat")


def test_reads_the_dict_form(tmp_path: Path, python2_pickle: Callable[[Any], bytes]) -> None:
    path = tmp_path / "iccv_p2mpp.dat"
    path.write_bytes(python2_pickle(as_dict(OWN)))
    assert_same(load_template(path), OWN)
    hypotheses, own = load_hypotheses(path), build_hypotheses()
    np.testing.assert_array_equal(hypotheses.offsets, own.offsets)
    np.testing.assert_array_equal(hypotheses.supports, own.supports)
    assert hypotheses.offsets.dtype == hypotheses.supports.dtype == np.float32


def test_reads_the_tuple_form(tmp_path: Path, python2_pickle: Callable[[Any], bytes]) -> None:
    (tmp_path / "info.dat").write_bytes(python2_pickle(as_tuple(OWN)))
    write_faces(tmp_path)
    assert_same(load_template(tmp_path / "info.dat"), OWN)


def spoiled(array: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    changed = array.copy()
    changed[at] = value
    return changed


def pooling(array: np.ndarray) -> list[np.ndarray]:
    return [array, OWN.unpooling[1]]


def laplace(array: np.ndarray) -> list[np.ndarray]:
    return [array, *OWN.laplace[1:]]


def stage(indices: Any = None, values: Any = None, shape: Any = (156, 156)) -> list[Any]:
    identity, scaled = as_dict(OWN)[b"stage1"]
    at = scaled[0] if indices is None else indices
    return [identity, (at, scaled[1] if values is None else values, shape)]


SCALED = OWN.supports[0][1]
SPOILED: dict[str, tuple[bytes, Any, str]] = {
    "nan-coordinate": (
        b"coord",
        spoiled(OWN.coordinates, (5, 1), np.nan),
        "coord: 1 of 468 values",
    ),
    "inf-coordinate": (b"coord", spoiled(OWN.coordinates, (5, 1), np.inf), "first at [5, 1]"),
    "float64-overflow": (b"coord", np.full((156, 3), 1e39), "beyond float32"),
    "other-count": (b"coord", OWN.coordinates[:-1], "coord: has shape (155, 3)"),
    "no-array": (b"coord", [1.0, 2.0], "coord: is of type list"),
    "bools": (b"coord", np.ones((156, 3), bool), "coord: is an array of bool"),
    "none": (b"coord", None, "coord: is missing"),
    "one-support": (b"stage1", stage()[:1], "stage1: has 1 items; expected 2"),
    "two-parts": (b"stage1", [stage()[0], stage()[1][:2]], "stage1[1]: has 2 items; expected 3"),
    "support-index": (
        b"stage1",
        stage(indices=spoiled(SCALED.indices, (3, 0), 156)),
        "stage1[1], indices: 156 at [3, 0]; expected whole numbers from 0 to 155",
    ),
    "support-repeat": (
        b"stage1",
        stage(indices=spoiled(SCALED.indices, (1, 1), 0)),
        "a position occurs twice",
    ),
    "support-nan": (
        b"stage1",
        stage(values=spoiled(SCALED.values, (9,), np.nan)),
        "stage1[1], values: 1 of 1080",
    ),
    "support-lengths": (b"stage1", stage(values=SCALED.values[1:]), "has shape (1079,)"),
    "support-shape": (b"stage1", stage(shape=(156, 157)), "stage1[1], shape: another shape"),
    "support-shape-of-arrays": (
        b"stage1",
        stage(shape=np.ones((2, 2))),
        "stage1[1], shape: another shape",
    ),
    "pool-range": (
        b"pool_idx",
        pooling(spoiled(OWN.unpooling[0], (0, 0), 156)),
        "pool_idx[0]: 156 at [0, 0]",
    ),
    "pool-negative": (
        b"pool_idx",
        pooling(spoiled(OWN.unpooling[0], (7, 1), -1)),
        "pool_idx[0]: -1 at [7, 1]",
    ),
    "pool-levels": (b"pool_idx", [OWN.unpooling[0]], "pool_idx: has 1 items; expected 2"),
    "laplace-range": (
        b"lape_idx",
        laplace(spoiled(OWN.laplace[0], (3, 0), 156)),
        "lape_idx[0]: 156 at [3, 0]",
    ),
    "laplace-degree": (
        b"lape_idx",
        laplace(spoiled(OWN.laplace[0], (3, 9), 1)),
        "lape_idx[0], row 3: ",
    ),
    "laplace-own": (
        b"lape_idx",
        laplace(spoiled(OWN.laplace[0], (3, 8), 4)),
        "column 8 is not the vertex's own number",
    ),
    "laplace-alone": (
        b"lape_idx",
        laplace(np.where(np.arange(156)[:, None] == 3, [*[-1] * 8, 3, 0], OWN.laplace[0])),
        "row 3: 0 neighbours",
    ),
    "faces-from-1": (
        b"faces_triangle",
        [faces + 1 for faces in OWN.faces],
        "faces_triangle[0]: 156 at",
    ),
    "faces-of-another-level": (
        b"faces_triangle",
        [OWN.faces[0]] * 3,
        "faces_triangle[1]: has shape (308, 3)",
    ),
    "faces-fractions": (
        b"faces_triangle",
        [OWN.faces[0] + 0.5, *OWN.faces[1:]],
        "faces_triangle[0]: ",
    ),
    "faces-nan": (
        b"faces_triangle",
        [OWN.faces[0] * np.nan, *OWN.faces[1:]],
        "faces_triangle[0]: nan at [0, 0]",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_refuses(name: str, tmp_path: Path, python2_pickle: Callable[[Any], bytes]) -> None:
    key, value, message = SPOILED[name]
    path = tmp_path / "t.dat"
    path.write_bytes(python2_pickle({**as_dict(OWN), key: value}))
    with pytest.raises(InputError) as caught:
        load_template(path)
    assert str(caught.value).startswith(f"{path}, {key.decode()}")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [key for key in as_dict(OWN) if key not in (b"faces", b"sample_coord", b"sample_cheb_dense")],
)
def test_refuses_a_missing_entry(
    key: bytes, tmp_path: Path, python2_pickle: Callable[[Any], bytes]
) -> None:
    data = as_dict(OWN)
    del data[key]
    (tmp_path / "t.dat").write_bytes(python2_pickle(data))
    with pytest.raises(InputError, match=f"has no entry '{key.decode()}'"):
        load_template(tmp_path / "t.dat")


@pytest.mark.parametrize(
    ("value", "message"),
    [([1, 2], "holds a list of 2"), (5, "holds a int"), (np.ones(3), "holds a ndarray")],
    ids=["list", "number", "array"],
)
def test_refuses_other_pickles(
    value: Any, message: str, tmp_path: Path, python2_pickle: Callable[[Any], bytes]
) -> None:
    (tmp_path / "t.dat").write_bytes(python2_pickle(value))
    with pytest.raises(InputError, match=message):
        load_template(tmp_path / "t.dat")


FACES_SPOILED: dict[str, tuple[str | None, str]] = {
    "missing": (None, "face2.obj: no such file"),
    "empty": ("# nothing\n", "face2.obj: has no faces"),
    "too-few": ("f 1 2 3\n", "face2.obj: has 1 triangles; expected 1232"),
    "out-of-range": ("f 1 2 619\n", "face2.obj, line 1: a face of vertex 619"),
    "from-0": ("f 0 1 2\n", "face2.obj, line 1: face '0 1 2'"),
    "quads": ("f 1 2 3 4\n", "face2.obj, line 1: face '1 2 3 4'"),
    "words": ("f a b c\n", "face2.obj, line 1: face 'a b c'"),
}


@pytest.mark.parametrize("name", FACES_SPOILED)
def test_refuses_faces_beside(
    name: str, tmp_path: Path, python2_pickle: Callable[[Any], bytes]
) -> None:
    text, message = FACES_SPOILED[name]
    (tmp_path / "info.dat").write_bytes(python2_pickle(as_tuple(OWN)))
    write_faces(tmp_path)
    (tmp_path / "face2.obj").unlink()
    if text is not None:
        (tmp_path / "face2.obj").write_text(text)
    with pytest.raises(InputError, match=message):
        load_template(tmp_path / "info.dat")
