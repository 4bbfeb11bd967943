"""Losses and gradients of one evaluation of a stage: what a backend is asked for beside taps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from inputs.ground_truth import GroundTruth
from inputs.sampling import Draw, Samples, samples_on
from inputs.template import MOST_NEIGHBOURS, Template
from network.registry import network_of
from network.weights import WEIGHTS
from torch_impl.coarse import BlockMeshes
from torch_impl.losses import BlockSamples, Surface, Truth
from torch_impl.nearest import Targets

ToTensor = Callable[[np.ndarray], Tensor]
"""Puts an array on the run's device, floats in its precision."""


@dataclass(frozen=True)
class Evaluation:
    """Losses of one run, and the gradient of one of them.

    Attributes:
        losses: every term by its trace name, ``total`` last.
        gradients: of one of them, by checkpoint key in the checkpoint's layout, and ``mesh``;
            zeros where it does not reach; empty unless asked for.
        samples: the points that were drawn, as given or as drawn.
        meshes: every block's output (V, 3), camera frame of view 0.
    """

    losses: dict[str, float]
    gradients: dict[str, np.ndarray]
    samples: Samples
    meshes: tuple[np.ndarray, ...]


def block_surfaces(stage: str, template: Template, tensor: ToTensor) -> list[Surface]:
    """Each block's level of the template."""
    levels = {level: _surface(template, level, tensor) for level in set(network_of(stage).levels)}
    return [levels[level] for level in network_of(stage).levels]


def _surface(template: Template, level: int, tensor: ToTensor) -> Surface:
    table = template.laplace[level]
    neighbours = tensor(table[:, :MOST_NEIGHBOURS]).long()
    degrees = table[:, MOST_NEIGHBOURS + 1 :].astype(np.float32)
    return Surface(
        faces=tensor(template.faces[level]),
        pairs=tensor(template.supports[level][1].indices),
        neighbours=neighbours.where(neighbours >= 0, len(table)),
        degrees=tensor(degrees),
    )


def truth_of(ground_truth: GroundTruth, tensor: ToTensor) -> Truth:
    """The ground truth, ready to be searched."""
    normals = None if ground_truth.normals is None else tensor(ground_truth.normals)
    return Truth(Targets(tensor(ground_truth.points)), normals)


def draw_blocks(
    stage: str, template: Template, blocks: Sequence[BlockMeshes], draws: Sequence[Draw]
) -> Samples:
    """Draw points on the blocks' output meshes as they are now.

    Raises:
        InputError: a mesh has no area, or is not finite.
    """
    meshes = [block.after.detach().cpu().numpy() for block in blocks]
    return samples_on(stage, template, meshes, draws)


def block_samples(samples: Samples, tensor: ToTensor) -> list[BlockSamples]:
    """The samples by block."""
    return [
        BlockSamples(*(tensor(samples[f"{kind}_{block}"]) for kind in ("face", "r1", "r2")))
        for block in range(1, len(samples) // 3 + 1)
    ]


def checkpoint_arrays(stage: str, state: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors by state-dict key as arrays by checkpoint key, in the checkpoint's layout."""
    return {
        row.key: row.layout.to_checkpoint(state[row.torch_key].detach().cpu().numpy())
        for row in WEIGHTS[stage]
    }


def gradient_of(
    stage: str, term: Tensor, network: nn.Module, mesh: Tensor
) -> dict[str, np.ndarray]:
    """The gradient of a scalar by checkpoint key and ``mesh``, zeros where it does not reach."""
    leaves = {**dict(network.named_parameters()), "mesh": mesh}
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if term.requires_grad:
        found = torch.autograd.grad(term, list(leaves.values()), allow_unused=True)
    gradients = {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }
    by_key = checkpoint_arrays(stage, gradients)
    return {**by_key, "mesh": gradients["mesh"].cpu().numpy()}


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make sums on the CPU come out the same in every run, to the bit.

    Torch adds up the gradients of gathered rows in the order in which its threads arrive, unless
    told not to. (On a GPU its deterministic mode needs settings that only a new process can make.)
    """
    if device.type != "cpu":
        yield
        return
    deterministic: Any = torch.utils.deterministic
    mode, fill = torch.get_deterministic_debug_mode(), deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        deterministic.fill_uninitialized_memory = fill
