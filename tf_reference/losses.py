"""The losses, term by term, as the exported graphs weigh and add them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from network.weights import WEIGHTS
from tf_reference.measured import Measured, Surface
from tf_reference.parameters import Weights
from tf_reference.runtime import tf

Terms = dict[str, "tf.Tensor"]
"""Scalars by name: chamfer_b, edge_b, normal_b, laplace_b, move_b a block, decay, total; no
normal_b where the ground truth has no normals, a 0 would look like a perfect one."""

_KINDS = ("chamfer", "edge", "normal", "laplace", "move")
_CHAMFER = 3000.0
_BACKWARD = float(np.float32(0.55))
_NORMAL = 0.5
_LAPLACE = 1500.0
_CNN_DECAY = float(np.float32(0.3))
_CNN_SCALE = float(np.float32(1e-5))
_GRAPH_DECAY = float(np.float32(5e-6))
_FLOOR = float(np.float32(1e-12))
# A chunk of squared distances stays in the cache.
_DISTANCES_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class StageWeights:
    """How a stage weighs the terms in which the stages differ."""

    edge: float
    move: float


STAGE_WEIGHTS = {"coarse": StageWeights(350.0, 50.0), "refine": StageWeights(500.0, 100.0)}


def term_names(stage: str, normals: bool = True) -> list[str]:
    """The names of a stage's terms, ``total`` last; ``normals``: the ground truth has some."""
    blocks = range(1, {"coarse": 3, "refine": 2}[stage] + 1)
    kinds = [kind for kind in _KINDS if normals or kind != "normal"]
    return [f"{kind}_{block}" for block in blocks for kind in kinds] + ["decay", "total"]


def nearest(a: "tf.Tensor", b: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """For each point the index of the other side's nearest, by direct squared differences.

    |a|² + |b|² - 2ab would pick wrong ones in float32. Of equally near points the first is taken.

    Args:
        a: (N, 3).
        b: (M, 3).

    Returns:
        (N,) indices into b and (M,) indices into a, int32. No gradient flows through them.
    """
    a, b = tf.stop_gradient(a), tf.stop_gradient(b)
    rows, columns = a.shape[0], b.shape[0]
    chunk = max(1, _DISTANCES_AT_ONCE // columns)
    forward = []
    best = tf.fill((columns,), tf.constant(np.inf, a.dtype))
    backward = tf.zeros((columns,), tf.int32)
    others = [b[None, :, axis] for axis in range(3)]
    for start in range(0, rows, chunk):
        part = a[start : start + chunk]
        x, y, z = (part[:, axis, None] - others[axis] for axis in range(3))
        squared = x * x + y * y + z * z
        forward.append(_first_least(squared, axis=1))
        least = tf.reduce_min(squared, axis=0)
        closer = least < best
        backward = tf.where(closer, start + _first_least(squared, axis=0), backward)
        best = tf.where(closer, least, best)
    return tf.concat(forward, axis=0), backward


def _first_least(values: "tf.Tensor", axis: int) -> "tf.Tensor":
    """The first index of the least value; 0 where there is none, as all are no numbers.

    ``tf.argmin`` promises no particular one of equal values.
    """
    count = values.shape[axis]
    shape = (1, -1) if axis == 1 else (-1, 1)
    numbers = tf.reshape(tf.range(count), shape)
    least = tf.reduce_min(values, axis=axis, keepdims=True)
    found = tf.reduce_min(tf.where(values == least, numbers, count), axis=axis)
    return tf.where(found == count, 0, found)


def squared_distances(
    points: "tf.Tensor", others: "tf.Tensor", indices: "tf.Tensor"
) -> "tf.Tensor":
    """(N,) squared distances of points (N, 3) to ``others[indices]``."""
    return tf.reduce_sum(tf.square(points - tf.gather(others, indices)), axis=1)


def sampled(mesh: "tf.Tensor", surface: Surface) -> "tf.Tensor":
    """The mesh's vertices followed by its samples: (V + S, 3)."""
    a, b, c = (tf.gather(mesh, surface.triangles[:, corner]) for corner in range(3))
    r1, r2 = (tf.cast(draws, mesh.dtype) for draws in (surface.r1, surface.r2))
    root = tf.sqrt(r1)
    samples = (1.0 - root) * a + root * (1.0 - r2) * b + root * r2 * c
    return tf.concat([mesh, samples], axis=0)


def _unit_rows(vectors: "tf.Tensor") -> "tf.Tensor":
    squares = tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True)
    return vectors * tf.math.rsqrt(tf.maximum(squares, _FLOOR))


def _laplacian(mesh: "tf.Tensor", surface: Surface) -> "tf.Tensor":
    """Each vertex minus the mean of its neighbours, (V, 3)."""
    padded = tf.concat([mesh, tf.zeros((1, 3), mesh.dtype)], axis=0)
    around = tf.reduce_sum(tf.gather(padded, surface.neighbours), axis=1)
    return mesh - around * tf.math.reciprocal(tf.cast(surface.degrees[:, None], mesh.dtype))


def _mean_square(difference: "tf.Tensor") -> "tf.Tensor":
    return tf.reduce_mean(tf.reduce_sum(tf.square(difference), axis=1))


def _block_terms(
    stage: str,
    before: "tf.Tensor",
    mesh: "tf.Tensor",
    surface: Surface,
    measured: Measured,
) -> Terms:
    """The terms of one block by ``_KINDS``, weighted; no normal term without normals."""
    weigh = STAGE_WEIGHTS[stage]
    truth = tf.cast(measured.points, mesh.dtype)
    points = sampled(mesh, surface)
    to_points, to_truth = nearest(truth, points)
    chamfer = _CHAMFER * (
        tf.reduce_mean(squared_distances(truth, points, to_points))
        + _BACKWARD * tf.reduce_mean(squared_distances(points, truth, to_truth))
    )
    ends = [tf.gather(mesh, surface.edges[:, end]) for end in range(2)]
    edges = ends[0] - ends[1]
    change = _laplacian(before, surface) - _laplacian(mesh, surface)
    found = {
        "chamfer": chamfer,
        "edge": weigh.edge * _mean_square(edges),
        "laplace": _LAPLACE * _mean_square(change),
        "move": weigh.move * _mean_square(before - mesh),
    }
    if measured.normals is not None:
        normals = tf.gather(tf.cast(measured.normals, mesh.dtype), to_truth)
        at_first = _unit_rows(tf.gather(normals, surface.edges[:, 0]))
        slopes = tf.reduce_sum(at_first * _unit_rows(edges), axis=1)
        found["normal"] = _NORMAL * tf.reduce_mean(tf.abs(slopes))
    return found


def decay_parts(stage: str, weights: Weights) -> tuple["tf.Tensor", list["tf.Tensor"]]:
    """The image network's decay, and that of each graph convolution variable.

    The image network's biases have none, the refine stage's local convolutions neither.
    """
    names = [row.torch_key for row in WEIGHTS[stage]]
    kernels = [name for name in names if name.startswith("cnn.") and name.endswith(".weight")]
    cnn = tf.add_n([tf.nn.l2_loss(weights[name]) * _CNN_SCALE for name in kernels]) * _CNN_DECAY
    if stage == "refine":
        return cnn, []
    graph = [name for name in names if not name.startswith("cnn.")]
    return cnn, [_GRAPH_DECAY * tf.nn.l2_loss(weights[name]) for name in graph]


def loss_terms(
    stage: str,
    befores: Sequence["tf.Tensor"],
    meshes: Sequence["tf.Tensor"],
    measured: Measured,
    weights: Weights,
) -> Terms:
    """All terms of a stage's loss, weighted as in the total.

    Args:
        stage: "coarse" or "refine".
        befores: each block's input mesh (V, 3): the stage's, then the previous block's, unpooled
            where the block has more vertices.
        meshes: each block's output mesh (V, 3), metres, camera frame of view 0.
        measured: what the meshes are measured against.
        weights: the variables, for the decay.

    Returns:
        Scalars by the names of ``term_names``, each differentiable.
    """
    blocks = [
        _block_terms(stage, before, mesh, surface, measured)
        for before, mesh, surface in zip(befores, meshes, measured.surfaces, strict=True)
    ]
    cnn, graph = decay_parts(stage, weights)
    terms: Terms = {
        f"{kind}_{number}": block[kind]
        for number, block in enumerate(blocks, start=1)
        for kind in _KINDS
        if kind in block
    }
    terms["decay"] = tf.add_n([cnn, *graph])
    # The graphs' order of adding: it decides the last bits of a float32 total.
    surfaces = [(block["chamfer"] + block["edge"]) + block.get("normal", 0.0) for block in blocks]
    shapes = [block["laplace"] + block["move"] for block in blocks]
    if stage == "coarse":
        order = [*surfaces, *shapes, *graph]
    else:
        order = [part for pair in zip(surfaces, shapes, strict=True) for part in pair]
    total = cnn
    for part in order:
        total = total + part
    terms["total"] = total
    return terms
