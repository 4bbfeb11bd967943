"""Losses of a run, and their gradients for every variable and for the input mesh.

The coarse stage is small enough for one tape. The refine stage mixes nothing between vertices
before its losses, so its blocks are differentiated a chunk of vertices at a time: the whole
would hold some gigabytes of activations, twice that in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tf_reference.coarse import coarse
from tf_reference.graph import chunks, unpool
from tf_reference.listening import SILENCE, Taps
from tf_reference.losses import Terms, loss_terms, term_names
from tf_reference.measured import Measured
from tf_reference.parameters import NetworkInputs, Weights
from tf_reference.refine import BLOCKS, Block, moved_mesh, projected_maps, refine
from tf_reference.runtime import tf
from tf_reference.tap_gradients import Watch, tell
from weight_conversion.errors import InputError

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


def _kept(watch: Watch | None) -> tuple[dict[str, "tf.Tensor"], Taps]:
    """What a pass is to be differentiated by, its taps where somebody watches, and who keeps it."""
    tensors: dict[str, tf.Tensor] = {}
    return tensors, SILENCE if watch is None else tensors.__setitem__


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


def stage_losses(stage: str, inputs: NetworkInputs, weights: Weights, measured: Measured) -> Terms:
    """All loss terms of one forward pass."""
    network = {"coarse": coarse, "refine": refine}[stage]
    meshes = network(inputs, weights, SILENCE)
    return loss_terms(stage, meshes_before(stage, inputs, meshes), meshes, measured, weights)


def stage_gradients(
    stage: str,
    inputs: NetworkInputs,
    weights: Weights,
    measured: Measured,
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
    return derive(inputs, weights, measured, term, watch)


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
    term: str,
    watch: Watch | None,
) -> LossAndGradients:
    sources = [*weights.values(), inputs.mesh]
    tensors, taps = _kept(watch)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(sources)
        meshes = coarse(inputs, weights, taps)
        befores = meshes_before("coarse", inputs, meshes)
        terms = loss_terms("coarse", befores, meshes, measured, weights)
    gradients = _differentiated(tape, terms[term], [*sources, *tensors.values()])
    if watch is not None:
        tell(watch, tensors, gradients[len(sources) :])
    return LossAndGradients(terms, dict(zip((*weights, MESH), gradients, strict=False)))


def _refine_gradients(
    inputs: NetworkInputs,
    weights: Weights,
    measured: Measured,
    term: str,
    watch: Watch | None,
) -> LossAndGradients:
    tensors, taps = _kept(watch)
    kernels = {name: value for name, value in weights.items() if name.startswith("cnn.")}
    with tf.GradientTape(watch_accessed_variables=False) as image_tape:
        image_tape.watch(list(kernels.values()))
        maps = projected_maps(inputs, weights, taps)
    meshes = [inputs.mesh]
    for block in BLOCKS:
        # In the chunks in which it is differentiated, so that both passes read the same pixels.
        moved = [
            moved_mesh(meshes[-1][part], maps, block, inputs, weights, SILENCE)
            for part in chunks(inputs.mesh.shape[0], _VERTICES_AT_ONCE)
        ]
        meshes.append(tf.concat(moved, axis=0))

    with tf.GradientTape(watch_accessed_variables=False) as loss_tape:
        loss_tape.watch([*weights.values(), *meshes])
        terms = loss_terms("refine", meshes[:-1], meshes[1:], measured, weights)
    direct = _differentiated(loss_tape, terms[term], [*weights.values(), *meshes])
    gradients = dict(zip(weights, direct, strict=False))
    by_mesh = direct[len(weights) :]

    by_map = [tf.zeros_like(each) for each in maps]
    for number in reversed(range(len(BLOCKS))):
        block = BLOCKS[number]
        if watch is not None:
            tell(watch, {block.reasoning: meshes[number + 1]}, [by_mesh[number + 1]])
        back = _block_backward(
            meshes[number], maps, block, inputs, weights, by_mesh[number + 1], watch
        )
        by_mesh[number] += back.mesh
        by_map = [sum_ + part for sum_, part in zip(by_map, back.maps, strict=True)]
        for name, gradient in back.weights.items():
            gradients[name] += gradient

    sources = [*kernels.values(), *tensors.values()]
    through_maps = _differentiated(image_tape, maps, sources, by_map)
    for name, gradient in zip(kernels, through_maps, strict=False):
        gradients[name] += gradient
    if watch is not None:
        tell(watch, tensors, through_maps[len(kernels) :])
    return LossAndGradients(terms, {**gradients, MESH: by_mesh[0]})


@dataclass(frozen=True)
class _Backward:
    """The gradients that flow out of a block: to its mesh, to the maps, to its variables."""

    mesh: "tf.Tensor"
    maps: list["tf.Tensor"]
    weights: dict[str, "tf.Tensor"]


def _block_backward(
    mesh: "tf.Tensor",
    maps: list["tf.Tensor"],
    block: Block,
    inputs: NetworkInputs,
    weights: Weights,
    upstream: "tf.Tensor",
    watch: Watch | None,
) -> _Backward:
    """Through one block, from ``upstream`` (V, 3), the gradient for the mesh it gave."""
    scope = f"{block.reasoning}."
    own = {name: value for name, value in weights.items() if name.startswith(scope)}
    by_mesh = []
    sums = [tf.zeros_like(each) for each in (*maps, *own.values())]
    for part in chunks(mesh.shape[0], _VERTICES_AT_ONCE):
        vertices = mesh[part]
        sources = [*maps, *own.values(), vertices]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            tensors, taps = _kept(watch)
            moved = moved_mesh(vertices, maps, block, inputs, weights, taps)
        wanted = [*sources, *tensors.values()]
        found = _differentiated(tape, moved, wanted, upstream[part])
        by_mesh.append(found[len(sources) - 1])
        sums = [total + gradient for total, gradient in zip(sums, found, strict=False)]
        if watch is not None:
            rows = slice(part.start, part.start + vertices.shape[0])
            tell(watch, tensors, found[len(sources) :], rows)
    by_weight = dict(zip(own, sums[len(maps) :], strict=True))
    return _Backward(tf.concat(by_mesh, axis=0), sums[: len(maps)], by_weight)
