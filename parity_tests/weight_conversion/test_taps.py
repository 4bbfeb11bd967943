import csv
import math
from pathlib import Path
from typing import Any

import pytest

from network.taps import IMAGES, MESH, TAPS, TapRow

ROWS = [row for rows in TAPS.values() for row in rows]
PARENTS = [
    ("coarse", "cnn.conv2d_1", ("inputs/images",)),
    ("coarse", "cnn.conv2d_9", ("cnn.conv2d_8",)),
    (
        "coarse",
        "graph_proj_1_layer_0",
        ("inputs/mesh", "cnn.conv2d_8", "cnn.conv2d_11", "cnn.conv2d_14", "cnn.conv2d_18"),
    ),
    (
        "coarse",
        "graph_conv_blk1_3_layer_3.residual",
        ("graph_conv_blk1_3_layer_3", "graph_conv_blk1_1_layer_1"),
    ),
    (
        "coarse",
        "graph_conv_blk2_5_layer_21.residual",
        ("graph_conv_blk2_5_layer_21", "graph_conv_blk2_3_layer_19.residual"),
    ),
    ("coarse", "graph_conv_blk1_14_layer_14", ("graph_conv_blk1_13_layer_13.residual",)),
    (
        "coarse",
        "graph_proj_3_layer_31.concat",
        ("graph_proj_3_layer_31", "graph_conv_blk2_13_layer_29.residual"),
    ),
    ("coarse", "graph_pool_2to3_layer_32", ("graph_proj_3_layer_31.concat",)),
    ("coarse", "graph_conv_blk3_15_layer_47", ("graph_conv_blk3_14_layer_46",)),
    ("refine", "graph_sample_hypothesis_2_layer_3", ("graph_drb_blk1_layer_2",)),
    (
        "refine",
        "graph_localproj_1_layer_1",
        ("graph_sample_hypothesis_1_layer_0", "cnn.conv2d_2", "cnn.conv2d_5", "cnn.conv2d_8"),
    ),
    (
        "refine",
        "graph_drb_blk2_layer_5.residual_2",
        ("graph_drb_blk2_layer_5.localgconv_11", "graph_drb_blk2_layer_5.residual_1"),
    ),
    ("refine", "graph_drb_blk1_layer_2", ("graph_drb_blk1_layer_2.score", "inputs/mesh")),
    (
        "refine",
        "graph_drb_blk2_layer_5",
        ("graph_drb_blk2_layer_5.score", "graph_drb_blk1_layer_2"),
    ),
]


def ancestors(nodes: dict[str, Any], known: dict[str, str], tensor: str) -> set[str]:
    """The nearest known nodes behind ``tensor``, by the names in ``known``."""
    found, seen, todo = set(), set(), list(nodes[tensor].input)
    while todo:
        name = todo.pop().lstrip("^").partition(":")[0]
        if name in seen:
            continue
        seen.add(name)
        if name in known:
            found.add(known[name])
        else:
            todo.extend(nodes[name].input)
    return found


def test_rows_are_the_official_taps(shared: Path) -> None:
    with (shared / "taps.csv").open(newline="") as stream:
        listed = [tuple(row.values()) for row in csv.DictReader(stream)]
    rows = [
        (row.stage, str(row.order), row.name, row.metagraph_tensor, "x".join(map(str, row.shape)))
        for row in ROWS
    ]
    assert rows == listed


@pytest.mark.parametrize("stage", TAPS)
def test_names_and_tensors_are_unique_and_in_order(stage: str) -> None:
    rows = TAPS[stage]
    assert [row.order for row in rows] == list(range(len(rows)))
    assert len({row.name for row in rows}) == len(rows)
    assert len({row.metagraph_tensor for row in rows}) == len(rows)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.stage}.{row.name}")
def test_parents_come_before(row: TapRow) -> None:
    before = {IMAGES, MESH} | {other.name for other in TAPS[row.stage][: row.order]}
    assert row.parents
    assert set(row.parents) <= before
    assert len(set(row.parents)) == len(row.parents)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.stage}.{row.name}")
def test_module_computes_the_tap(row: TapRow) -> None:
    assert row.name == row.module or row.name.startswith(f"{row.module}.")
    assert math.prod(row.shape) > 0


@pytest.mark.parametrize(("stage", "name", "parents"), PARENTS, ids=lambda value: str(value)[:60])
def test_dataflow_of(stage: str, name: str, parents: tuple[str, ...]) -> None:
    assert next(row for row in TAPS[stage] if row.name == name).parents == parents


@pytest.mark.parametrize(
    ("stage", "graph"),
    [
        ("coarse", "coarse_mvp2m/meshnetmvp2m.ckpt-50.meta"),
        ("refine", "refine_p2mpp/meshnet.ckpt-10.meta"),
    ],
)
def test_dataflow_is_the_exported_graphs(stage: str, graph: str, official: Path) -> None:
    pytest.importorskip("tensorflow", reason="reading an exported graph needs TensorFlow")
    from tensorflow.core.protobuf import meta_graph_pb2

    data = (official / "checkpoint_graphs" / graph).read_bytes()
    nodes = {
        node.name: node for node in meta_graph_pb2.MetaGraphDef.FromString(data).graph_def.node
    }
    known = {row.metagraph_tensor: row.name for row in TAPS[stage]}
    known |= {"features": MESH, "img_inp": IMAGES}
    walked = {row.name: ancestors(nodes, known, row.metagraph_tensor) for row in TAPS[stage]}
    assert walked == {row.name: set(row.parents) for row in TAPS[stage]}
