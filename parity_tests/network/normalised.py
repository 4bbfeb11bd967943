"""A network with batch normalisation and GELU, as neither stage has, and a port of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from network import Layout, Network, TapRow, WeightRow, call, trace
from network.program import Expression
from parity.traces.array_inputs import ArrayInputs
from parity.traces.module_port import ModulePort
from parity.traces.port_map import TRANSPOSED, PortMap
from weight_conversion.weight_set import WeightSet

NAME = "normalised"
POINTS, CHANNELS, WIDTH = 40, 5, 12
EPSILON = 1e-3


def dense(x: Expression, *, weight: Expression, bias: Expression) -> Expression:
    """x W + b."""
    return x @ weight + bias


def batch_norm(
    x: Expression, *, gamma: Expression, beta: Expression, mean: Expression, variance: Expression
) -> Expression:
    """γ (x − μ) / √(σ² + ε) + β with the moving mean and variance (Ioffe and Szegedy 2015)."""
    return gamma * (x - mean) / call("sqrt", variance + EPSILON) + beta


def gelu(x: Expression) -> Expression:
    """x Φ(x) (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1.0 + call("erf", x * 0.5**0.5))


def _variable(tap: str, name: str, module: str, *shape: int) -> WeightRow:
    key = f"{NAME}/{tap}/{name}"
    layout = Layout.MATRIX if len(shape) == 2 else Layout.VECTOR
    return WeightRow(NAME, key, key, module, shape, layout)


def _row(order: int, name: str, parent: str, layer: str, width: int, formula: Any,
         *variables: str) -> TapRow:  # fmt: skip
    keys = {each: f"{NAME}/{name}/{each}" for each in variables}
    return TapRow(NAME, order, name, "", name, (POINTS, width), (parent,), layer,
                  variables=keys, formula=trace(formula), block=1)  # fmt: skip


NORM = ("gamma", "beta", "mean", "variance")
_TORCH = ("weight", "bias", "running_mean", "running_var")

NETWORK = Network(
    NAME,
    (
        _row(0, "first", "inputs/points", "dense", WIDTH, dense, "weight", "bias"),
        _row(1, "norm", "first", "batch_norm", WIDTH, batch_norm, *NORM),
        _row(2, "gelu", "norm", "gelu", WIDTH, gelu),
        _row(3, "last", "gelu", "dense", 3, dense, "weight", "bias"),
    ),
    (
        _variable("first", "weight", "first.weight", CHANNELS, WIDTH),
        _variable("first", "bias", "first.bias", WIDTH),
        *(_variable("norm", own, f"norm.{torchs}", WIDTH)
          for own, torchs in zip(NORM, _TORCH, strict=True)),
        _variable("last", "weight", "last.weight", WIDTH, 3),
        _variable("last", "bias", "last.bias", 3),
    ),
    {"points": (POINTS, CHANNELS)},
    meshes=(),
    output="last",
)  # fmt: skip


def inputs() -> ArrayInputs:
    """Points."""
    points = np.random.default_rng(4).standard_normal((POINTS, CHANNELS))
    return ArrayInputs(NAME, {"points": points.astype(np.float32)})


def weights() -> WeightSet:
    """Drawn; variances are positive."""
    random = np.random.default_rng(5)
    drawn = {row.key: random.standard_normal(row.shape) for row in NETWORK.variables}
    key = f"{NAME}/norm/variance"
    drawn[key] = np.abs(drawn[key]) + 0.5
    return WeightSet(NAME, {k: each.astype(np.float32) for k, each in drawn.items()}, None, "drawn")


class Normalised(nn.Module):
    """As a user of PyTorch writes it."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.first = nn.Linear(CHANNELS, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH, eps=EPSILON)
        self.gelu = nn.GELU(approximate=approximate)
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.last(self.gelu(self.norm(self.first(points))))


MAP = PortMap(
    {row.name: row.name for row in NETWORK.taps},
    {row.key: row.torch_key + TRANSPOSED * (len(row.shape) == 2) for row in NETWORK.variables},
)


def call_it(module: nn.Module, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """How it is called."""
    return module(given["points"])


def port(module: nn.Module, dtype: str) -> ModulePort:
    """A port of a module with these submodules."""
    return ModulePort(NAME, module.eval().to(getattr(torch, dtype)), call_it, MAP)


def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
    return port(Normalised(), dtype)
