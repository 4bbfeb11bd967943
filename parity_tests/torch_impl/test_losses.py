from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from inputs.sampling import draw_samples, points_on
from torch_impl.coarse import BlockMeshes
from torch_impl.evaluation import block_surfaces, truth_of
from torch_impl.losses import (
    BLOCK_TERMS,
    BlockSamples,
    LossWeights,
    decay_terms,
    half_square,
    laplace,
    stage_losses,
    surface_points,
)
from torch_impl.nearest import Targets
from weight_conversion.errors import InputError

SAMPLES = 50


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64 if array.dtype.kind == "f" else None)


class Case:
    """Random meshes before and after every block of a stage, in float64."""

    def __init__(self, stage: str, inputs: dict) -> None:
        random = np.random.default_rng(0)
        self.stage, self.template = stage, inputs["template"]
        self.truth = inputs["ground_truth"]
        self.levels = {"coarse": (0, 1, 2), "refine": (2, 2)}[stage]
        self.meshes, self.samples = [], []
        for level in self.levels:
            count = (12, 42, 162)[level]
            before, change = 0.2 * random.standard_normal((2, count, 3))
            after = before + 0.1 * change + [0, 0, -0.8]
            self.meshes.append((before, after))
            self.samples.append(draw_samples(after, self.template.faces[level], random, SAMPLES))
        encoder = torch.nn.Linear(3, 2, dtype=torch.float64)
        self.network = torch.nn.ModuleDict(
            {"cnn": encoder, "graph": torch.nn.Linear(2, 4, dtype=torch.float64)}
        )

    def losses(self, weights: LossWeights | None = None, **options):
        blocks = [BlockMeshes(tensor(before), tensor(after)) for before, after in self.meshes]
        return stage_losses(
            self.network,
            blocks,
            block_surfaces(self.stage, self.template, tensor),
            [BlockSamples(*map(tensor, drawn)) for drawn in self.samples],
            truth_of(options.pop("truth", self.truth), tensor),
            weights or LossWeights.of(self.stage),
            **options,
        )


@pytest.fixture(params=["coarse", "refine"])
def case(request, small_inputs) -> Case:
    return Case(request.param, small_inputs[request.param])


def expected(case: Case, number: int) -> dict[str, float]:
    """A block's terms, vertex by vertex and edge by edge, as docs/losses.md words them."""
    before, after = case.meshes[number - 1]
    level = case.levels[number - 1]
    truth = case.truth.points.astype(np.float64)
    drawn = points_on(after, case.template.faces[level], *case.samples[number - 1])
    points = np.concatenate([after, drawn])
    distances = ((truth[:, None] - points) ** 2).sum(axis=2)
    nearest_truth = distances.argmin(axis=0)
    share = float(np.float32(0.55))
    chamfer = distances.min(axis=1).mean() + share * distances.min(axis=0).mean()
    lengths, slopes = [], []
    for first, second in case.template.supports[level][1].indices:
        edge = after[first] - after[second]
        lengths.append(edge @ edge)
        normal = case.truth.normals[nearest_truth[first]].astype(np.float64)
        scale = max(edge @ edge, np.float32(1e-12)) * max(normal @ normal, np.float32(1e-12))
        slopes.append(abs(edge @ normal) / np.sqrt(scale))

    def from_mean(mesh: np.ndarray) -> np.ndarray:
        table = case.template.laplace[level]
        return np.array([mesh[row[8]] - mesh[row[: row[9]]].mean(axis=0) for row in table])

    change = ((from_mean(before) - from_mean(after)) ** 2).sum(axis=1).mean()
    edge_weight, move_weight = (350, 50) if case.stage == "coarse" else (500, 100)
    return {
        "chamfer": 3000 * chamfer,
        "edge": edge_weight * np.mean(lengths),
        "normal": 0.5 * np.mean(slopes),
        "laplace": 1500 * change,
        "move": move_weight * ((before - after) ** 2).sum(axis=1).mean(),
    }


def test_every_term_of_every_block(case):
    found = case.losses()
    numbers = range(1, len(case.levels) + 1)
    assert list(found) == [f"{kind}_{n}" for n in numbers for kind in BLOCK_TERMS] + [
        "decay",
        "total",
    ]
    for number in numbers:
        for kind, value in expected(case, number).items():
            assert found[f"{kind}_{number}"].item() == pytest.approx(value, rel=1e-12), kind


def test_the_decay_leaves_out_what_the_official_losses_leave_out(case):
    rate, share, graph = (float(np.float32(value)) for value in (1e-5, 0.3, 5e-6))
    kernel = case.network["cnn"].weight.detach().numpy()
    decay = share * rate * 0.5 * (kernel**2).sum()
    if case.stage == "coarse":
        for variable in case.network["graph"].parameters():
            decay += graph * 0.5 * (variable.detach().numpy() ** 2).sum()
    assert case.losses()["decay"].item() == pytest.approx(decay, rel=1e-12)


def test_the_total_is_the_sum(case):
    found = {name: term.item() for name, term in case.losses().items()}
    total = found.pop("total")
    assert total == pytest.approx(sum(found.values()), rel=1e-12)


@pytest.mark.parametrize("name", [each.name for each in fields(LossWeights)])
def test_every_weight_scales_its_term(name, small_inputs):
    case = Case("coarse", small_inputs["coarse"])
    official = LossWeights.coarse()
    base = case.losses()
    doubled = case.losses(replace(official, **{name: 2 * getattr(official, name)}))
    changed = {term for term in base if base[term].item() != doubled[term].item()}
    kind = {"chamfer_points": "chamfer"}.get(name, name)
    terms = {"decay"} if name.startswith("decay") else {f"{kind}_{n}" for n in (1, 2, 3)}
    assert changed == {*terms, "total"}


def test_official_weights_are_float32_values():
    assert LossWeights.of("coarse") == LossWeights.coarse()
    assert LossWeights.of("refine") == LossWeights.refine()
    assert LossWeights.coarse().chamfer_points == 0.550000011920929
    assert LossWeights.coarse().decay_graph == 4.999999873689376e-06
    assert LossWeights.refine().decay_graph == 0
    assert LossWeights(edge=0.1).edge == np.float32(0.1)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none_are_refused(value):
    with pytest.raises(
        InputError, match=f"^loss weight edge: {value}; expected a number from 0 up"
    ):
        LossWeights(edge=value)


def test_ground_truth_without_normals(case):
    bare = replace(case.truth, normals=None)
    found, other = case.losses(truth=bare), case.losses()
    assert list(found) == [name for name in other if not name.startswith("normal")]
    assert found["chamfer_1"].item() == other["chamfer_1"].item()
    without = replace(LossWeights.of(case.stage), normal=0.0)
    assert found["total"].item() == case.losses(without)["total"].item()


def test_padding_counts_as_the_origin(tiny):
    # A vertex of degree 5 has three places to fill; were they any vertex, δ would change.
    (surface,) = {id(each): each for each in block_surfaces("refine", tiny, tensor)}.values()
    far = torch.full((162, 3), 7.0, dtype=torch.float64)
    assert surface.degrees.unique().tolist() == [5, 6]
    assert laplace(far, surface).abs().max() < 1e-14


def test_points_are_drawn_on_their_triangles(tiny):
    mesh = tiny.coordinates.astype(np.float64)
    face, r1, r2 = draw_samples(mesh, tiny.faces[0], np.random.default_rng(0), 40)
    found = surface_points(
        tensor(mesh), tensor(tiny.faces[0]), BlockSamples(*map(tensor, (face, r1, r2)))
    )
    np.testing.assert_allclose(
        found.numpy(), points_on(mesh, tiny.faces[0], face, r1, r2), rtol=1e-14
    )


@pytest.mark.parametrize("term", [*(f"{kind}_1" for kind in BLOCK_TERMS), "total"])
def test_gradients_to_the_meshes(term, small_inputs):
    case = Case("refine", small_inputs["refine"])
    surfaces = block_surfaces("refine", case.template, tensor)
    samples = [BlockSamples(*map(tensor, drawn)) for drawn in case.samples]
    truth = truth_of(case.truth, tensor)
    leaves = [tensor(mesh).requires_grad_() for pair in case.meshes for mesh in pair]

    def value(*meshes: torch.Tensor) -> torch.Tensor:
        blocks = [BlockMeshes(*meshes[:2]), BlockMeshes(*meshes[2:])]
        weights = LossWeights.refine()
        return stage_losses(case.network, blocks, surfaces, samples, truth, weights)[term]

    assert torch.autograd.gradcheck(value, leaves, fast_mode=True, eps=1e-7, rtol=1e-5)


def test_the_chamfer_gradient_flows_to_both_ends_of_a_match(small_inputs):
    case = Case("refine", small_inputs["refine"])
    before, after = (tensor(mesh) for mesh in case.meshes[0])
    after.requires_grad_()
    surface = block_surfaces("refine", case.template, tensor)[0]
    samples = BlockSamples(*map(tensor, case.samples[0]))
    found = stage_losses(
        case.network,
        [BlockMeshes(before, after)],
        [surface],
        [samples],
        truth_of(case.truth, tensor),
        replace(LossWeights.refine(), chamfer_points=0.0),
    )
    (gradient,) = torch.autograd.grad(found["chamfer_1"], after)
    # Only vertices that some ground truth is nearest to, directly or by a sample, are pulled.
    faces = case.template.faces[2][case.samples[0][0]]
    points = torch.cat([after, surface_points(after, surface.faces, samples)])
    drawn = Targets(points).nearest(tensor(case.truth.points)).numpy()
    touched = set(drawn[drawn < 162]) | set(faces[drawn[drawn >= 162] - 162].ravel())
    assert set(np.flatnonzero(gradient.abs().sum(dim=1).numpy())) == touched
    assert len(touched) < 162


def test_decay_of_one_variable_and_its_gradient():
    variable = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert half_square(variable).item() == pytest.approx(
        0.5 * (variable.detach().numpy() ** 2).sum()
    )
    assert torch.autograd.gradcheck(half_square, [variable])


def test_no_term_for_variables_that_do_not_decay(case):
    _, graph = decay_terms(case.network, LossWeights.refine())
    assert graph == []
