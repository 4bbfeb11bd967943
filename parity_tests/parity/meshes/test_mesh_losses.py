"""The terms against their definitions written out, against torch, and where there is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inputs.files import Float64, Int64
from inputs.graphs import convex_triangles
from inputs.ground_truth import GroundTruth
from inputs.sampling import draw
from inputs.template import Template, build_template, load_template
from network.levels import VERTICES
from parity.meshes.losses import (
    TANGLED,
    Samples,
    Surface,
    chamfer,
    measured_points,
    mesh_losses,
    nearest,
    stretch,
    surface_of,
    unpooled,
)
from torch_impl import losses as torch_losses
from torch_impl.coarse import BlockMeshes
from torch_impl.nearest import Targets
from weight_conversion.errors import InputError

BACKWARD = 0.550000011920929  # float32's 0.55


OWN = build_template()


@pytest.fixture
def template() -> Template:
    return OWN


def ball(count: int, seed: int) -> Float64:
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def truth_of(count: int = 300, normals: bool = True) -> GroundTruth:
    """Points of a ball with its normals, some of them zero as in ShapeNet's files."""
    points = ball(count, 8).astype(np.float32)
    outward = points.copy()
    outward[::40] = 0.0
    return GroundTruth(points * np.float32(0.3), outward * np.float32(3) if normals else None)


def small() -> tuple[Float64, Surface]:
    """A mesh of 40 vertices with triangles of its own, not round."""
    sphere = ball(40, 1)
    mesh = sphere * [0.4, 0.3, 0.2]
    return mesh, surface_of("mesh", 40, convex_triangles(sphere), OWN, False)


def slow_terms(
    mesh: Float64, faces: Int64, points: Float64, truth: GroundTruth, before: Float64
) -> dict[str, float]:
    """NETWORK's formulae, one vertex and one neighbour after the other."""
    around: list[set[int]] = [set() for _ in mesh]
    for face in faces.tolist():
        for vertex in face:
            around[vertex] |= set(face) - {vertex}
    target = truth.points.astype(np.float64)
    squares = np.sum((points[:, None] - target) ** 2, axis=2)
    terms = {
        "chamfer": squares.min(axis=0).mean() + BACKWARD * squares.min(axis=1).mean(),
        "edge": 0.0,
        "normal": 0.0,
        "laplace": 0.0,
    }
    pairs = sum(map(len, around)) + len(mesh)  # each vertex with itself as well
    assert truth.normals is not None
    for vertex, others in enumerate(around):
        normal = truth.normals[squares[vertex].argmin()].astype(np.float64)
        normal = normal / max(float(np.linalg.norm(normal)), 1e-6)
        for other in others:
            edge = mesh[vertex] - mesh[other]
            terms["edge"] += float(edge @ edge) / pairs
            terms["normal"] += abs(float(normal @ edge)) / float(np.linalg.norm(edge)) / pairs
        deltas = [
            each[vertex] - np.mean([each[other] for other in others], axis=0)
            for each in (before, mesh)
        ]
        terms["laplace"] += float(np.sum((deltas[0] - deltas[1]) ** 2)) / len(mesh)
    return terms


def test_terms_follow_their_definitions() -> None:
    mesh, surface = small()
    truth, before = truth_of(), mesh * 0.9 + 0.01 * ball(40, 3)
    points = np.concatenate([mesh, 0.3 * ball(100, 5)])
    found = mesh_losses(mesh, surface, points, truth, before)
    assert not found.reasons
    expected = slow_terms(mesh, surface.faces, points, truth, before)
    assert found.values == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("level", range(3))
def test_terms_are_those_of_torch(template: Template, level: int) -> None:
    count = VERTICES[level]
    mesh = ball(count, 1) * 0.3
    before = mesh + 0.05 * ball(count, 2)
    surface = surface_of("mesh", count, None, template, True)
    numbers = draw(np.random.default_rng(4))
    samples = Samples.drawn("mesh", mesh, surface, numbers)
    points = measured_points(mesh, surface, samples)
    truth = truth_of(500)
    found = mesh_losses(mesh, surface, points, truth, before).values

    def tensor(array: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(array)).to(torch.float64)

    other = torch_losses.Surface(
        torch.as_tensor(surface.faces),
        torch.as_tensor(template.supports[level][1].indices),
        torch.as_tensor(surface.neighbours),
        tensor(surface.degrees)[:, None],
    )
    drawn = torch_losses.BlockSamples(
        torch.as_tensor(samples.face), tensor(samples.r1), tensor(samples.r2)
    )
    cloud = torch.cat([tensor(mesh), torch_losses.surface_points(tensor(mesh), other.faces, drawn)])
    target = tensor(truth.points)
    to_point = Targets(cloud).nearest(target)
    to_truth = Targets(target).nearest(cloud)
    means = torch_losses.chamfer_means(cloud, target, to_point, to_truth)
    normals = tensor(truth.normals)[to_truth[:count]]
    block = BlockMeshes(tensor(before), tensor(mesh))
    expected = {
        "chamfer": float(means[0] + BACKWARD * means[1]),
        "edge": float(torch_losses.edge_length(tensor(mesh), other.pairs)),
        "normal": float(torch_losses.normal_slope(tensor(mesh), other.pairs, normals)),
        "laplace": float(torch_losses.laplace_change(block, other)),
    }
    assert found == pytest.approx(expected, rel=1e-11)


def test_official_pairs_are_those_of_the_files_triangles(official: Path) -> None:
    template = load_template(official / "template/info_ellipsoid.dat")
    mesh = ball(2466, 1)
    of_template = surface_of("mesh", 2466, None, template, True)
    of_file = surface_of("mesh", 2466, template.faces[2], OWN, False)
    assert of_template.source == "level 3 of template info_ellipsoid.dat"
    assert of_file.source == "its own triangles"
    found = [
        mesh_losses(mesh, each, mesh, truth_of(), mesh[::-1].copy()).values
        for each in (of_template, of_file)
    ]
    assert len(of_template.pairs) == len(of_file.pairs) == 2466 + 2 * 7392
    assert found[0] == pytest.approx(found[1], rel=1e-12)


@pytest.mark.parametrize(
    ("faces", "given", "source", "remark"),
    [
        ("none", True, "level 1 of template own", ""),
        ("none", False, "level 1 of template own", "no triangles"),
        ("same", True, "level 1 of template own", ""),
        ("other", True, "level 1 of template own", "are not those of the template"),
        ("other", False, "its own triangles", ""),
        ("few", False, "its own triangles", "153 of its 156 vertices are in no triangle"),
    ],
)
def test_connections(template: Template, faces: str, given: bool, source: str, remark: str) -> None:
    own = {
        "none": None,
        "same": template.faces[0][::-1],
        "other": convex_triangles(ball(156, 3)),
        "few": template.faces[0][:1],
    }[faces]
    found = surface_of("m.obj", 156, own, template, given)
    assert found.source == source
    assert len(found.remarks) == bool(remark)
    assert remark in "".join(found.remarks)


def test_unknown_connections_are_refused(template: Template) -> None:
    with pytest.raises(InputError, match=r"m\.obj: has 157 vertices and no triangles; expected"):
        surface_of("m.obj", 157, None, template, True)


@pytest.mark.parametrize(
    ("truth", "before", "reasons"),
    [
        (truth_of(normals=False), True, {"normal": "the ground truth has no normals"}),
        (truth_of(), False, {"laplace": "the mesh before the block was not given"}),
    ],
    ids=["no-normals", "no-before"],
)
def test_missing_terms_are_none_and_say_why(
    truth: GroundTruth, before: bool, reasons: dict[str, str]
) -> None:
    mesh, surface = small()
    found = mesh_losses(mesh, surface, mesh, truth, mesh if before else None)
    assert found.reasons == reasons
    for term, value in found.values.items():
        assert (value is None) is (term in reasons)


def test_vertices_without_neighbours_have_no_laplacian() -> None:
    mesh, surface = small()
    lonely = surface_of("mesh", 41, surface.faces, OWN, False)
    more = np.concatenate([mesh, [[0.0, 0.0, 9.0]]])
    found = mesh_losses(more, lonely, more, truth_of(), more)
    assert found.values["laplace"] is None
    assert found.reasons["laplace"] == "some vertices have no neighbours"
    assert found.values["edge"] is not None


def test_no_change_is_zero_laplace() -> None:
    mesh, surface = small()
    assert mesh_losses(mesh, surface, mesh, truth_of(), mesh).values["laplace"] == 0.0


def test_chamfer_weighs_its_directions() -> None:
    points = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    truth = np.array([[1.0, 0.0, 0.0]], np.float32)
    # From the truth: 1. From the points: (1 + 81) / 2.
    assert chamfer(points, truth) == pytest.approx(1 + BACKWARD * 41)


def test_first_of_equally_near_points_is_taken() -> None:
    others = np.array([[5.0, 0, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0], [-1, 0, 0]])
    squares, index = nearest(np.zeros((1, 3)), others)
    assert (squares[0], index[0]) == (1.0, 1)
    squares, index = nearest(np.zeros((1, 3)), others[::-1])
    assert (squares[0], index[0]) == (1.0, 0)
    assert nearest(np.zeros((2, 3)), others[:1])[1].tolist() == [0, 0]


def test_a_normal_is_that_of_the_nearest_point() -> None:
    mesh, surface = small()
    truth = GroundTruth(mesh.astype(np.float32), np.zeros((40, 3), np.float32))
    assert mesh_losses(mesh, surface, mesh, truth).values["normal"] == 0.0
    assert truth.normals is not None
    first, second = surface.pairs[0]
    normals = truth.normals.copy()
    normals[first] = (mesh[second] - mesh[first]) * 7
    along = mesh_losses(mesh, surface, mesh, replace(truth, normals=normals)).values["normal"]
    assert along is not None
    assert along >= 1 / len(surface.pairs)  # the pair itself has a cosine of 1


def test_samples_lie_on_the_mesh_and_are_counted(template: Template) -> None:
    mesh = template.coordinates.astype(np.float64)
    surface = surface_of("mesh", 156, None, template, True)
    numbers = draw(np.random.default_rng(0), 50)
    points = measured_points(mesh, surface, Samples.drawn("mesh", mesh, surface, numbers))
    assert points.shape == (206, 3)
    np.testing.assert_array_equal(points[:156], mesh)
    low, high = mesh.min(axis=0), mesh.max(axis=0)
    assert ((points >= low) & (points <= high)).all()
    assert measured_points(mesh, surface, None) is mesh


def test_mesh_without_area_cannot_be_sampled(template: Template) -> None:
    surface = surface_of("m.obj", 156, None, template, True)
    numbers = draw(np.random.default_rng(0), 50)
    expected = "m.obj: its triangles have no area to sample; expected a surface, or --vertices-only"
    with pytest.raises(InputError, match=expected):
        Samples.drawn("m.obj", np.zeros((156, 3)), surface, numbers)


def test_stretch_tells_another_templates_triangles(template: Template) -> None:
    mesh = unpooled(template.coordinates.astype(np.float64), 2466, template)
    assert mesh is not None
    surface = surface_of("mesh", 2466, None, template, True)
    assert 1 <= stretch(mesh, surface) < 2
    shuffled = mesh[np.random.default_rng(0).permutation(2466)]
    assert stretch(shuffled, surface) > TANGLED
    assert stretch(np.zeros((2466, 3)), surface) == 1.0


def test_unpooling_adds_the_middles_of_edges(template: Template) -> None:
    mesh = template.coordinates.astype(np.float64)
    full = unpooled(mesh, 2466, template)
    assert full is not None and full.shape == (2466, 3)
    np.testing.assert_array_equal(full[:156], mesh)
    a, b = template.unpooling[0][5]
    np.testing.assert_allclose(full[161], (mesh[a] + mesh[b]) / 2)
    assert unpooled(full, 618, template) is None
    assert unpooled(mesh[:100], 618, template) is None
