"""Interventions in the losses, and which of their terms works for or against the degree mode."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from parity.meshes.spikes.topology import REGULAR
from torch_impl.coarse import BlockMeshes
from torch_impl.losses import LossWeights, Surface, laplace

SCALED: dict[str, tuple[str, float]] = {
    "no_laplace": ("laplace", 0.0),
    "laplace_x5": ("laplace", 5.0),
    "no_move": ("move", 0.0),
    "move_x5": ("move", 5.0),
    "no_edge": ("edge", 0.0),
    "edge_x5": ("edge", 5.0),
    "no_normal": ("normal", 0.0),
}
"""One term left out, or weighed five times as much, in every block that is run."""

LOSS_CHANGES = (*SCALED, "irregular_mean")
"""``irregular_mean``: Laplace and move are means over the irregular vertices alone, so that the
vertices without a fault do not thin it out."""


def scaled(weights: LossWeights, switched_on: Collection[str]) -> LossWeights:
    """The factors of the loss terms with some changes of ``SCALED`` made."""
    for name in switched_on:
        if name in SCALED:
            term, factor = SCALED[name]
            weights = replace(weights, **{term: getattr(weights, term) * factor})
    return weights


def irregular_terms(
    blocks: Sequence[BlockMeshes], surfaces: Sequence[Surface], weights: LossWeights
) -> dict[str, Tensor]:
    """``laplace_b`` and ``move_b`` as means over the vertices that do not have six neighbours."""
    found = {}
    for number, (block, surface) in enumerate(zip(blocks, surfaces, strict=True), start=1):
        here = (surface.degrees != REGULAR)[:, 0]
        change = laplace(block.before, surface) - laplace(block.after, surface)
        way = block.before - block.after
        for name, vectors, factor in (
            ("laplace", change, weights.laplace),
            ("move", way, weights.move),
        ):
            found[f"{name}_{number}"] = vectors[here].square().sum(dim=1).mean() * factor
    return found


def slope(
    terms: Mapping[str, Tensor], blocks: Sequence[BlockMeshes], surfaces: Sequence[Surface]
) -> dict[str, float]:
    """The slope of every block's loss terms along the degree mode of the block's own output.

    The mode moves a vertex of degree d by (√(d/6) − 1) times its neighbours' mean
    (``residuals.degree_displacement``); the slope is the term's change, per unit of the mode's
    strength, where every vertex is moved so. Positive: the term works against the mode. Negative:
    the term gains by more of it.

    Args:
        terms: of ``stage_losses``, each block's a function of that block's ``after``.
        blocks: their ``after`` a leaf with ``requires_grad``; (V, 3), metres, camera frame.
        surfaces: each block's level of the template.

    Returns:
        By the terms' names, without ``decay`` and ``total``, which know no mesh of their own.
    """
    found = {}
    for number, (block, surface) in enumerate(zip(blocks, surfaces, strict=True), start=1):
        after = block.after
        places = after.detach() - laplace(after.detach(), surface)
        mode = ((surface.degrees / REGULAR).sqrt() - 1.0) * places
        for name, term in terms.items():
            if name.endswith(f"_{number}"):
                (gradient,) = torch.autograd.grad(term, after, retain_graph=True, allow_unused=True)
                found[name] = 0.0 if gradient is None else float((gradient * mode).sum())
    return found
