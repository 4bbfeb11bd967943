"""One column: which mesh is before, which samples are meant, and what JSON says of it."""

from dataclasses import replace

import numpy as np
import pytest

from inputs.files import Float64
from inputs.ground_truth import GroundTruth
from inputs.sampling import draw
from inputs.template import Template, build_template
from parity.meshes.loss_columns import (
    Before,
    Candidate,
    Column,
    LossTable,
    Sampling,
    Truth,
    measure,
    repeated,
)
from parity.meshes.loss_weights import PRESETS
from parity.meshes.losses import Samples, unpooled
from weight_conversion.errors import InputError

TEMPLATE = build_template()
ELLIPSOID = TEMPLATE.coordinates.astype(np.float64)
VERTICES_ONLY = Sampling("vertices only")


def level(number: int) -> Float64:
    found = unpooled(ELLIPSOID, (156, 618, 2466)[number], TEMPLATE)
    assert found is not None
    return found


def truth(normals: bool = True) -> Truth:
    points = level(1).astype(np.float32)
    directions = points - points.mean(axis=0)
    directions[:3] = 0.0
    return Truth(GroundTruth(points, directions if normals else None), "gt.dat")


def candidate(number: int = 1, before: int | None = None) -> Candidate:
    mesh = level(number) * 1.01
    start = None if before is None else Before(level(before), "b.obj")
    return Candidate("plane", "ours", "m.obj", mesh, before=start)


def column(
    made: Candidate, sampling: Sampling = VERTICES_ONLY, template: Template = TEMPLATE
) -> Column:
    return measure(made, truth(), template, template_given=True, sampling=sampling, frames=False)


@pytest.mark.parametrize(
    ("before", "described"),
    [
        (1, "b.obj"),
        (0, "b.obj, unpooled from 156 vertices"),
        (None, ""),
    ],
)
def test_before_is_named(before: int | None, described: str) -> None:
    found = column(candidate(1, before))
    assert found.before == described
    laplace = found.losses.values["laplace"]
    assert (laplace is None) is (before is None)
    if before is not None:
        # Both are the same mesh once unpooled: only the factor 1.01 changes the Laplacian.
        expected = column(candidate(1, 1)).losses.values["laplace"]
        assert laplace == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("before", [2, 0])
def test_before_of_another_size_is_refused(before: int) -> None:
    made = candidate(1, before)
    if before == 0:
        # On triangles that are not the template's, nobody knows the edges that were halved.
        made = replace(made, faces=TEMPLATE.faces[1][:600])
    with pytest.raises(InputError, match=r"b\.obj: has [\d,]+ vertices; expected the 618 vertices"):
        measure(made, truth(), TEMPLATE, template_given=False, sampling=VERTICES_ONLY, frames=False)


def test_ground_truth_is_described() -> None:
    assert truth().described == "gt.dat, 618 points with normals, 3 of them zero"
    assert truth(normals=False).described == "gt.dat, 618 points without normals"


def test_same_numbers_draw_the_samples_of_every_mesh() -> None:
    sampling = Sampling("drawn", draw(np.random.default_rng(0)))
    first, second = column(candidate(), sampling), column(candidate(), sampling)
    assert first.losses.values == second.losses.values
    assert first.losses.values["chamfer"] != column(candidate()).losses.values["chamfer"]


def test_given_samples_are_those_of_the_level() -> None:
    face = np.zeros(10, np.int64)
    zeros, half = np.zeros(10, np.float32), np.full(10, 0.5, np.float32)
    given = {1: Samples(face, zeros, half), 2: Samples(face, half, half)}
    sampling = Sampling("s.npz", given=given)
    mesh = candidate().mesh
    # r1 = 0 puts every sample on the first corner of triangle 0.
    corner = mesh[TEMPLATE.faces[1][0, 0]]
    points = truth().points.points.astype(np.float64)
    squares = np.sum((np.concatenate([mesh, [corner] * 10])[:, None] - points) ** 2, axis=2)
    expected = squares.min(axis=0).mean() + np.float32(0.55) * squares.min(axis=1).mean()
    assert column(candidate(), sampling).losses.values["chamfer"] == pytest.approx(expected)
    with pytest.raises(InputError, match=r"m\.obj: has 156 vertices.*samples of s\.npz"):
        column(candidate(0), sampling)


def test_json_has_every_number() -> None:
    table = LossTable((column(candidate(1, 1)),), PRESETS["coarse"], "vertices only", False)
    value = table.to_json()
    assert value["schema"] == "p2m-parity-losses/1"
    assert value["weights"] == {
        "name": "coarse", "chamfer": 3000.0, "edge": 350.0, "normal": 0.5, "laplace": 1500.0,
    }  # fmt: skip
    (one,) = value["columns"]
    terms = one["terms"]
    assert one["chamfer"] == pytest.approx(3000 * terms["chamfer"])
    assert one["all"] == pytest.approx(
        one["chamfer"] + 350 * one["edge"] + 0.5 * one["normal"] + 1500 * one["laplace"]
    )
    assert (one["before"], one["all_lacks"], one["frame"]) == ("b.obj", (), None)
    assert one["pairs"] == 2 * 1848 + 618


def test_mismatch_is_measured_again_after_the_move() -> None:
    made = replace(candidate(1, 1), mesh=candidate().mesh * 2 + 5)
    found = measure(
        made, truth(), TEMPLATE, template_given=True, sampling=VERTICES_ONLY, frames=True
    )
    assert found.frame is not None and found.frame.mismatch
    assert found.moved is not None
    assert found.moved.values["chamfer"] == pytest.approx(found.frame.after)
    edges = [losses.values["edge"] for losses in (found.losses, found.moved)]
    assert edges[0] is not None and edges[1] is not None
    assert edges[1] == pytest.approx(edges[0] * found.frame.registration.move.scale**2)


def test_columns_that_repeat() -> None:
    assert repeated([candidate(), replace(candidate(), name="theirs")]) == ""
    assert repeated([candidate(), replace(candidate(), item="sofa")]) == ""
    assert repeated([candidate(), candidate(2)]) == "plane/ours"
