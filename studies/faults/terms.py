"""Faults of the losses: factors, reductions, what is compared with what, what passes gradients."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from studies.faults.injection import Injection, Inputs, replaced, replacing, swapped
from torch_impl import losses
from torch_impl.losses import LossWeights, half_square
from torch_impl.nearest import Targets

Function = Callable[..., Any]


def scaled(factors: Mapping[str, float]) -> Injection:
    """Terms multiplied by other factors, in the total as well."""

    def make(compute: Function) -> Function:
        def stage_losses(*given: Any, **named: Any) -> dict[str, Tensor]:
            found: dict[str, Tensor] = compute(*given, **named)
            for term, factor in factors.items():
                changed = found[term] * factor
                found["total"] = found["total"] + (changed - found[term])
                found[term] = changed
            return found

        return stage_losses

    return replacing("losses.stage_losses", make)


def weighted(change: Callable[[str, LossWeights], LossWeights]) -> Injection:
    """Other official factors for a stage."""

    def make(of: Callable[[str], LossWeights]) -> Function:
        return staticmethod(lambda stage: change(stage, of(stage)))

    return Injection(around=(lambda: swapped(LossWeights, "of", make),))


def factors(**values: float) -> Injection:
    """Single factors replaced."""
    return weighted(lambda _, given: replace(given, **values))


def computed(name: str, make: Callable[[Function], Function]) -> Injection:
    """A function of ``torch_impl.losses`` replaced."""
    return replacing(f"losses.{name}", make)


def vertices_only() -> Injection:
    """No samples: the vertices alone are compared with the ground truth."""
    return computed("surface_points", lambda _: lambda vertices, *_: vertices[:0])


def samples_without_root(vertices: Tensor, faces: Tensor, samples: Any) -> Tensor:
    """Points dense at one corner of their faces: r1 in place of its root."""
    a, b, c = vertices[faces[samples.face]].unbind(dim=1)
    r1, r2 = samples.r1[:, None], samples.r2[:, None]
    return (1.0 - r1) * a + r1 * (1.0 - r2) * b + r1 * r2 * c


def samples_detached(sample: Function) -> Function:
    """No gradient from the samples to the vertices."""
    return lambda *given: sample(*given).detach()


def chamfer_of_distances(
    points: Tensor, truth: Tensor, nearest_point: Tensor, nearest_truth: Tensor
) -> tuple[Tensor, Tensor]:
    """Means of distances, not of their squares."""
    from_truth = (truth - points[nearest_point]).norm(dim=1)
    from_points = (points - truth[nearest_truth]).norm(dim=1)
    return from_truth.mean(), from_points.mean()


def chamfer_swapped(means: Function) -> Function:
    """The factor 0.55 on the other direction."""
    return lambda *given: means(*given)[::-1]


def chamfer_summed(means: Function) -> Function:
    """Sums in place of the two means."""

    def chamfer(points: Tensor, truth: Tensor, *nearest: Tensor) -> tuple[Tensor, Tensor]:
        first, second = means(points, truth, *nearest)
        return first * len(truth), second * len(points)

    return chamfer


def matched_detached(means: Function) -> Function:
    """Gradients through the nearest ground truth of a point, not through the nearest point."""

    def chamfer(points: Tensor, truth: Tensor, *nearest: Tensor) -> tuple[Tensor, Tensor]:
        first, _ = means(points.detach(), truth, *nearest)
        return first, means(points, truth, *nearest)[1]

    return chamfer


def expanded_search(self: Targets, queries: Tensor) -> Tensor:
    """Nearest neighbours by |a|² + |b|² − 2ab, which loses what is small in float32."""
    queries = queries.detach()
    found = []
    for part in queries.split(512):
        squares = part.square().sum(1, keepdim=True) + self.points.square().sum(1)
        found.append((squares - 2.0 * part @ self.points.T).argmin(dim=1))
    return torch.cat(found)


def expanded_distances() -> Injection:
    """The search for nearest neighbours by ``expanded_search``."""
    return Injection(around=(lambda: swapped(Targets, "nearest", lambda _: expanded_search),))


def without_loops(function: Function) -> Function:
    """The pairs without those that join a vertex with itself."""

    def reduced(vertices: Tensor, pairs: Tensor, *rest: Tensor) -> Tensor:
        result: Tensor = function(vertices, pairs[pairs[:, 0] != pairs[:, 1]], *rest)
        return result

    return reduced


def edges_unsquared(vertices: Tensor, pairs: Tensor) -> Tensor:
    """The mean length of the pairs."""
    first, second = vertices[pairs].unbind(dim=1)
    return (first - second).square().sum(dim=1).clamp(min=1e-24).sqrt().mean()


def normals_of_second(slope: Function) -> Function:
    """The normal at the second end of each edge."""
    return lambda vertices, pairs, normals: slope(vertices, pairs.flip(1), normals)


def normals_turned(slope: Function) -> Function:
    """Every vertex with the normal found for the next one."""
    return lambda vertices, pairs, normals: slope(vertices, pairs, normals.roll(1, dims=0))


def normals_signed(slope: Function) -> Function:  # noqa: ARG001 - the form of ``computed``
    """The mean cosine without its absolute value."""

    def signed(vertices: Tensor, pairs: Tensor, normals: Tensor) -> Tensor:
        along = losses._normalised(normals[pairs[:, 0]])
        first, second = vertices[pairs].unbind(dim=1)
        return (along * losses._normalised(first - second)).sum(dim=1).mean()

    return signed


def laplace_padded_with_last(function: Function) -> Function:  # noqa: ARG001
    """The padding index −1 taken for the last vertex, as Python does."""

    def laplace(vertices: Tensor, surface: Any) -> Tensor:
        neighbours = surface.neighbours.clamp(max=len(vertices) - 1)
        return vertices - vertices[neighbours].sum(dim=1) / surface.degrees

    return laplace


def laplace_of_eight(function: Function) -> Function:
    """The neighbours' sum divided by the eight columns of the table."""

    def laplace(vertices: Tensor, surface: Any) -> Tensor:
        eight = torch.full_like(surface.degrees, 8.0)
        result: Tensor = function(vertices, replace(surface, degrees=eight))
        return result

    return laplace


def before_detached() -> Injection:
    """A block's input taken as constant by what compares it with the output."""

    def make(terms: Function) -> Function:
        def block_terms(block: Any, *rest: Any) -> Any:
            return terms(replace(block, before=block.before.detach()), *rest)

        return block_terms

    return Injection(around=(lambda: replaced("losses._block_terms", make),))


def decay(kernels: bool = True, biases: bool = False, halved: bool = True) -> Injection:
    """Another decay of the image network: without kernels, with biases, without the half."""

    def make(terms: Function) -> Function:
        def decay_terms(network: Any, weights: LossWeights) -> tuple[Tensor, list[Tensor]]:
            _, graph = terms(network, weights)
            wanted = [name for name, on in ((".weight", kernels), (".bias", biases)) if on]
            found = network.cnn.conv2d_1.weight.new_zeros(())
            for name, variable in network.cnn.named_parameters():
                if name.endswith(tuple(wanted)) and wanted:
                    square = half_square(variable) * losses.CNN_REGULARISER
                    found = found + square * (1.0 if halved else 2.0)
            return found * weights.decay_cnn, graph

        return decay_terms

    return computed("decay_terms", make)


def total_without(term: str) -> Injection:
    """A term that is computed and left out of the total."""

    def make(compute: Function) -> Function:
        def stage_losses(*given: Any, **named: Any) -> dict[str, Tensor]:
            found: dict[str, Tensor] = compute(*given, **named)
            found["total"] = found["total"] - found[term]
            return found

        return stage_losses

    return replacing("losses.stage_losses", make)


def ground_truth(edit: Callable[[Any], Any]) -> Injection:
    """An edit of the ground truth."""

    def change(_: str, inputs: Inputs) -> Inputs:
        given = inputs.get("ground_truth")
        return inputs if given is None else {**inputs, "ground_truth": edit(given)}

    return Injection(inputs=change)
