"""Initial values of the variables, distributed as in the official graphs.

Where ``seeded`` makes probes for a comparison, these are what a training starts from.
"""

from collections.abc import Mapping

import numpy as np

from inputs.files import Float32
from network.layout import Layout
from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.errors import InputError


def initial_weights(
    stage: str, seed: int = 0, cnn: Mapping[str, np.ndarray] | None = None
) -> dict[str, Float32]:
    """Draw a stage's variables.

    Kernels of the convolutions are uniform in ±√(3 / fan-in), which is tflearn's variance scaling;
    weights of the graph convolutions in ±√(6 / (C_in + C_out)) (Glorot and Bengio, 2010); biases
    are 0. Every variable is drawn by a generator of its own, seeded with ``seed`` and its place.

    Args:
        stage: the network's name.
        seed: from 0 up.
        cnn: variables of a trained coarse stage, by checkpoint key. The refine stage's image
            encoder starts from its encoder in the official training, and is drawn without it.

    Returns:
        By checkpoint key, in the checkpoint's layout.

    Raises:
        InputError: the seed is negative, or ``cnn`` lacks a variable or has it in another shape.
    """
    if seed < 0:
        raise InputError("seed", repr(seed), "a number from 0 up")
    found = {
        row.key: _draw(row, np.random.default_rng([seed, place]))
        for place, row in enumerate(network_of(stage).variables)
    }
    if cnn is not None:
        found |= _encoder(stage, cnn)
    return found


def _draw(row: WeightRow, random: np.random.Generator) -> Float32:
    if row.layout is Layout.VECTOR:
        return np.zeros(row.shape, np.float32)
    *inputs, outputs = row.shape
    fan_in = int(np.prod(inputs))
    square = 3 / fan_in if row.layout is Layout.CONV else 6 / (fan_in + outputs)
    limit = np.float32(np.sqrt(square))
    return (random.random(row.shape, dtype=np.float32) * 2 - 1) * limit


def _encoder(stage: str, cnn: Mapping[str, np.ndarray]) -> dict[str, Float32]:
    """The image encoder of ``cnn`` under the keys of ``stage``."""
    network = network_of(stage)
    first = network_of(network.follows or stage)
    coarse_key = {row.torch_key: row.key for row in first.variables}
    found = {}
    for row in network.encoder:
        key = coarse_key[row.torch_key]
        if key not in cnn:
            raise InputError("coarse weights", f"no variable {key}", "the coarse stage's encoder")
        if cnn[key].shape != row.shape:
            raise InputError(f"coarse weights, {key}", f"shape {cnn[key].shape}", f"{row.shape}")
        found[row.key] = np.array(cnn[key], dtype=np.float32)
    return found
