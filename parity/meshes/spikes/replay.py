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
from inputs.hypotheses import HYPOTHESES
from network.taps import IMAGES, MESH, TAPS, TapRow
from parity.traces.record import RunInputs
from torch_impl.backend import factory, full_precision
from torch_impl.coarse import Coarse
from torch_impl.graph import unpool
from torch_impl.projection import (
    bilinear_corners,
    bilinear_features,
    nearest_cells,
    nearest_features,
    pixels,
    view_statistics,
    with_border,
)
from torch_impl.refine import Refine
from weight_conversion.errors import InputError

Values = dict[str, Tensor]
"""Taps by name, in the official layout; in the refine stage the rows of the replayed vertices."""


class Replay:
    """One stage with its weights on one item.

    Attributes:
        stage: "coarse" or "refine".
        rows: the taps, in order.
        vertices: which vertices are replayed: all in the coarse stage.
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
            vertices: numbers of the vertices to replay; refine only.
            dtype: "float32" or "float64".

        Raises:
            InputError: vertices chosen in the coarse stage, whose vertices depend on each other.
        """
        self.stage = inputs.stage
        self.rows = TAPS[self.stage]
        if vertices is not None and self.stage == "coarse":
            raise InputError("replay", "some vertices of the coarse stage", "all of them")
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
            if row.name.startswith("cnn."):
                return self._convolve(row.module, parents[0])
            if isinstance(self._network, Coarse):
                return self._coarse(row, parents)
            return self._refine(self._network, row, parents)

    def _convolve(self, module: str, image: Tensor) -> Tensor:
        layer = self._network.get_submodule(module)
        # Each view by itself, as the network does it.
        views = [layer(view) for view in image.permute(0, 3, 1, 2).contiguous().split(1)]
        return torch.cat(views).permute(0, 2, 3, 1)

    def _coarse(self, row: TapRow, parents: list[Tensor]) -> Tensor:
        name, graph = row.name, self._graph[0]
        if name.endswith(".concat"):
            return torch.cat(parents, dim=1)
        if name.endswith(".residual"):
            return (parents[0] + parents[1]) * 0.5
        if name.startswith("graph_proj_"):
            mesh, *maps = parents
            cells = nearest_cells(pixels(mesh, self._cameras))
            read = nearest_features([each[:1] for each in maps], cells)
            return torch.cat([mesh, view_statistics(read)], dim=1)
        if name.startswith("graph_pool_"):
            return unpool(parents[0], graph.unpooling[int(name[len("graph_pool_")]) - 1])
        support = graph.supports[int(name[len("graph_conv_blk")]) - 1]
        layer: Any = self._network.get_submodule(row.module)
        result: Tensor = layer(parents[0], support, relu=row.shape[-1] != 3)
        return result

    def _refine(self, network: Refine, row: TapRow, parents: list[Tensor]) -> Tensor:
        name = row.name
        offsets, support = self._graph
        if name.startswith("graph_sample_hypothesis_"):
            return parents[0][:, None] + offsets
        if name.startswith("graph_localproj_"):
            hypotheses, *maps = parents
            at = pixels(hypotheses.flatten(0, 1), self._cameras)
            read = bilinear_features([with_border(each) for each in maps], at, bilinear_corners(at))
            return torch.cat([hypotheses.flatten(0, 1), view_statistics(read)], dim=1)
        if ".residual_" in name:
            return parents[0] + parents[1]
        if name.endswith(".score"):
            return parents[0].softmax(dim=1)
        if ".localgconv_" in name:
            features = parents[0]
            if features.dim() == 2:
                features = features.unflatten(0, (-1, HYPOTHESES))
            layer: Any = network.get_submodule(row.module)
            result: Tensor = layer(features, support)
            return result
        score, mesh = parents
        return (score * offsets).sum(dim=1) + mesh

    def output(self, values: Mapping[str, Tensor]) -> np.ndarray:
        """The stage's output mesh, the replayed vertices' rows, in float64."""
        return np.asarray(values[self.rows[-1].name].double().numpy())

    def by_vertex(self, value: Tensor) -> np.ndarray:
        """A tap as a row a vertex, (vertices, numbers), in float64."""
        array = value.double().numpy()
        if self.stage == "refine":
            return array.reshape(len(self.vertices), -1)
        return array.reshape(len(array), -1)

    def vertex_of(self, row: int) -> int:
        """The vertex that a row of ``by_vertex`` belongs to."""
        return int(self.vertices[row]) if self.stage == "refine" else row


def vertex_taps(stage: str) -> list[str]:
    """The taps that have a row a vertex: all but the image network's."""
    return [row.name for row in TAPS[stage] if not row.name.startswith("cnn.")]
