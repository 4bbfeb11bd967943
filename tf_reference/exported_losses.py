"""The exported graph's own losses and gradients.

Two of its operations exist nowhere any more: ``NnDistance``, a custom kernel, is replaced by the
nearest neighbours of ``losses.nearest`` and the squared distances to them; ``PyFunc``, which drew
the samples' triangles, and the two uniform draws are fed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tf_reference.exported_feeds import drawn_tensors, numbered
from tf_reference.exported_graph import ExportedGraph, extend, tensor
from tf_reference.losses import nearest, squared_distances, term_names
from tf_reference.runtime import tf

TOTAL = {"coarse": "add_170", "refine": "add_15"}
CNN_DECAY = "meshnet/pixel2mesh/add"


_TERMS: dict[str, dict[str, tuple[int, ...]]] = {
    "coarse": {
        "chamfer": (25, 35, 45),
        "edge": (18, 28, 38),
        "normal": (27, 37, 47),
        "laplace": (50, 54, 58),
        "move": (51, 55, 59),
    },
    "refine": {
        "chamfer": (7, 21),
        "edge": (0, 14),
        "normal": (9, 23),
        "laplace": (12, 26),
        "move": (13, 27),
    },
}
"""Which of the graph's products ``mul_N`` is which block's weighted term."""

_GRAPH_DECAYS = {"coarse": range(60, 189), "refine": range(0)}
"""The products that are the decay of a graph convolution's variable each."""


def term_nodes(stage: str) -> dict[str, str]:
    """The graph's node of each term but ``decay``, which is a sum of several."""
    nodes = {
        f"{kind}_{block}": numbered("mul", number)
        for kind, numbers in _TERMS[stage].items()
        for block, number in enumerate(numbers, start=1)
    }
    return {
        name: TOTAL[stage] if name == "total" else nodes[name]
        for name in term_names(stage)
        if name != "decay"
    }


def decay_nodes(stage: str) -> list[str]:
    """The graph's nodes whose sum is the decay."""
    return [CNN_DECAY, *(numbered("mul", number) for number in _GRAPH_DECAYS[stage])]


def distance_inputs(block: int) -> tuple[str, str]:
    """The nodes (ground truth, points) whose nearest neighbours block ``block``, from 0, takes."""
    return numbered("ExpandDims", 2 * block), numbered("ExpandDims", 2 * block + 1)


def distances(truth: "tf.Tensor", points: "tf.Tensor") -> dict[int, "tf.Tensor"]:
    """What ``NnDistance`` gave, by its number: 0 and 2 squared distances, 1 and 3 indices.

    Args:
        truth: (1, N, 3).
        points: (1, M, 3).

    Returns:
        (1, N) of the ground truth's points and (1, M) of the others; differentiable.
    """

    def indices(a: NDArray[Any], b: NDArray[Any]) -> list[NDArray[np.int32]]:
        return [found.numpy() for found in nearest(tf.constant(a), tf.constant(b))]

    to_points, to_truth = tf.numpy_function(indices, [truth[0], points[0]], [tf.int32, tf.int32])
    to_points.set_shape([None])
    to_truth.set_shape([None])
    return {
        0: squared_distances(truth[0], points[0], to_points)[None],
        1: to_points[None],
        2: squared_distances(points[0], truth[0], to_truth)[None],
        3: to_truth[None],
    }


def loss_tensors(
    graph: ExportedGraph, dtype: str, imported: set[str], variables: Mapping[str, "tf.Tensor"]
) -> dict[str, "tf.Tensor"]:
    """Import the losses into TensorFlow's current graph, which holds the taps already.

    Args:
        graph: the exported graph.
        dtype: the run's precision.
        imported: the nodes that are in the current graph; grows.
        variables: the tensor that stands for each variable's node.

    Returns:
        The terms by the names of ``losses.term_names``.
    """
    stand_ins = {f"{node}:0": value for node, value in variables.items()}
    blocks = range({"coarse": 3, "refine": 2}[graph.stage])
    for block in blocks:
        nodes = drawn_tensors(block)
        for role, name in nodes.items():
            shape, kind = ((None, 3), tf.int32) if role == "triangles" else ((None, 1), dtype)
            stand_ins[f"{name}:0"] = tf.compat.v1.placeholder(kind, shape, name=name)
    points = [node for block in blocks for node in distance_inputs(block)]
    extend(graph, points, dtype, imported, stand_ins)
    for block in blocks:
        truth, others = (tensor(f"{node}:0") for node in distance_inputs(block))
        name = numbered("NnDistance", block)
        for number, made in distances(truth, others).items():
            stand_ins[f"{name}:{number}"] = made
    terms, decays = term_nodes(graph.stage), decay_nodes(graph.stage)
    extend(graph, [*terms.values(), *decays], dtype, imported, stand_ins)
    found = {name: tensor(f"{node}:0") for name, node in terms.items()}
    found["decay"] = tf.add_n([tensor(f"{node}:0") for node in decays])
    return {name: found[name] for name in term_names(graph.stage)}
