"""Going through large taps a few vertices at a time.

The refine stage mixes nothing between vertices, so that a layer on some vertices needs its inputs
at those alone, beside the feature maps. Its largest tap has 36 million numbers.
"""

from typing import Any

import numpy as np

from inputs.hypotheses import HYPOTHESES
from network.taps import MESH, TapRow

VERTICES_AT_ONCE = 137
"""An eighteenth of 2,466: a hidden layer of their hypotheses has 9 MB in float64, so that a few of
them stay in a processor's cache. Six parts took twice the time."""

Part = slice | None
"""Some vertices of a refine tap; None for all of a tap."""


def parts_of(row: TapRow, vertices: int) -> list[Part]:
    """How to go through a tap of a mesh of so many vertices."""
    if row.stage == "coarse" or row.name.startswith("cnn."):
        return [None]
    starts = range(0, vertices, VERTICES_AT_ONCE)
    return [slice(start, min(start + VERTICES_AT_ONCE, vertices)) for start in starts]


def rows_in(name: str, part: slice) -> slice:
    """The rows of a refine tap that belong to a part."""
    if name.startswith("graph_localproj"):
        return slice(part.start * HYPOTHESES, part.stop * HYPOTHESES)
    return part


def cut(values: Any, name: str, part: Part) -> np.ndarray:
    """Those rows of an array or dataset that belong to a part; feature maps are always whole."""
    if part is None or (name != MESH and not name.startswith("graph_")):
        return np.asarray(values[()])
    return np.asarray(values[rows_in(name, part)])
