"""The losses of both stages, as the official graphs order them (nodes add_170 and add_15).

Every block's mesh is compared with the ground truth (chamfer, normal) and with its own input
(Laplace, move), its edges are kept short, and the variables decay. All constants are float32
values, in any precision, and every term is weighted as it enters the total.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from torch_impl.cnn import float32_constant
from torch_impl.coarse import BlockMeshes
from torch_impl.nearest import Targets, squared_distance
from weight_conversion.errors import InputError

BLOCK_TERMS = ("chamfer", "edge", "normal", "laplace", "move")
"""The terms of a block, whose number follows: ``chamfer_1``; ``normal`` only where the ground
truth has normals."""

SQUARE_FLOOR = float32_constant(1e-12)
"""What the squared length of a vector to be normalised is at least."""

CNN_REGULARISER = float32_constant(1e-5)
"""Factor of each kernel's half sum of squares, before their sum's own, ``LossWeights.decay_cnn``;
the graph has two constants, whose product is not float32(3e-6)."""


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; those of the coarse stage by default.

    Attributes:
        chamfer: both directions together.
        chamfer_points: within them, the direction from the mesh's points to the ground truth.
        edge: mean squared length of an edge.
        normal: mean |cosine| between an edge and a ground-truth normal.
        laplace: mean squared change of a vertex's distance from the mean of its neighbours.
        move: mean squared way of a vertex.
        decay_cnn: 1e-5 times half the sum of squares of the convolutions' kernels.
        decay_graph: half the sum of squares of the graph convolutions' weights and biases.

    Raises:
        InputError: a factor is negative or not finite.
    """

    chamfer: float = 3000.0
    chamfer_points: float = 0.55
    edge: float = 350.0
    normal: float = 0.5
    laplace: float = 1500.0
    move: float = 50.0
    decay_cnn: float = 0.3
    decay_graph: float = 5e-6

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"loss weight {each.name}", repr(value), "a number from 0 up")
            # The graph's constants are float32; in float64 they are these values, widened.
            object.__setattr__(self, each.name, float32_constant(value))

    @classmethod
    def coarse(cls) -> "LossWeights":
        """The official factors of the coarse stage."""
        return cls()

    @classmethod
    def refine(cls) -> "LossWeights":
        """The official factors of the refine stage, whose graph convolutions do not decay."""
        return cls(edge=500.0, move=100.0, decay_graph=0.0)

    @classmethod
    def of(cls, stage: str) -> "LossWeights":
        """The official factors of a stage."""
        return cls.coarse() if stage == "coarse" else cls.refine()


@dataclass(frozen=True)
class Surface:
    """What the losses need to know of one level of the template, on the run's device.

    ``faces``: (F, 3); ``pairs``: (n, 2), where the second support has values: both directions of
    every edge, and every vertex with itself; ``neighbours``: (V, 8), the number V where there are
    fewer; ``degrees``: (V, 1), their number.
    """

    faces: Tensor
    pairs: Tensor
    neighbours: Tensor
    degrees: Tensor


@dataclass(frozen=True)
class BlockSamples:
    """Points drawn on one block's mesh: ``face``, ``r1`` and ``r2``, each (n,)."""

    face: Tensor
    r1: Tensor
    r2: Tensor


@dataclass(frozen=True)
class Truth:
    """The ground truth on the run's device: (N, 3) each, camera frame of view 0."""

    targets: Targets
    normals: Tensor | None


def stage_losses(
    network: nn.Module,
    blocks: Sequence[BlockMeshes],
    surfaces: Sequence[Surface],
    samples: Sequence[BlockSamples],
    truth: Truth,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """All loss terms of a stage.

    Args:
        network: holds the variables that decay.
        blocks: the meshes before and after each block, camera frame of view 0.
        surfaces: each block's level of the template.
        samples: the points drawn on each block's mesh.
        truth: ground truth; without normals there are no normal terms, and none in the total.
        weights: factors of the terms.

    Returns:
        Scalars: those of ``BLOCK_TERMS`` for each block, ``decay`` and ``total``. Without normals
        there is no ``normal_b``: a 0 would look like a perfect one.
    """
    found: dict[str, Tensor] = {}
    for number, parts in enumerate(zip(blocks, surfaces, samples, strict=True), start=1):
        terms = _block_terms(*parts, truth, weights)
        found |= {f"{kind}_{number}": terms[kind] for kind in BLOCK_TERMS if kind in terms}
    cnn, graph = decay_terms(network, weights)
    found["decay"] = cnn + sum(graph)
    found["total"] = _total(found, len(blocks), cnn, graph)
    return found


def _block_terms(
    block: BlockMeshes,
    surface: Surface,
    samples: BlockSamples,
    truth: Truth,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """The terms of one block by the names of ``BLOCK_TERMS``."""
    after = block.after
    points = torch.cat([after, surface_points(after, surface.faces, samples)])
    nearest_point = Targets(points).nearest(truth.targets.points)
    nearest_truth = truth.targets.nearest(points)
    pair = chamfer_means(points, truth.targets.points, nearest_point, nearest_truth)
    terms = {
        "chamfer": (pair[0] + weights.chamfer_points * pair[1]) * weights.chamfer,
        "edge": edge_length(after, surface.pairs) * weights.edge,
        "laplace": laplace_change(block, surface) * weights.laplace,
        "move": (block.before - after).square().sum(dim=1).mean() * weights.move,
    }
    if truth.normals is not None:
        normals = truth.normals[nearest_truth[: len(after)]]
        terms["normal"] = normal_slope(after, surface.pairs, normals) * weights.normal
    return terms


def surface_points(vertices: Tensor, faces: Tensor, samples: BlockSamples) -> Tensor:
    """Drawn points (n, 3): (1 − √r1)·A + √r1·(1 − r2)·B + √r1·r2·C of their faces' corners."""
    a, b, c = vertices[faces[samples.face]].unbind(dim=1)
    root, r2 = samples.r1.sqrt()[:, None], samples.r2[:, None]
    return (1.0 - root) * a + root * (1.0 - r2) * b + root * r2 * c


def chamfer_means(
    points: Tensor, truth: Tensor, nearest_point: Tensor, nearest_truth: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean squared distance of the ground truth from the points, and of these from it.

    Gradients flow through the matched distances to both ends, as in the official NnDistance.

    Args:
        points: (P, 3), the mesh's vertices and samples.
        truth: (N, 3).
        nearest_point: (N,) indices of ``points``.
        nearest_truth: (P,) indices of ``truth``.
    """
    from_truth = squared_distance(truth, points[nearest_point])
    from_points = squared_distance(points, truth[nearest_truth])
    return from_truth.mean(), from_points.mean()


def edge_length(vertices: Tensor, pairs: Tensor) -> Tensor:
    """Mean squared distance of the pairs, the vertices' distances 0 from themselves included."""
    return _edges(vertices, pairs).square().sum(dim=1).mean()


def normal_slope(vertices: Tensor, pairs: Tensor, normals: Tensor) -> Tensor:
    """Mean |cosine| between each pair's edge and the normal (V, 3) at its first vertex."""
    along = _normalised(normals[pairs[:, 0]]) * _normalised(_edges(vertices, pairs))
    return along.sum(dim=1).abs().mean()


def laplace_change(block: BlockMeshes, surface: Surface) -> Tensor:
    """Mean squared change of the vertices' distances from the mean of their neighbours."""
    change = laplace(block.before, surface) - laplace(block.after, surface)
    return change.square().sum(dim=1).mean()


def laplace(vertices: Tensor, surface: Surface) -> Tensor:
    """Each vertex (V, 3) minus the mean of its neighbours."""
    padded = torch.cat([vertices, vertices.new_zeros(1, 3)])
    # One after the other, as TensorFlow adds them: the change of this difference is so much smaller
    # than what is added that another order shows in float32.
    first, *others = padded[surface.neighbours].unbind(dim=1)
    return vertices - sum(others, first) * surface.degrees.reciprocal()


class _HalfSquare(torch.autograd.Function):
    """½Σw², whose gradient is w: one pass over the variables in the backward pass and not three."""

    @staticmethod
    def forward(context: Any, variable: Tensor) -> Tensor:
        context.save_for_backward(variable)
        return variable.square().sum() * 0.5

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (variable,) = context.saved_tensors
        return gradients[0] * variable


def half_square(variable: Tensor) -> Tensor:
    """Half the sum of a variable's squares, a scalar."""
    result: Tensor = _HalfSquare.apply(variable)
    return result


def decay_terms(network: nn.Module, weights: LossWeights) -> tuple[Tensor, list[Tensor]]:
    """The decay of the convolutions' kernels together, and of each graph variable by itself.

    The official losses leave the convolutions' biases alone.
    """
    kernels, graph = [], []
    for name, variable in network.named_parameters():
        if name.startswith("cnn."):
            if name.endswith(".weight"):
                kernels.append(half_square(variable) * CNN_REGULARISER)
        elif weights.decay_graph:
            graph.append(half_square(variable) * weights.decay_graph)
    return torch.stack(kernels).sum() * weights.decay_cnn, graph


def _total(terms: Mapping[str, Tensor], blocks: int, cnn: Tensor, graph: list[Tensor]) -> Tensor:
    """The terms' sum, in the order of the official graph."""
    # The coarse graph adds what compares a block with its input after all blocks' other terms.
    kinds = [BLOCK_TERMS[:3], BLOCK_TERMS[3:]]
    numbers = range(1, blocks + 1)
    if blocks == 3:
        groups = [(kind, number) for kind in kinds for number in numbers]
    else:
        groups = [(kind, number) for number in numbers for kind in kinds]
    total = cnn
    for kind, number in groups:
        names = (f"{name}_{number}" for name in kind)
        first, *others = (terms[name] for name in names if name in terms)
        total = total + sum(others, first)
    return sum(graph, total)


def _edges(vertices: Tensor, pairs: Tensor) -> Tensor:
    first, second = vertices[pairs].unbind(dim=1)
    return first - second


def _normalised(vectors: Tensor) -> Tensor:
    squares = vectors.square().sum(dim=1, keepdim=True)
    return vectors * squares.clamp(min=SQUARE_FLOOR).rsqrt()
