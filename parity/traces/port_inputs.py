"""What a run reads, as tensors: what a module port's ``call`` is given."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from inputs.constants import constants_of
from network.registry import network_of
from parity.oracle.context import INDICES, SHAPE, VALUES, sparse_places

if TYPE_CHECKING:
    import torch


def arrays_of(stage: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Everything that a network's layers read beside weights, by its name under ``/inputs``.

    ``inputs`` as in ``Backend.run``.
    """
    found = {name: each for name, each in inputs.items() if isinstance(each, np.ndarray)}
    if "template" in inputs and "hypotheses" in inputs:
        found |= constants_of(stage, inputs["template"], inputs["hypotheses"])
    return found


def tensors_of(
    stage: str, inputs: Mapping[str, Any], like: "torch.Tensor"
) -> dict[str, "torch.Tensor"]:
    """The same as tensors of their own, on the device and in the precision of ``like``.

    Numbers are float32 values, widened where the run is; indices are int64. A sparse matrix is one
    sparse tensor, under the name that its parts have in common.
    """
    import torch

    def tensor(array: np.ndarray) -> "torch.Tensor":
        if array.dtype.kind != "f":
            return torch.tensor(array.astype(np.int64), device=like.device)
        return torch.tensor(array.astype(np.float32), dtype=like.dtype, device=like.device)

    arrays, found = arrays_of(stage, inputs), {}
    for name, array in arrays.items():
        whole, _, part = name.rpartition("/")
        if f"/{part}" == INDICES:
            places, shape = sparse_places(arrays, whole)
            found[whole] = torch.sparse_coo_tensor(
                tensor(places).T, tensor(arrays[whole + VALUES]), shape, check_invariants=True
            ).coalesce()
        elif f"/{part}" not in (VALUES, SHAPE) or whole + INDICES not in arrays:
            found[name] = tensor(array)
    # One of a stack of matrices is known under its number.
    for name in network_of(stage).constants:
        stack, _, number = name.rpartition("/")
        if name not in found and stack in found:
            found[name] = found[stack][int(number)]
    return found
