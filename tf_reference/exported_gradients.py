"""Gradients of the exported graph's losses: TensorFlow differentiates the graph's own operations.

The refine stage's activations and their gradients would take 5 GB (10 in float64). Its blocks mix
nothing between vertices, so the graph is run backwards a block and a chunk of vertices at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.taps import TAPS
from tf_reference.exported_feeds import MESH_TENSOR, Fed
from tf_reference.exported_graph import ExportedGraph, tensor
from tf_reference.gradients import MESH
from tf_reference.graph import chunks
from tf_reference.runtime import tf
from tf_reference.tap_gradients import Watch, tell_arrays

Run = Callable[[Any, Mapping[Any, NDArray[Any]]], Any]
"""Runs the graph: what is fetched, what is fed."""

_VERTICES_AT_ONCE = 256
_MAPS = (2, 5, 8)
_SCOPES = ("graph_drb_blk1_layer_2", "graph_drb_blk2_layer_5")


def _derived(
    targets: Any, sources: Sequence[Any], upstream: Any = None, stop: Sequence[Any] = ()
) -> "list[tf.Tensor]":
    """Dense gradients, zeros where a target does not depend on a source."""
    zero = tf.UnconnectedGradients.ZERO
    found = tf.gradients(
        targets, sources, upstream, stop_gradients=list(stop), unconnected_gradients=zero
    )
    return [tf.convert_to_tensor(gradient) for gradient in found]


def _tensors(names: Mapping[str, str]) -> "dict[str, tf.Tensor]":
    return {tap: tensor(name) for tap, name in names.items()}


def block_taps(block: int) -> list[str]:
    """The taps within a block of the refine stage, its output left out."""
    rows = [row for row in TAPS["refine"] if not row.name.startswith("cnn.")]
    outputs = [place for place, row in enumerate(rows) if row.name in _SCOPES]
    start = outputs[block - 1] + 1 if block else 0
    return [row.name for row in rows[start : outputs[block]]]


class CoarseGradients:
    """Gradients of one loss term of the coarse stage, in TensorFlow's current graph.

    Args:
        graph: the exported graph.
        term: the loss term.
        variables: the tensor that stands for each variable's node.
        taps: names of the tensors whose gradients are told to whoever watches, by tap.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        term: "tf.Tensor",
        variables: Mapping[str, "tf.Tensor"],
        taps: Mapping[str, str] | None = None,
    ) -> None:
        sources = {key: variables[node] for key, node in graph.variables.items()}
        sources[MESH] = tensor(MESH_TENSOR)
        self._taps = _tensors(taps or {})
        derived = _derived(term, [*sources.values(), *self._taps.values()])
        self._gradients = dict(zip(sources, derived, strict=False))
        self._at_taps = derived[len(sources) :]

    def run(
        self,
        run: Run,
        fed: Fed,
        watch: Watch | None = None,
    ) -> dict[str, NDArray[Any]]:
        """The gradients by checkpoint key, and ``mesh``.

        Args:
            run: runs the graph.
            fed: the item, the ground truth and the samples.
            watch: told every tap and its gradient.
        """
        if watch is None:
            alone: dict[str, NDArray[Any]] = run(self._gradients, fed)
            return alone
        found, values, at_taps = run((self._gradients, self._taps, self._at_taps), fed)
        tell_arrays(watch, values, at_taps)
        gradients: dict[str, NDArray[Any]] = found
        return gradients


class RefineGradients:
    """Gradients of one loss term of the refine stage, in TensorFlow's current graph.

    Args:
        graph: the exported graph.
        term: the loss term.
        variables: the tensor that stands for each variable's node.
        taps: names of the tensors whose gradients are told to whoever watches, by tap.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        term: "tf.Tensor",
        variables: Mapping[str, "tf.Tensor"],
        taps: Mapping[str, str] | None = None,
    ) -> None:
        taps = taps or {}
        held = {key: variables[node] for key, node in graph.variables.items()}
        self._keys = list(held)
        self._mesh_names = [MESH_TENSOR, *(f"{scope}/{scope}/add_2:0" for scope in _SCOPES)]
        self._map_names = [f"meshnet/pixel2mesh/cnn/conv2d_{number}/Relu:0" for number in _MAPS]
        meshes = [tensor(name) for name in self._mesh_names]
        maps = [tensor(name) for name in self._map_names]
        self._direct = _derived(term, [*held.values(), *meshes], stop=meshes)
        self._upstream = tf.compat.v1.placeholder(term.dtype, (None, 3))
        self._block_keys = [[key for key in held if f"/{scope}/" in key] for scope in _SCOPES]
        self._blocks, self._block_taps = [], []
        for number, keys in enumerate(self._block_keys):
            given = [meshes[number], *maps]
            own = {name: taps[name] for name in block_taps(number) if name in taps}
            self._block_taps.append(_tensors(own))
            sources = [*given, *(held[key] for key in keys), *self._block_taps[number].values()]
            self._blocks.append(_derived(meshes[number + 1], sources, [self._upstream], given))
        self._map_upstream = [tf.compat.v1.placeholder(term.dtype, each.shape) for each in maps]
        self._kernel_keys = [key for key in held if "/cnn/" in key]
        kernels = [held[key] for key in self._kernel_keys]
        images = {name: taps[name] for name in taps if name.startswith("cnn.")}
        self._image_taps = _tensors(images)
        sources = [*kernels, *self._image_taps.values()]
        self._through_maps = _derived(maps, sources, self._map_upstream)

    def run(
        self,
        run: Run,
        fed: Fed,
        watch: Watch | None = None,
    ) -> dict[str, NDArray[Any]]:
        """The gradients by checkpoint key, and ``mesh``.

        Args:
            run: runs the graph.
            fed: the item, the ground truth and the samples.
            watch: told every tap and its gradient.
        """
        maps = run(self._map_names, fed)
        known = fed | dict(zip(self._map_names, maps, strict=True))
        meshes = [fed[MESH_TENSOR]]
        for name, moved in pairwise(self._mesh_names):
            # In the chunks in which it is differentiated, so that both passes read the same pixels.
            parts = chunks(len(meshes[-1]), _VERTICES_AT_ONCE)
            meshes.append(
                np.concatenate([run(moved, known | {name: meshes[-1][part]}) for part in parts])
            )
        direct = run(self._direct, fed | dict(zip(self._mesh_names, meshes, strict=True)))
        gradients = dict(zip(self._keys, direct, strict=False))
        by_mesh = direct[len(self._keys) :]
        by_map = [np.zeros_like(each) for each in maps]
        # Backwards: the second block first.
        for number in reversed(range(len(_SCOPES))):
            if watch is not None:
                values = {_SCOPES[number]: meshes[number + 1]}
                tell_arrays(watch, values, [by_mesh[number + 1]])
            for part in chunks(len(meshes[number]), _VERTICES_AT_ONCE):
                here = {
                    self._mesh_names[number]: meshes[number][part],
                    self._upstream.name: by_mesh[number + 1][part],
                }
                wanted = self._block_taps[number]
                through, values = run((self._blocks[number], wanted), known | here)
                by_mesh[number][part] += through[0]
                for total, found in zip(by_map, through[1:], strict=False):
                    total += found
                own = through[1 + len(maps) :]
                for key, found in zip(self._block_keys[number], own, strict=False):
                    gradients[key] = gradients[key] + found
                if watch is not None:
                    at_taps = own[len(self._block_keys[number]) :]
                    start, count = part.start, len(meshes[number][part])
                    tell_arrays(watch, values, at_taps, slice(start, start + count))
        upstream = {
            placeholder.name: value
            for placeholder, value in zip(self._map_upstream, by_map, strict=True)
        }
        through, values = run((self._through_maps, self._image_taps), fed | upstream)
        for key, found in zip(self._kernel_keys, through, strict=False):
            gradients[key] = gradients[key] + found
        if watch is not None:
            tell_arrays(watch, values, through[len(self._kernel_keys) :])
        return {**gradients, MESH: by_mesh[0]}
