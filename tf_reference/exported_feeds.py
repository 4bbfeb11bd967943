"""What the exported graph's placeholders and inner tensors are fed, and what they are called."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs.template import Template
from tf_reference.measured import Measured
from tf_reference.parameters import Arrays

MESH_TENSOR = "features:0"
"""The placeholder of the input mesh."""

Fed = dict[str, NDArray[Any]]
"""Values by the name of the tensor (``node:0``) that they stand for."""


def placeholder(number: int) -> str:
    """The tensor of the ``number``-th unnamed placeholder."""
    return f"{numbered('Placeholder', number)}:0"


def item_feeds(arrays: Arrays, real: type[np.floating[Any]]) -> Fed:
    """What the graph's placeholders are fed for one item.

    Args:
        arrays: the item and the constants.
        real: the run's precision.
    """
    fed: Fed = {
        "img_inp:0": arrays.images.astype(real),
        "Cameras:0": arrays.cameras.astype(real),
        MESH_TENSOR: arrays.mesh.astype(real),
    }
    if arrays.template is not None:
        # Placeholders 0 to 17: shape, values, indices of each level's two supports.
        supports = [support for pair in arrays.template.supports for support in pair]
        for number, support in enumerate(supports):
            fed[placeholder(3 * number)] = np.asarray(support.shape, np.int64)
            fed[placeholder(3 * number + 1)] = support.values.astype(np.float32).astype(real)
            fed[placeholder(3 * number + 2)] = support.indices.astype(np.int64)
        for number, pairs in enumerate(arrays.template.unpooling):
            fed[placeholder(27 + number)] = pairs.astype(np.int32)
    if arrays.hypotheses is not None:
        fed["sample_coord:0"] = arrays.hypotheses.offsets.astype(np.float32).astype(real)
        for number, support in enumerate(arrays.hypotheses.supports):
            fed[placeholder(33 + number)] = support.astype(np.float32).astype(real)
    return fed


def numbered(kind: str, number: int) -> str:
    """TensorFlow's name of the ``number``-th operation of a kind."""
    return f"{kind}_{number}" if number else kind


def drawn_tensors(block: int) -> dict[str, str]:
    """The nodes that a block's draws are fed for: the triangles' vertices, r1 and r2."""
    scope = numbered("Uniform", block)
    return {
        "triangles": numbered("PyFunc", block),
        "r1": f"{scope}/sample/Reshape",
        "r2": f"{scope}/sample_1/Reshape",
    }


def measured_feeds(
    stage: str, measured: Measured, template: Template, real: type[np.floating[Any]]
) -> Fed:
    """What the losses' placeholders are fed, by tensor.

    Args:
        stage: "coarse" or "refine".
        measured: ground truth and draws.
        template: edges and neighbours of all three levels.
        real: the run's precision.
    """
    # The graph always has a normal term: 0 where there are no normals to tell it by.
    normals = np.zeros_like(measured.points) if measured.normals is None else measured.normals
    labels = np.concatenate([measured.points, normals], axis=1)
    fed: Fed = {"labels:0": labels.astype(real)}
    for level, (_, second) in enumerate(template.supports):
        fed[placeholder(21 + level)] = second.indices.astype(np.int32)
    for level, rows in enumerate(template.laplace):
        table = np.asarray(rows, np.int32)
        # The padding, -1, stands for the row of zeros that the graph appends.
        fed[placeholder(24 + level)] = np.where(table < 0, len(table), table)
    for block, surface in enumerate(measured.surfaces):
        nodes = drawn_tensors(block)
        fed[f"{nodes['triangles']}:0"] = surface.triangles
        fed[f"{nodes['r1']}:0"] = surface.r1.astype(real)
        fed[f"{nodes['r2']}:0"] = surface.r2.astype(real)
    if stage == "coarse":
        for level, pairs in enumerate(template.unpooling):
            fed[placeholder(27 + level)] = pairs.astype(np.int32)
    return fed
