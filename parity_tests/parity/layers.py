"""Layers with small random inputs, and what they compute."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from network.taps import IMAGES, MESH, TAPS, TapRow
from parity.oracle.context import Context
from parity.oracle.local import alone
from studies.faults.memory import context_of
from studies.faults.probes import probe

Made = tuple[TapRow, dict[str, np.ndarray]]
ROWS = {(stage, row.name): row for stage in TAPS for row in TAPS[stage]}
FEW = 5
"""Vertices of the refine stage's layers."""
KINDS = {
    "image convolution": ("coarse", "cnn.conv2d_4"),
    "image convolution, stride 2": ("coarse", "cnn.conv2d_6"),
    "image convolution, 5×5": ("coarse", "cnn.conv2d_12"),
    "graph convolution": ("coarse", "graph_conv_blk1_3_layer_3"),
    "coordinates": ("coarse", "graph_conv_blk1_14_layer_14"),
    "halved residual": ("coarse", "graph_conv_blk1_3_layer_3.residual"),
    "nearest projection": ("coarse", "graph_proj_1_layer_0"),
    "concatenation": ("coarse", "graph_proj_2_layer_15.concat"),
    "unpooling": ("coarse", "graph_pool_1to2_layer_16"),
    "hypotheses": ("refine", "graph_sample_hypothesis_1_layer_0"),
    "bilinear projection": ("refine", "graph_localproj_1_layer_1"),
    "local convolution": ("refine", "graph_drb_blk1_layer_2.localgconv_2"),
    "residual": ("refine", "graph_drb_blk1_layer_2.residual_1"),
    "softmax": ("refine", "graph_drb_blk1_layer_2.score"),
    "moved vertex": ("refine", "graph_drb_blk1_layer_2"),
}
SIDES = {1: 16, 2: 8}
"""Sides of the small images by stride."""


@pytest.fixture(scope="session")
def contexts() -> dict[str, Context]:
    return {stage: context_of(probe("plane", stage)) for stage in TAPS}


@pytest.fixture
def make(contexts: dict[str, Context]) -> Callable[[str], tuple[TapRow, list[np.ndarray], Context]]:
    """A kind's layer, small, with inputs that reach all of its cases."""

    def build(kind: str) -> tuple[TapRow, list[np.ndarray], Context]:
        stage, name = KINDS[kind]
        row, context = ROWS[stage, name], contexts[stage]
        draw = np.random.default_rng(len(name))
        if name.startswith("cnn."):
            stride = 2 if row.shape[1] < ROWS[stage, row.parents[0]].shape[1] else 1
            channels = ROWS[stage, row.parents[0]].shape[3]
            x = np.maximum(draw.normal(size=(3, 16, 16, channels)), 0.0)
            small = replace(row, shape=(3, 16 // stride, 16 // stride, row.shape[3]))
            return small, [x], context
        mesh = context.inputs[MESH]
        shapes = [
            mesh.shape if parent in (MESH, IMAGES) else ROWS[stage, parent].shape
            for parent in row.parents
        ]
        if stage == "refine":
            shapes = [_few(shape) for shape in shapes]
            row = replace(row, shape=_few(row.shape))
        values = [draw.normal(size=shape) for shape in shapes]
        if "proj_" in name and not name.endswith("concat"):
            # Two features in three are 0, so that views tie; points fall on all sides.
            values[1:] = [np.maximum(each - 0.5, 0.0) for each in values[1:]]
            points = mesh[:FEW] if stage == "refine" else mesh
            # Towards the camera, so that some leave the image.
            values[0] = points * [1.5, 1.5, 1.0]
            if stage == "refine":
                values[0] = values[0][:, None] + context.offsets
        return row, values, context

    return build


def _few(shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[0] == 3:
        return shape
    return (FEW * 43 if shape[0] > 2466 else FEW, *shape[1:])


def forward(row: TapRow, values: list[np.ndarray], context: Context) -> np.ndarray:
    """The layer's output in float64."""
    parents = dict(zip(row.parents, values, strict=True))
    return alone(row, parents, context, None, "float64").value
