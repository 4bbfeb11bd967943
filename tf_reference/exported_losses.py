"""The exported graph's own losses and gradients.

Two of its operations exist nowhere any more: ``NnDistance``, a custom kernel, is replaced by the
nearest neighbours of ``losses.nearest`` and the squared distances to them; ``PyFunc``, which drew
the samples' triangles, and the two uniform draws are fed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs.template import Template
from tf_reference.exported_graph import ExportedGraph, extend, tensor
from tf_reference.gradients import MESH
from tf_reference.losses import nearest, squared_distances, term_names
from tf_reference.measured import Measured
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

TOTAL = {"coarse": "add_170", "refine": "add_15"}
CNN_DECAY = "meshnet/pixel2mesh/add"


def _numbered(kind: str, number: int) -> str:
    """TensorFlow's name of the ``number``-th operation of a kind."""
    return f"{kind}_{number}" if number else kind


_TERMS = {
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
        f"{kind}_{block}": _numbered("mul", number)
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
    return [CNN_DECAY, *(_numbered("mul", number) for number in _GRAPH_DECAYS[stage])]


def distance_inputs(block: int) -> tuple[str, str]:
    """The nodes (ground truth, points) whose nearest neighbours block ``block``, from 0, takes."""
    return _numbered("ExpandDims", 2 * block), _numbered("ExpandDims", 2 * block + 1)


def drawn_tensors(block: int) -> dict[str, str]:
    """The nodes that a block's draws are fed for: the triangles' vertices, r1 and r2."""
    scope = _numbered("Uniform", block)
    return {
        "triangles": _numbered("PyFunc", block),
        "r1": f"{scope}/sample/Reshape",
        "r2": f"{scope}/sample_1/Reshape",
    }


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


def measured_feeds(
    stage: str, measured: Measured, template: Template, real: type[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    """What the losses' placeholders are fed, by tensor.

    Args:
        stage: "coarse" or "refine".
        measured: ground truth and draws.
        template: edges and neighbours of all three levels.
        real: the run's precision.
    """
    labels = np.concatenate([measured.points, measured.normals], axis=1)
    fed: dict[str, NDArray[Any]] = {"labels:0": labels.astype(real)}
    for level, (_, second) in enumerate(template.supports):
        fed[f"Placeholder_{21 + level}:0"] = second.indices.astype(np.int32)
    for level, table in enumerate(template.laplace):
        # The padding, -1, stands for the row of zeros that the graph appends.
        fed[f"Placeholder_{24 + level}:0"] = np.where(table < 0, len(table), table).astype(np.int32)
    for block, surface in enumerate(measured.surfaces):
        nodes = drawn_tensors(block)
        fed[f"{nodes['triangles']}:0"] = surface.triangles
        fed[f"{nodes['r1']}:0"] = surface.r1.astype(real)
        fed[f"{nodes['r2']}:0"] = surface.r2.astype(real)
    if stage == "coarse":
        for level, pairs in enumerate(template.unpooling):
            fed[f"Placeholder_{27 + level}:0"] = pairs.astype(np.int32)
    return fed


class LossTensors:
    """The losses in a TensorFlow graph that holds the exported graph's taps already.

    Args:
        graph: the exported graph.
        dtype: the run's precision.
        imported: the nodes that are in the graph already; grows.
        variables: the tensor that stands for each variable's node.
    """

    def __init__(
        self,
        graph: ExportedGraph,
        dtype: str,
        imported: set[str],
        variables: Mapping[str, "tf.Tensor"],
    ) -> None:
        self._sources = [*(variables[node] for node in graph.variables.values())]
        self._sources.append(tensor("features:0"))
        self._names = [*graph.variables, MESH]
        self._gradients: dict[str, dict[str, tf.Tensor]] = {}
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
            name = _numbered("NnDistance", block)
            for number, made in distances(truth, others).items():
                stand_ins[f"{name}:{number}"] = made
        terms, decays = term_nodes(graph.stage), decay_nodes(graph.stage)
        extend(graph, [*terms.values(), *decays], dtype, imported, stand_ins)
        self.terms = {name: tensor(f"{node}:0") for name, node in terms.items()}
        self.terms["decay"] = tf.add_n([tensor(f"{node}:0") for node in decays])
        self.terms = {name: self.terms[name] for name in term_names(graph.stage)}

    def gradients(self, term: str) -> dict[str, "tf.Tensor"]:
        """The gradient of a term by checkpoint key and for ``mesh``.

        Raises:
            InputError: there is no such term.
        """
        if term not in self.terms:
            raise InputError("term", repr(term), f"one of {', '.join(self.terms)}")
        if term not in self._gradients:
            zero = tf.UnconnectedGradients.ZERO
            found = tf.gradients(self.terms[term], self._sources, unconnected_gradients=zero)
            dense = [tf.convert_to_tensor(gradient) for gradient in found]
            self._gradients[term] = dict(zip(self._names, dense, strict=True))
        return self._gradients[term]
