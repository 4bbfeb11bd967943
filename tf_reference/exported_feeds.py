"""What the exported graph's placeholders and inner tensors are fed, and what they are called."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs.template import Template
from tf_reference.measured import Measured
from tf_reference.parameters import Arrays

_VIEWS = 3
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


def _in_scope(scope: str, kind: str, number: int) -> str:
    """The tensor of the ``number``-th operation of a kind in a scope."""
    return f"{scope}/{numbered(kind, number)}:0"


def decision_tensors(stage: str, projection: str) -> list[str]:
    """The graph's tensors that hold a projection's decisions in the finest map.

    Coarse: per view (V, 3), the view and the cell. Refine: per view floor and ceil of h, then
    floor and ceil of w.
    """
    if stage == "coarse":
        # Five casts a view: the view number, then the cells in the four maps.
        return [_in_scope(projection, "Cast", 5 * view + 1) for view in range(_VIEWS)]
    return [
        # Two a map, six a view.
        _in_scope(projection, kind, 6 * view + axis)
        for view in range(_VIEWS)
        for axis in range(2)
        for kind in ("Floor", "Ceil")
    ]


def decisions_from(stage: str, tensors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The decisions' array from the values of ``decision_tensors``."""
    if stage == "coarse":
        return np.stack([cells[:, 1:] for cells in tensors])
    rows = np.stack(tensors, axis=-1)
    return np.moveaxis(rows.reshape(-1, _VIEWS, 2, 2), 1, 0)


def pinned_feeds(
    stage: str, pinned: Mapping[str, NDArray[Any]], real: type[np.floating[Any]]
) -> Fed:
    """Feeds that put given decisions in place of the graph's own, in every map.

    The graph computes a map's integers from the continuous coordinate divided by a power of two;
    from the finest map's integers they follow exactly.
    """
    fed: Fed = {}
    for projection, decisions in pinned.items():
        for view in range(_VIEWS):
            if stage == "coarse":
                for level in range(4):
                    cells = decisions[view].astype(np.int32) // 2**level
                    # The view number divided by 4 or more: 0 in every view.
                    index = np.concatenate([np.zeros((len(cells), 1), np.int32), cells], axis=1)
                    fed[_in_scope(projection, "Cast", 5 * view + 1 + level)] = index
            else:
                for level in range(3):
                    for axis in range(2):
                        sides = decisions[view, :, axis].astype(real) / 2**level
                        number = 6 * view + 2 * level + axis
                        fed[_in_scope(projection, "Floor", number)] = np.floor(sides[:, 0])
                        fed[_in_scope(projection, "Ceil", number)] = np.ceil(sides[:, 1])
    return fed


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
