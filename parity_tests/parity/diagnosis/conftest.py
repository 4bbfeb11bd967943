"""A context with few variables that are not zero, for single layers on small random inputs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from network.taps import TAPS, TapRow
from network.weights import WEIGHTS
from parity.oracle.context import Context

Make = Callable[..., Context]


def float32(array: np.ndarray) -> np.ndarray:
    """Float32 values in float64, as contexts hold them."""
    return array.astype(np.float32).astype(np.float64)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def context(rng: np.random.Generator) -> Make:
    """Makes a context of a stage whose named modules have random weights, the others zeros."""

    def make(stage: str, *modules: str) -> Context:
        weights = {}
        for row in WEIGHTS[stage]:
            drawn = row.torch_key.rpartition(".")[0] in modules
            size = np.sqrt(3.0 / max(np.prod(row.shape[:-1]), 1))
            weights[row.key] = (
                float32(rng.uniform(-size, size, row.shape))
                if drawn
                else np.broadcast_to(0.0, row.shape)
            )
        cameras = float32(
            np.array([[40.0, 27, 0, 1.1, 25], [130, 22, 0, 1.2, 25], [250, 31, 0, 0.9, 25]])
        )
        arrays: dict[str, Any] = {"cameras": cameras}
        if stage == "coarse":
            graph = ring(156)
            pairs = np.stack([np.arange(156), (np.arange(156) + 1) % 156], axis=1)
            for level in (1, 2, 3):
                arrays[f"template/support_{level}_0"] = sp.csr_array(np.eye(156))
                arrays[f"template/support_{level}_1"] = sp.csr_array(graph)
            arrays |= {f"template/unpooling_{number}": pairs for number in (1, 2)}
        else:
            offsets = np.concatenate([np.zeros((1, 3)), rng.normal(0, 0.02, (42, 3))])
            arrays["hypotheses/offsets"] = float32(offsets)
            arrays["hypotheses/supports/0"] = np.eye(43)
            arrays["hypotheses/supports/1"] = ring(43)
        return Context(stage, weights, arrays)

    return make


def ring(size: int) -> np.ndarray:
    """The scaled Laplacian of a ring with one chord more, so that degrees differ."""
    linked = np.roll(np.eye(size), 1, 0) + np.roll(np.eye(size), -1, 0)
    linked[0, size // 2] = linked[size // 2, 0] = 1.0
    degree = linked.sum(axis=1)
    laplacian = np.eye(size) - linked / np.sqrt(np.outer(degree, degree))
    scaled = 2.0 * laplacian / np.linalg.eigvalsh(laplacian)[-1] - np.eye(size)
    return float32(scaled)


@pytest.fixture
def tap() -> Callable[..., TapRow]:
    """Finds a tap's row, with another shape where one is given."""

    def find(stage: str, name: str, shape: tuple[int, ...] | None = None) -> TapRow:
        row = next(row for row in TAPS[stage] if row.name == name)
        return row if shape is None else replace(row, shape=shape)

    return find
