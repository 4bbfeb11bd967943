"""A network that is neither stage: other inputs, layers, widths and names, and a port of it.

Two strided convolutions look at two photos; points are lifted by a graph convolution, gated by what
the photos show, joined, normalised and moved. No stage has a gate or a normalisation.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from network import Layout, Network, TapRow, WeightRow, call, trace
from network.program import Expression
from parity.traces.array_inputs import ArrayInputs
from parity.traces.module_port import ModulePort
from parity.traces.port_map import PortMap
from weight_conversion.weight_set import WeightSet

NAME = "gated"
POINTS, WIDTH = 30, 11
PHOTOS = (2, 12, 10, 4)
FLOOR = 2.0**-10


def gate(x: Expression, seen: Expression, *, weight: Expression, bias: Expression) -> Expression:
    """x·σ(mean(seen) W + b): the mean is over views, rows and columns; x (V, C)."""
    mean = seen
    for _ in range(3):
        mean = call("reduce_mean", mean, axis=0, keep=False)
    logits = mean[None] @ weight + bias
    return x / (1.0 + call("exp", 0.0 - logits))


def normalisation(x: Expression, *, scale: Expression) -> Expression:
    """x·s/√(mean(x²) + ε) over the channels of a point."""
    mean = call("reduce_mean", call("square", x), axis=1)
    return x / call("sqrt", mean + FLOOR) * scale


def _variable(name: str, module: str, shape: tuple[int, ...], layout: Layout) -> WeightRow:
    last = module.rpartition(".")[0] + "/" + name
    return WeightRow(NAME, f"{NAME}/{last}", f"{NAME}/{last}", module, shape, layout)


def _graph(name: str, channels_in: int, channels_out: int) -> tuple[WeightRow, ...]:
    shape = (channels_in, channels_out)
    return (
        _variable("near", f"{name}.near", shape, Layout.MATRIX),
        _variable("far", f"{name}.far", shape, Layout.MATRIX),
        _variable("shift", f"{name}.shift", (channels_out,), Layout.VECTOR),
    )


VARIABLES = (
    _variable("kernel", "first.weight", (3, 3, 4, 5), Layout.CONV),
    _variable("shift", "first.bias", (5,), Layout.VECTOR),
    _variable("kernel", "second.weight", (3, 3, 5, 7), Layout.CONV),
    _variable("shift", "second.bias", (7,), Layout.VECTOR),
    *_graph("lift", 3, WIDTH),
    _variable("matrix", "gate.matrix", (7, WIDTH), Layout.MATRIX),
    _variable("shift", "gate.shift", (WIDTH,), Layout.VECTOR),
    _variable("scale", "norm.scale", (WIDTH,), Layout.VECTOR),
    *_graph("move", WIDTH, 3),
)
_CONVOLVED = {"weight": "kernel", "bias": "shift"}
_LINKED = {"weights_0": "near", "weights_1": "far", "bias": "shift"}
_GRAPH = {"support_0": "graph/near", "support_1": "graph/far"}


def _row(order: int, name: str, shape: tuple[int, ...], parents: tuple[str, ...], layer: str,
         variables: Mapping[str, str] | None = None, **more: Any) -> TapRow:  # fmt: skip
    keys = {inner: f"{NAME}/{name}/{own}" for inner, own in (variables or {}).items()}
    return TapRow(NAME, order, name, "", name, shape, parents, layer, variables=keys, **more)


NETWORK = Network(
    NAME,
    (
        _row(0, "first", (2, 6, 5, 5), ("inputs/photos",), "image_convolution", _CONVOLVED,
             settings={"stride": 2}),
        _row(1, "second", (2, 6, 5, 7), ("first",), "image_convolution", _CONVOLVED,
             settings={"stride": 1}),
        _row(2, "lift", (POINTS, WIDTH), ("inputs/points",), "graph_convolution", _LINKED,
             constants=_GRAPH, block=1),
        _row(3, "gate", (POINTS, WIDTH), ("lift", "second"), "gate",
             {"weight": "matrix", "bias": "shift"}, formula=trace(gate), block=1),
        _row(4, "joined", (POINTS, WIDTH), ("lift", "gate"), "plain_sum", block=1),
        _row(5, "norm", (POINTS, WIDTH), ("joined",), "normalisation", {"scale": "scale"},
             formula=trace(normalisation), block=2),
        _row(6, "move", (POINTS, 3), ("norm",), "coordinates", _LINKED, constants=_GRAPH,
             block=2),
    ),
    VARIABLES,
    {"photos": PHOTOS, "points": (POINTS, 3)},
    meshes=(),
    output="move",
)  # fmt: skip


def inputs() -> ArrayInputs:
    """Photos, points, and two graphs among them."""
    random = np.random.default_rng(3)
    found = {
        "photos": random.uniform(0.0, 1.0, PHOTOS).astype(np.float32),
        "points": random.standard_normal((POINTS, 3)).astype(np.float32),
    }
    for name, links in (("near", 3), ("far", 5)):
        dense = sp.eye_array(POINTS).toarray() * 0.5
        for row in dense:
            row[random.choice(POINTS, links, replace=False)] += random.uniform(-0.5, 0.5, links)
        found[f"graph/{name}/indices"] = np.argwhere(dense).astype(np.int64)
        found[f"graph/{name}/values"] = dense[dense != 0].astype(np.float32)
    return ArrayInputs(NAME, found)


def weights() -> WeightSet:
    """Drawn at random, so that every layer's output depends on every input."""
    random = np.random.default_rng(4)
    arrays = {
        row.key: (random.standard_normal(row.shape) / math.sqrt(math.prod(row.shape[:-1])))
        .astype(np.float32)
        for row in VARIABLES
    }  # fmt: skip
    return WeightSet(NAME, arrays, None, "a test")


class Convolution(nn.Conv2d):
    """3×3 and a ReLU, with one row and column more at the end where the stride is 2."""

    strided_pad = (0, 1, 0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pad = self.strided_pad if self.stride[0] == 2 else (1, 1, 1, 1)
        return torch.relu(super().forward(nn.functional.pad(x, pad)))


class GraphConvolution(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, last: bool) -> None:
        super().__init__()
        self.near = nn.Parameter(torch.zeros(channels_in, channels_out))
        self.far = nn.Parameter(torch.zeros(channels_in, channels_out))
        self.shift = nn.Parameter(torch.zeros(channels_out))
        self.last = last
        self.product: Callable[..., torch.Tensor] = lambda graph, x, matrix: graph @ (x @ matrix)

    def forward(self, x: torch.Tensor, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
        found = self.product(near, x, self.near) + self.product(far, x, self.far) + self.shift
        return found if self.last else torch.relu(found)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(7, WIDTH))
        self.shift = nn.Parameter(torch.zeros(WIDTH))
        self.sigmoid: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid

    def forward(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return x * self.sigmoid(seen.mean(dim=(0, 2, 3)) @ self.matrix + self.shift)


class Sum(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


class Norm(nn.Module):
    floor = FLOOR

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(dim=1, keepdim=True) + self.floor) * self.scale


class Gated(nn.Module):
    """A plain port: it knows nothing of the harness."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Convolution(4, 5, 3, stride=2), Convolution(5, 7, 3)
        self.lift, self.gate, self.joined = GraphConvolution(3, WIDTH, False), Gate(), Sum()
        self.norm, self.move = Norm(), GraphConvolution(WIDTH, 3, True)

    def forward(
        self, photos: torch.Tensor, points: torch.Tensor, near: torch.Tensor, far: torch.Tensor
    ) -> torch.Tensor:
        seen = self.second(self.first(photos.permute(0, 3, 1, 2)))
        x = self.lift(points, near, far)
        return self.move(self.norm(self.joined(x, self.gate(x, seen))), near, far)


def port(module: nn.Module, dtype: str) -> ModulePort:
    """The module as a backend, in a precision."""
    module = module.to(getattr(torch, dtype))

    return ModulePort(NAME, module, call_it, MAP)


def call_it(module: nn.Module, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """How the harness calls it."""
    graphs = [given[f"graph/{name}"].to_dense() for name in ("near", "far")]
    found: torch.Tensor = module(given["photos"], given["points"], *graphs)
    return found


MAP = PortMap(
    {row.name: row.name for row in NETWORK.taps}, {row.key: row.torch_key for row in VARIABLES}
)


def factory(_stage: str, dtype: str, _device: str) -> ModulePort:
    """The port as it is."""
    return port(Gated(), dtype)


def reordered(_stage: str, dtype: str, _device: str) -> ModulePort:
    """Another implementation of the same function, which rounds otherwise."""
    module = Gated()
    for each in (module.lift, module.move):
        each.product = lambda graph, x, matrix: (graph @ x) @ matrix
    module.gate.sigmoid = lambda z: 0.5 + 0.5 * torch.tanh(0.5 * z)
    return port(module, dtype)
