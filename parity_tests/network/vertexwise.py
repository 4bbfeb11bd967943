"""A network whose layers mix no vertices, of so many that it is judged in parts.

Every vertex has places around it; what is made of each place is added up again. Its taps have names
that an official tap has too, with another number of rows by vertex.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from network import Layout, Network, TapRow, WeightRow, call, network_of, trace
from network.program import Expression
from parity.traces.array_inputs import ArrayInputs
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap
from weight_conversion.weight_set import WeightSet

NAME = "around"
VERTICES, PLACES, WIDTH = 300, 4, 6
PART = 69 * 8 * 3 * PLACES
"""Bytes of a part with which the network has five: ``parity.oracle.chunks.PART`` in tests."""
# An official name: there it has one row by vertex, here one by place.
FLAT = network_of("refine").of_layer("softmax")[0].name


def features(x: Expression, *, weight: Expression, bias: Expression) -> Expression:
    """x W + b of every place, (V·places, C)."""
    return x @ weight + bias


def summed(x: Expression) -> Expression:
    """Σ over the places of a vertex, (V, C)."""
    return call("reduce_sum", x, axis=1, keep=False)


NETWORK = Network(
    NAME,
    (
        TapRow(NAME, 0, "places", "", "places", (VERTICES, PLACES, 3), ("inputs/mesh",),
               "hypotheses", constants={"offsets": "places/offsets"}, block=1, rows_per_vertex=1),
        TapRow(NAME, 1, FLAT, "", "features", (VERTICES * PLACES, WIDTH), ("places",), "features",
               variables={"weight": "around/weight", "bias": "around/bias"}, block=1,
               rows_per_vertex=PLACES, formula=trace(features)),
        TapRow(NAME, 2, "summed", "", "summed", (VERTICES, WIDTH), (FLAT,), "summed", block=1,
               rows_per_vertex=1, formula=trace(summed)),
    ),
    (
        WeightRow(NAME, "around/weight", "", "features.weight", (3, WIDTH), Layout.MATRIX),
        WeightRow(NAME, "around/bias", "", "features.bias", (WIDTH,), Layout.VECTOR),
    ),
    {"mesh": (VERTICES, 3)},
    meshes=(),
    output="summed",
    vertices=(VERTICES,),
)  # fmt: skip


def inputs() -> ArrayInputs:
    """A mesh, and the places around a vertex."""
    random = np.random.default_rng(5)
    found = {"mesh": (VERTICES, 3), "places/offsets": (PLACES, 3)}
    return ArrayInputs(
        NAME, {name: random.standard_normal(shape, np.float32) for name, shape in found.items()}
    )


def weights() -> WeightSet:
    """Drawn at random."""
    random = np.random.default_rng(6)
    rows = NETWORK.variables
    return WeightSet(
        NAME, {row.key: random.standard_normal(row.shape, np.float32) for row in rows}, None, "test"
    )


class Places(nn.Module):
    def forward(self, mesh: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return mesh[:, None] + offsets


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(0, 1) @ self.weight + self.bias


class Summed(nn.Module):
    # A row that is wrong, in the last part of the vertices.
    wrong: int | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x.unflatten(0, (-1, PLACES)).sum(dim=1)
        if self.wrong is not None:
            found[self.wrong] *= 1.001
        return found


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places, self.features, self.summed = Places(), Features(), Summed()

    def forward(self, mesh: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return self.summed(self.features(self.places(mesh, offsets)))


def port(module: nn.Module, dtype: str) -> ModulePort:
    """The module as a backend, in a precision."""
    module = module.to(getattr(torch, dtype))

    return ModulePort(NAME, module, call_it, MAP)


def call_it(module: nn.Module, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """How the harness calls it."""
    found: torch.Tensor = module(given["mesh"], given["places/offsets"])
    return found


MAP = PortMap(
    {row.name: row.module for row in NETWORK.taps},
    {row.key: row.torch_key for row in NETWORK.variables},
)


def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
    """The port as it is."""
    return port(Around(), dtype)


def faulty(_stage: str, dtype: str, _device: str) -> ModulePort:
    """The port with one vertex wrong."""
    module = Around()
    module.summed.wrong = VERTICES - 3
    return port(module, dtype)
