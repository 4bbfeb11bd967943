"""The network tap by tap: any tap computed again from its parents, or given another value.

The taps' table says what each is computed from, and the torch model's modules compute it. What is
replaced stays as given, what depends on it is computed again, and everything else is kept. Nothing
mixes between vertices in the refine stage, so there a few vertices can be replayed by themselves.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.files import Int64
from network.registry import network_of
from network.taps import IMAGES, MESH, TapRow
from parity.traces.record import RunInputs
from torch_impl.backend import factory
from torch_impl.graph import unpool
from torch_impl.precision import full_precision
from torch_impl.projection import (
    bilinear_corners,
    bilinear_features,
    nearest_cells,
    nearest_features,
    pixels,
    view_statistics,
    with_border,
)
from weight_conversion.errors import InputError

Values = dict[str, Tensor]
"""Taps by name, in the official layout; in the refine stage the rows of the replayed vertices."""


class Replay:
    """One stage with its weights on one item.

    Attributes:
        stage: the network's name.
        rows: the taps, in order.
        vertices: which vertices are replayed: all where layers mix them.
        some: whether these were chosen.
    """

    def __init__(
        self,
        inputs: RunInputs,
        weights: Mapping[str, np.ndarray],
        vertices: Int64 | None = None,
        dtype: str = "float32",
    ) -> None:
        """Prepare a replay.

        Args:
            inputs: what the run read.
            weights: by checkpoint key.
            vertices: numbers of the vertices to replay, where no layer mixes any.
            dtype: "float32" or "float64".

        Raises:
            InputError: vertices chosen in a stage whose vertices depend on each other.
        """
        self.stage = inputs.stage
        self._table = network_of(self.stage)
        self.rows = self._table.taps
        self.some = vertices is not None
        if self.some and not self._table.vertexwise:
            raise InputError("replay", f"some vertices of the {self.stage} stage", "all of them")
        self.vertices = np.arange(len(inputs.mesh)) if vertices is None else np.asarray(vertices)
        backend = factory(self.stage, dtype)
        self._network = backend.load(weights)
        images, self._cameras, mesh, *self._graph = backend.feeds(inputs.mapping())
        chosen = torch.as_tensor(self.vertices)
        self._inputs = {IMAGES: images, MESH: mesh[chosen] if vertices is not None else mesh}

    def run(
        self,
        replaced: Mapping[str, Tensor] | None = None,
        base: Values | None = None,
        departures: Mapping[str, Tensor] | None = None,
        on_tap: Callable[[str], None] | None = None,
    ) -> Values:
        """All taps.

        Args:
            replaced: values that taps are given in place of their own.
            base: the taps of an earlier run, kept where nothing before them is replaced.
            departures: what is added to taps after they are computed, by the run under diagnosis.
            on_tap: told each tap that is computed.
        """
        replaced, departures = replaced or {}, departures or {}
        values: Values = {}
        changed: set[str] = set()
        with torch.no_grad(), full_precision():
            for row in self.rows:
                if row.name in replaced:
                    values[row.name] = replaced[row.name]
                    changed.add(row.name)
                elif base is not None and changed.isdisjoint(row.parents):
                    values[row.name] = base[row.name]
                else:
                    value = self.compute(row, values)
                    if row.name in departures:
                        value = value + departures[row.name]
                    values[row.name] = value
                    changed.add(row.name)
                    if on_tap is not None:
                        on_tap(row.name)
        return values

    def compute(self, row: TapRow, values: Mapping[str, Tensor]) -> Tensor:
        """One tap from its parents' values."""
        known = {**self._inputs, **values}
        parents = [known[name] for name in row.parents]
        with torch.no_grad(), full_precision():
            return _LAYERS[row.layer](self, row, *parents)

    def row(self, tap: str) -> TapRow:
        """A tap's row of the table."""
        return self._table.row(tap)

    @property
    def offsets(self) -> Tensor:
        """Of the hypotheses."""
        offsets: Tensor = self._graph[0]
        return offsets

    def convolve(self, row: TapRow, image: Tensor) -> Tensor:
        """A layer of the image network, each view by itself as the network does it."""
        layer = self._network.get_submodule(row.module)
        views = [layer(view) for view in image.permute(0, 3, 1, 2).contiguous().split(1)]
        return torch.cat(views).permute(0, 2, 3, 1)

    def project_coarse(self, _row: TapRow, mesh: Tensor, *maps: Tensor) -> Tensor:
        """Coordinates and statistics of the nearest cells."""
        cells = nearest_cells(pixels(mesh, self._cameras))
        read = nearest_features([each[:1] for each in maps], cells)
        return torch.cat([mesh, view_statistics(read)], dim=1)

    def unpool(self, row: TapRow, x: Tensor) -> Tensor:
        """Old vertices, then the middles of edges."""
        at = [each.name for each in self._table.of_layer(row.layer)].index(row.name)
        return unpool(x, self._graph[0].unpooling[at])

    def convolve_graph(self, row: TapRow, x: Tensor) -> Tensor:
        """A graph convolution of a block, on the block's level."""
        support = self._graph[0].supports[self._table.levels[row.block - 1]]
        layer: Any = self._network.get_submodule(row.module)
        result: Tensor = layer(x, support, relu=row.layer != "coordinates")
        return result

    def project_refine(self, _row: TapRow, hypotheses: Tensor, *maps: Tensor) -> Tensor:
        """Coordinates and statistics between the four corners around each pixel."""
        at = pixels(hypotheses.flatten(0, 1), self._cameras)
        read = bilinear_features([with_border(each) for each in maps], at, bilinear_corners(at))
        return torch.cat([hypotheses.flatten(0, 1), view_statistics(read)], dim=1)

    def convolve_hypotheses(self, row: TapRow, features: Tensor) -> Tensor:
        """A graph convolution among the hypotheses of each vertex."""
        if features.dim() == 2:
            features = features.unflatten(0, (-1, len(self.offsets)))
        layer: Any = self._network.get_submodule(row.module)
        result: Tensor = layer(features, self._graph[1])
        return result

    def output(self, values: Mapping[str, Tensor]) -> np.ndarray:
        """The stage's output mesh, the replayed vertices' rows, in float64."""
        return np.asarray(values[self.rows[-1].name].double().numpy())

    def by_vertex(self, value: Tensor) -> np.ndarray:
        """A tap as a row a vertex, (vertices, numbers), in float64."""
        array = value.double().numpy()
        return array.reshape(len(self.vertices) if self._table.vertexwise else len(array), -1)

    def vertex_of(self, row: int) -> int:
        """The vertex that a row of ``by_vertex`` belongs to."""
        return int(self.vertices[row]) if self.some else row

    def row_of(self, vertex: int) -> int:
        """The row of a vertex, the inverse of ``vertex_of``."""
        return int(np.flatnonzero(self.vertices == vertex)[0]) if self.some else vertex


def vertex_taps(stage: str) -> list[str]:
    """The taps that have a row a vertex: all but the image network's."""
    return [row.name for row in network_of(stage).taps if not row.is_map]


_LAYERS: dict[str, Callable[..., Tensor]] = {
    "image_convolution": Replay.convolve,
    "coarse_projection": Replay.project_coarse,
    "concatenation": lambda _self, _row, *parents: torch.cat(parents, dim=1),
    "unpooling": Replay.unpool,
    "graph_convolution": Replay.convolve_graph,
    "coordinates": Replay.convolve_graph,
    "halved_sum": lambda _self, _row, x, r: (x + r) * 0.5,
    "hypotheses": lambda self, _row, mesh: mesh[:, None] + self.offsets,
    "refine_projection": Replay.project_refine,
    "local_graph_convolution": Replay.convolve_hypotheses,
    "plain_sum": lambda _self, _row, x, r: x + r,
    "softmax": lambda _self, _row, x: x.softmax(dim=1),
    "displaced_vertices": lambda self, _row, score, mesh: (score * self.offsets).sum(dim=1) + mesh,
}
"""How the torch implementation computes each kind of layer."""
