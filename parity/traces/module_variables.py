"""The parameters of a module as a network's variables: read, loaded, differentiated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from network.registry import network_of
from parity.traces.port_map import TRANSPOSED
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def parameter_of(module: "nn.Module", name: str) -> "torch.Tensor":
    """The parameter or buffer that a name is of, as it is.

    Raises:
        KeyError: there is none.
    """
    there = dict(module.named_buffers(remove_duplicate=False))
    there |= dict(module.named_parameters(remove_duplicate=False))
    return there[name.removesuffix(TRANSPOSED)]


def turned(name: str, tensor: "torch.Tensor") -> "torch.Tensor":
    """A parameter, or what has its shape, as the variable; and back."""
    return tensor.T if name.endswith(TRANSPOSED) else tensor


def check_variables(stage: str, module: "nn.Module", variables: Mapping[str, str]) -> None:
    """Hold a map of variables against a module.

    Raises:
        InputError: a variable is none of the network's, or a parameter is not there, is named for
            two variables, or has another shape.
    """
    rows, taken = network_of(stage).variables_by_key, dict[str, str]()
    for key, name in variables.items():
        if key not in rows:
            raise InputError("variable map", f"unknown variable {key!r}", f"one of {stage}")
        plain = name.removesuffix(TRANSPOSED)
        if plain in taken:
            found = f"{plain!r} is {taken[plain]} and {key}"
            raise InputError("variable map", found, "one of them")
        taken[plain] = key
        try:
            shape = tuple(turned(name, parameter_of(module, name)).shape)
        except KeyError:
            found = f"{key}: no parameter {name!r}"
            expected = "a parameter or buffer of the module"
            raise InputError("variable map", found, expected) from None
        if shape != rows[key].torch_shape:
            raise InputError(
                "variable map", f"{key}: {name!r} has shape {shape}", f"{rows[key].torch_shape}"
            )


def load_variables(
    stage: str,
    module: "nn.Module",
    variables: Mapping[str, str],
    weights: Mapping[str, np.ndarray],
) -> None:
    """Put weights, by checkpoint key and in the checkpoint's layout, into a module's parameters."""
    import torch

    rows = network_of(stage).variables_by_key
    with torch.no_grad():
        for key, name in variables.items():
            value = torch.from_numpy(rows[key].layout.to_torch(weights[key]))
            parameter_of(module, name).copy_(turned(name, value))
