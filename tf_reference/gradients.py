"""Losses of a run, and their gradients for every variable and for the input mesh.

The coarse stage is small enough for one tape. The refine stage mixes nothing between vertices
before its losses, so its blocks are differentiated a chunk of vertices at a time: the whole
would hold some gigabytes of activations, twice that in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tf_reference.coarse import coarse
from tf_reference.decisions import as_int16
from tf_reference.graph import chunks, unpool
from tf_reference.losses import Terms, loss_terms, term_names
from tf_reference.measured import Measured
from tf_reference.parameters import NetworkInputs, Weights
from tf_reference.refine import BLOCKS, Block, moved_mesh, projected_maps, refine
from tf_reference.runtime import tf
from tf_reference.tap_gradients import Watch, tell
from weight_conversion.errors import InputError

Pinned = Mapping[str, NDArray[np.int16]]
"""Pixel decisions by projection tap."""

MESH = "mesh"
"""The input mesh's name among the gradients."""

_VERTICES_AT_ONCE = 256


@dataclass(frozen=True)
class LossAndGradients:
    """What a stage's loss is and how it depends on the variables.

    Attributes:
        terms: scalars by name, see ``losses.term_names``.
        gradients: by state-dict key, in the checkpoint's layout, and ``mesh`` (V, 3): of the
            term that was asked for; zeros where it does not reach.
    """

    terms: Terms
    gradients: Mapping[str, "tf.Tensor"]


@dataclass(frozen=True)
class _Remembering:
    """Taps that keep the pixel decisions, so that a second pass takes the same ones.

    Where ``watched``, ``tensors`` has the taps too, to be differentiated by.
    """

    given: Pinned
    taken: dict[str, NDArray[np.int16]] = field(default_factory=dict)
    decides: bool = True
    watched: bool = False
    tensors: dict[str, "tf.Tensor"] = field(default_factory=dict)

    def __call__(self, name: str, value: "tf.Tensor") -> None:
        if self.watched:
            self.tensors[name] = value

    def decided(self, name: str, decisions: "tf.Tensor") -> None:
        self.taken[name] = as_int16(decisions.numpy())

    def pinned(self, name: str) -> NDArray[np.int16] | None:
        return self.given.get(name)


def meshes_before(
    stage: str, inputs: NetworkInputs, meshes: Sequence["tf.Tensor"]
) -> list["tf.Tensor"]:
    """Each block's input mesh, (V, 3) with the V of its output.

    In the coarse stage the previous block's mesh, unpooled; the block's own coordinates do not
    come from it, but the Laplace and move terms compare with it.
    """
    if stage == "refine":
        return [inputs.mesh, *meshes[:-1]]
    unpooled = [
        unpool(mesh, level.unpooling)
        for mesh, level in zip(meshes[:-1], inputs.levels, strict=False)
    ]
    return [inputs.mesh, *unpooled]


def stage_losses(
    stage: str, inputs: NetworkInputs, weights: Weights, measured: Measured, pinned: Pinned
) -> Terms:
    """All loss terms of one forward pass."""
    network = {"coarse": coarse, "refine": refine}[stage]
    meshes = network(inputs, weights, _Remembering(pinned))
    return loss_terms(stage, meshes_before(stage, inputs, meshes), meshes, measured, weights)


def stage_gradients(
    stage: str,
    inputs: NetworkInputs,
    weights: Weights,
    measured: Measured,
    pinned: Pinned,
    term: str,
    watch: Watch | None = None,
) -> LossAndGradients:
    """All loss terms and the gradient of one of them; ``watch`` is told every tap and its gradient.

    Raises:
        InputError: the stage has no such term.
    """
    names = term_names(stage, measured.normals is not None)
    if term not in names:
        raise InputError("term", repr(term), f"one of {', '.join(names)}")
    derive = {"coarse": _coarse_gradients, "refine": _refine_gradients}[stage]
    return derive(inputs, weights, measured, pinned, term, watch)


def _differentiated(
    tape: "tf.GradientTape", target: object, sources: object, upstream: object = None
) -> "list[tf.Tensor]":
    """Dense gradients, zeros where the target does not depend on a source."""
    found = tape.gradient(
        target, sources, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [tf.convert_to_tensor(gradient) for gradient in found]


def _coarse_gradients(
    inputs: NetworkInputs,
    weights: Weights,
    measured: Measured,
    pinned: Pinned,
    term: str,
    watch: Watch | None,
) -> LossAndGradients:
    sources = [*weights.values(), inputs.mesh]
    taps = _Remembering(pinned, watched=watch is not None)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        meshes = coarse(inputs, weights, taps)
        befores = meshes_before("coarse", inputs, meshes)
        terms = loss_terms("coarse", befores, meshes, measured, weights)
    gradients = _differentiated(tape, terms[term], [*sources, *taps.tensors.values()])
    if watch is not None:
        tell(watch, taps.tensors, gradients[len(sources) :])
    return LossAndGradients(terms, dict(zip((*weights, MESH), gradients, strict=False)))


def _refine_gradients(
    inputs: NetworkInputs,
    weights: Weights,
    measured: Measured,
    pinned: Pinned,
    term: str,
    watch: Watch | None,
) -> LossAndGradients:
    taps = _Remembering(pinned, watched=watch is not None)
    kernels = {name: value for name, value in weights.items() if name.startswith("cnn.")}
    with tf.GradientTape(watch_accessed_variables=False) as image_tape:
        image_tape.watch(list(kernels.values()))
        maps = projected_maps(inputs, weights, taps)
    meshes, forward = [inputs.mesh], _Remembering(pinned, taps.taken)
    for block in BLOCKS:
        meshes.append(moved_mesh(meshes[-1], maps, block, inputs, weights, forward))

    with tf.GradientTape(watch_accessed_variables=False) as loss_tape:
        loss_tape.watch([*weights.values(), *meshes])
        terms = loss_terms("refine", meshes[:-1], meshes[1:], measured, weights)
    direct = _differentiated(loss_tape, terms[term], [*weights.values(), *meshes])
    gradients = dict(zip(weights, direct, strict=False))
    by_mesh = direct[len(weights) :]

    by_map = [tf.zeros_like(each) for each in maps]
    for number in reversed(range(len(BLOCKS))):
        if watch is not None:
            moved = {BLOCKS[number].reasoning: meshes[number + 1]}
            tell(watch, moved, [by_mesh[number + 1]])
        back = _block_backward(
            meshes[number],
            maps,
            by_mesh[number + 1],
            _Chunked(BLOCKS[number], inputs, weights, taps.taken, watch),
        )
        by_mesh[number] += back.mesh
        by_map = [sum_ + part for sum_, part in zip(by_map, back.maps, strict=True)]
        for name, gradient in back.weights.items():
            gradients[name] += gradient

    sources = [*kernels.values(), *taps.tensors.values()]
    through_maps = _differentiated(image_tape, maps, sources, by_map)
    for name, gradient in zip(kernels, through_maps, strict=False):
        gradients[name] += gradient
    if watch is not None:
        tell(watch, taps.tensors, through_maps[len(kernels) :])
    return LossAndGradients(terms, {**gradients, MESH: by_mesh[0]})


@dataclass(frozen=True)
class _Chunked:
    """A refine block, the decisions that it took, and who watches its gradients."""

    block: Block
    inputs: NetworkInputs
    weights: Weights
    decisions: Pinned
    watch: Watch | None = None

    def taps(self, part: slice) -> _Remembering:
        """The decisions of a chunk of vertices, for its hypotheses."""
        hypotheses = self.inputs.offsets.shape[0]
        rows = slice(part.start * hypotheses, part.stop * hypotheses)
        name = self.block.projection
        decisions = {name: self.decisions[name][:, rows]}
        return _Remembering(decisions, decides=False, watched=self.watch is not None)

    def own_weights(self) -> dict[str, "tf.Tensor"]:
        scope = f"{self.block.reasoning}."
        return {name: value for name, value in self.weights.items() if name.startswith(scope)}


@dataclass(frozen=True)
class _Backward:
    """The gradients that flow out of a block: to its mesh, to the maps, to its variables."""

    mesh: "tf.Tensor"
    maps: list["tf.Tensor"]
    weights: dict[str, "tf.Tensor"]


def _block_backward(
    mesh: "tf.Tensor", maps: list["tf.Tensor"], upstream: "tf.Tensor", chunked: _Chunked
) -> _Backward:
    """Through one block, from ``upstream`` (V, 3), the gradient for the mesh it gave."""
    own = chunked.own_weights()
    by_mesh = []
    sums = [tf.zeros_like(each) for each in (*maps, *own.values())]
    for part in chunks(mesh.shape[0], _VERTICES_AT_ONCE):
        vertices = mesh[part]
        sources = [*maps, *own.values(), vertices]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            block, taps = chunked.block, chunked.taps(part)
            moved = moved_mesh(vertices, maps, block, chunked.inputs, chunked.weights, taps)
        wanted = [*sources, *taps.tensors.values()]
        found = _differentiated(tape, moved, wanted, upstream[part])
        by_mesh.append(found[len(sources) - 1])
        sums = [total + gradient for total, gradient in zip(sums, found, strict=False)]
        if chunked.watch is not None:
            rows = slice(part.start, part.start + vertices.shape[0])
            tell(chunked.watch, taps.tensors, found[len(sources) :], rows)
    weights = dict(zip(own, sums[len(maps) :], strict=True))
    return _Backward(tf.concat(by_mesh, axis=0), sums[: len(maps)], weights)
