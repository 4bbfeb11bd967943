import csv
import math
from pathlib import Path

import pytest

from network.layout import Layout
from network.weights import WEIGHTS, WeightRow

ROWS = [row for rows in WEIGHTS.values() for row in rows]
TOTALS = {"coarse": (165, 19_051_385), "refine": (72, 13_696_498)}
RANKS = {Layout.CONV: 4, Layout.MATRIX: 2, Layout.VECTOR: 1}


def text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@pytest.mark.parametrize("stage", WEIGHTS)
def test_rows_are_the_official_variables(stage: str, shared: Path) -> None:
    with (shared / f"variables_{stage}.csv").open(newline="") as stream:
        listed = [
            (row["stage"], row["checkpoint_key"], row["metagraph_node"], row["shape"])
            for row in csv.DictReader(stream)
        ]
    rows = [(row.stage, row.key, row.node, text(row.shape)) for row in WEIGHTS[stage]]
    assert sorted(rows) == sorted(listed)


@pytest.mark.parametrize("stage", WEIGHTS)
def test_counts(stage: str) -> None:
    numbers = sum(math.prod(row.shape) for row in WEIGHTS[stage])
    assert (len(WEIGHTS[stage]), numbers) == TOTALS[stage]


@pytest.mark.parametrize("stage", WEIGHTS)
def test_names_are_a_bijection(stage: str) -> None:
    rows = WEIGHTS[stage]
    for column in ("key", "node", "torch_key"):
        assert len({getattr(row, column) for row in rows}) == len(rows)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.stage}.{row.torch_key}")
def test_row_is_consistent(row: WeightRow) -> None:
    assert len(row.shape) == RANKS[row.layout]
    assert row.key.partition("/")[2] == f"{row.node.partition('/')[2]}:0"
    # The layer and the variable have the same names on both sides.
    parts = row.node.replace("_vars", "").split("/")[1:]
    if row.torch_key.startswith("cnn."):
        kind = {"W": "weight", "b": "bias"}[parts[-1]]
        assert row.torch_key == f"cnn.{parts[1]}.{kind}"
    else:
        assert row.torch_key == ".".join(parts[1:])


@pytest.mark.parametrize(
    ("stage", "torch_key", "key", "shape"),
    [
        ("coarse", "cnn.conv2d_12.weight", "meshnetmvp2m/cnn/conv2d_12/W:0", (5, 5, 128, 256)),
        (
            "coarse",
            "graph_conv_blk2_1_layer_17.weights_1",
            "meshnetmvp2m/pixel2mesh/graph_conv_blk2_1_layer_17_vars/weights_1:0",
            (3075, 192),
        ),
        (
            "refine",
            "graph_drb_blk2_layer_5.localgconv_12.bias",
            "meshnet/pixel2mesh/graph_drb_blk2_layer_5/localgconv_12_vars/bias:0",
            (1,),
        ),
    ],
)
def test_examples(stage: str, torch_key: str, key: str, shape: tuple[int, ...]) -> None:
    row = next(row for row in WEIGHTS[stage] if row.torch_key == torch_key)
    assert (row.key, row.shape) == (key, shape)
