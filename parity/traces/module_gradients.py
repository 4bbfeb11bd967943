"""The official losses at a port's own meshes, differentiated through the port by autograd."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from network.registry import network_of
from parity.traces.module_variables import turned
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NamedVariables:
    """Variables by torch key, as ``torch_impl.losses`` reads a network's for the decay."""

    tensors: Mapping[str, "torch.Tensor"]

    def named_parameters(self) -> Iterator[tuple[str, "torch.Tensor"]]:
        yield from self.tensors.items()


def losses_at(
    stage: str,
    inputs: Mapping[str, Any],
    mesh: "torch.Tensor",
    meshes: Mapping[str, "torch.Tensor"],
    variables: NamedVariables,
    tensor: Callable[[np.ndarray], "torch.Tensor"],
) -> dict[str, "torch.Tensor"]:
    """All loss terms, ``total`` last.

    Args:
        stage: the network's name.
        inputs: ``template``, ``ground_truth`` and ``samples`` among them.
        mesh: (V, 3), the stage's input.
        meshes: by tap, the blocks' outputs.
        variables: what decays.
        tensor: puts an array on the port's device, in its precision.

    Raises:
        InputError: a block's mesh is no tap of the port.
    """
    from torch_impl.coarse import BlockMeshes
    from torch_impl.evaluation import block_samples, block_surfaces, truth_of
    from torch_impl.graph import unpool
    from torch_impl.losses import LossWeights, stage_losses

    template, blocks, before = inputs["template"], [], mesh
    for number, tap in enumerate(network_of(stage).meshes):
        if tap not in meshes:
            raise InputError("tap map", f"no tap {tap}", "every block's mesh, for the losses")
        if len(before) != len(meshes[tap]):
            before = unpool(before, tensor(template.unpooling[number - 1]).long())
        blocks.append(BlockMeshes(before, meshes[tap]))
        before = meshes[tap]
    return stage_losses(
        variables,  # type: ignore[arg-type] # of a network it reads the named parameters alone
        blocks,
        block_surfaces(stage, template, tensor),
        block_samples(inputs["samples"], tensor),
        truth_of(inputs["ground_truth"], tensor),
        LossWeights.of(stage),
    )


def gradients_of(
    stage: str,
    total: "torch.Tensor",
    parameters: Mapping[str, tuple[str, "torch.Tensor"]],
    mesh: "torch.Tensor",
) -> dict[str, np.ndarray]:
    """By checkpoint key, in the checkpoint's layout, and of the ``mesh``.

    ``parameters``: by torch key, name in the map and parameter; zeros where the loss does not
    reach.
    """
    import torch

    from torch_impl.loading import as_array

    leaves = {key: parameter for key, (_, parameter) in parameters.items()}
    leaves["mesh"] = mesh
    names = {key: name for key, (name, _) in parameters.items()}
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    arrays = {
        key: as_array(
            turned(names.get(key, ""), torch.zeros_like(leaf) if gradient is None else gradient)
        )
        for (key, leaf), gradient in zip(leaves.items(), found, strict=True)
    }
    rows = network_of(stage).variables
    result = {row.key: row.layout.to_checkpoint(arrays[row.torch_key]) for row in rows}
    return {**result, "mesh": arrays["mesh"]}
