from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from inputs.sampling import (
    COUNT,
    choose_faces,
    draw,
    draw_samples,
    load_samples,
    points_on,
    samples_on,
    step_draws,
)
from inputs.template import build_template
from network.levels import FACES
from network.registry import network_of
from weight_conversion.errors import InputError

# Two triangles of areas 1/2 and 2, one without area, and one of area 1/8 at the end.
VERTICES = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2], [0, 2, 0], [0.5, 0, 0], [0, 0.5, 0]], np.float32
)
TRIANGLES = np.array([[0, 1, 2], [0, 3, 4], [0, 1, 5], [0, 5, 6], [1, 1, 1]])
AREAS = np.array([0.5, 2, 0, 0.125, 0])


@pytest.fixture(scope="module")
def template():
    return build_template()


def given(stage: str) -> dict[str, np.ndarray]:
    """Sound samples of a stage."""
    random = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for block, level in enumerate(network_of(stage).levels, start=1):
        found[f"face_{block}"] = random.integers(0, FACES[level], COUNT)
        found[f"r1_{block}"] = random.random(COUNT, dtype=np.float32)
        found[f"r2_{block}"] = random.random(COUNT)
    return found


def test_face_frequencies_match_areas(template):
    faces = template.faces[0]
    mesh = template.coordinates * [1, 3, 0.2]
    a, b, c = mesh[faces[:, 0]], mesh[faces[:, 1]], mesh[faces[:, 2]]
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    drawn, _, _ = draw_samples(mesh, faces, np.random.default_rng(0), 1_000_000)
    counts = np.bincount(drawn, minlength=len(faces))
    assert stats.chisquare(counts, areas / areas.sum() * counts.sum()).pvalue > 1e-3
    # The test can fail: equal probabilities are told apart.
    assert stats.chisquare(counts, np.full(len(faces), counts.sum() / len(faces))).pvalue < 1e-6


def test_points_are_uniform_on_their_triangles():
    random = np.random.default_rng(1)
    face, r1, r2 = draw_samples(VERTICES, TRIANGLES, random, 200_000)
    points = points_on(VERTICES, TRIANGLES, face, r1, r2)
    large = face == 1
    assert (points[large][:, 0] == 0).all()
    inside = (points >= 0).all(axis=1)
    assert inside.all()
    assert (points[large][:, 1] + points[large][:, 2] <= 2 + 1e-12).all()
    # The centre of mass, and a quarter of the points in the quarter at each corner.
    assert points[large].mean(axis=0) == pytest.approx([0, 2 / 3, 2 / 3], abs=0.01)
    for corner in (points[large][:, 1] > 1, points[large][:, 2] > 1):
        assert corner.mean() == pytest.approx(0.25, abs=0.01)


def test_faces_without_area_are_never_drawn():
    ends = np.array([0.0, 0.19, 0.2, 0.5, 0.95, 0.96, 1 - 2**-53])
    assert (AREAS[choose_faces(VERTICES, TRIANGLES, ends)] > 0).all()
    drawn, _, _ = draw_samples(VERTICES, TRIANGLES, np.random.default_rng(0), 100_000)
    counts = np.bincount(drawn, minlength=len(TRIANGLES))
    assert (counts[AREAS == 0] == 0).all()
    assert counts / counts.sum() == pytest.approx(AREAS / AREAS.sum(), abs=0.01)


def test_boundaries_belong_to_the_face_they_open():
    ends = np.cumsum(AREAS) / AREAS.sum()
    assert choose_faces(VERTICES, TRIANGLES, ends[:2]).tolist() == [1, 3]


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (np.ones((7, 3)), "none of its 5 faces has an area; expected a surface"),
        (np.full((7, 3), np.nan), "its area is not finite; expected finite coordinates"),
        (VERTICES * np.float64(1e200), "its area is not finite"),
    ],
    ids=["a point", "NaN", "overflow"],
)
def test_meshes_that_cannot_be_sampled_are_refused(mesh, message):
    with pytest.raises(InputError, match=f"^mesh to sample: {message}"):
        choose_faces(mesh, TRIANGLES, np.array([0.5]))


def test_the_block_at_fault_is_named(template):
    draws = step_draws("refine", 0, 1)
    sphere = np.random.default_rng(0).random((2466, 3))
    with pytest.raises(InputError, match=r"^refine block 2: mesh to sample: none of its"):
        samples_on("refine", template, [sphere, np.zeros((2466, 3))], draws)


def test_a_step_draws_by_seed_and_number_alone():
    first, again = step_draws("coarse", 3, 17), step_draws("coarse", 3, 17)
    for one, other in zip(first, again, strict=True):
        for name in ("place", "r1", "r2"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    others = [*first[1:], *step_draws("coarse", 3, 18), *step_draws("coarse", 4, 17)]
    assert all((first[0].r1 != other.r1).any() for other in others)


def test_numbers_are_drawn_below_one_in_float32():
    numbers = draw(np.random.default_rng(0), 100_000)
    assert numbers.r1.dtype == numbers.r2.dtype == np.float32
    for values in (numbers.place, numbers.r1, numbers.r2):
        assert 0 <= values.min() < 1e-3
        assert 1 - 1e-3 < values.max() < 1


def test_rounding_of_the_mesh_moves_no_sample_in_float64(template):
    random = np.random.default_rng(0)
    mesh = template.coordinates.astype(np.float64)
    draws = step_draws("coarse", 0, 1)
    moved = mesh + 1e-15 * random.standard_normal(mesh.shape)
    for numbers in draws:
        ours = choose_faces(mesh, template.faces[0], numbers.place)
        np.testing.assert_array_equal(ours, choose_faces(moved, template.faces[0], numbers.place))


@pytest.mark.parametrize("stage", ["coarse", "refine"])
def test_saved_samples_are_read_back(tmp_path, stage):
    samples = given(stage)
    np.savez(tmp_path / "s.npz", **samples)
    found = load_samples(tmp_path / "s.npz", stage)
    assert set(found) == set(samples)
    for name, values in samples.items():
        expected = values.astype(np.int64 if name.startswith("face") else np.float32)
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["plain", "compressed"])
def test_files_of_numpy_are_read(tmp_path, save):
    samples = given("refine")
    samples["face_1"] = samples["face_1"].astype(np.int32)
    samples["r1_1"] = samples["r1_1"].astype(">f8")
    save(tmp_path / "s.npz", **samples)
    np.testing.assert_array_equal(
        load_samples(tmp_path / "s.npz", "refine")["face_1"], samples["face_1"]
    )


def spoilt(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    return {**given("coarse"), name: value}


def with_one(name: str, value: float) -> dict[str, np.ndarray]:
    samples = given("coarse")
    samples[name] = samples[name].copy()
    samples[name][7] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (given("refine"), "lacks face_3, r1_3, r2_3; expected the coarse stage's face_b, r1_b"),
        ({**given("coarse"), "seed": np.arange(3)}, "also has seed; expected"),
        (spoilt("r1_2", np.zeros(3999)), "r1_2: float64 of shape .3999,.; expected 4000 numbers"),
        (spoilt("r1_2", np.zeros((COUNT, 1))), "r1_2: float64 of shape .4000, 1.; expected 4000"),
        (
            spoilt("face_1", np.zeros(COUNT)),
            "face_1: float64 of shape .4000,.; expected 4000 whole",
        ),
        (spoilt("r2_1", np.zeros(COUNT, np.int64)), "r2_1: int64 of shape .4000,.; expected 4000"),
        (spoilt("r2_1", np.zeros(COUNT, np.complex64)), "r2_1: complex64"),
        (with_one("face_1", 308), r"face_1: 308 at \[7\]; expected numbers from 0 to below 308"),
        (with_one("face_2", -1), r"face_2: -1 at \[7\]; expected numbers from 0 to below 1232"),
        (with_one("r1_3", 1.0), r"r1_3: 1.0 at \[7\]; expected numbers from 0 to below 1"),
        (with_one("r1_3", -1e-9), r"r1_3: -\S+ at \[7\]"),
        (with_one("r2_3", np.nan), r"r2_3: nan at \[7\]; expected numbers from 0 to below 1"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(";")[0][:24],
)
def test_bad_samples_are_refused_by_name(tmp_path, samples, message):
    np.savez(tmp_path / "s.npz", **samples)
    with pytest.raises(InputError, match=message) as error:
        load_samples(tmp_path / "s.npz", "coarse")
    assert str(error.value).startswith(str(tmp_path / "s.npz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "expected"), (b"PK\x03\x04 cut", "a NumPy archive")],
    ids=["missing", "empty", "damaged"],
)
def test_files_that_are_no_archives_are_refused(tmp_path: Path, content, message):
    path = tmp_path / "s.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_samples(path, "coarse")


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", **spoilt("r1_1", np.array([{}] * COUNT, dtype=object)))
    with pytest.raises(InputError, match="r1_1: object of shape"):
        load_samples(tmp_path / "s.npz", "coarse")
