"""Pixel decisions: which pixels a projection reads, as integers.

Two right float32 runs may round a coordinate to different sides of a pixel's edge. Recording the
integers, and letting another run use them, tells such a flip from an error.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.taps import TAPS
from weight_conversion.errors import InputError

OUTSIDE = -32768
"""The decision for a coordinate that is no number: a pixel outside every map."""


def as_int16(pixels: NDArray[Any]) -> NDArray[np.int16]:
    """Pixel numbers as recorded; what is no number (or lies beyond int16) becomes ``OUTSIDE``."""
    inside = np.abs(pixels.astype(np.float64)) < -OUTSIDE
    return np.where(inside, np.where(inside, pixels, 0), OUTSIDE).astype(np.int16)


def decision_shapes(stage: str) -> dict[str, tuple[int, ...]]:
    """The shape of each projection's decisions, by its tap.

    Coarse: (3 views, V, 2 = h and w), the cell of the 56 map. Refine: (3 views, V * 43, 2 = h
    and w, 2 = floor and ceil) in the 224 map. The other maps' follow exactly.
    """
    kinds = {"graph_proj_": (2,), "graph_localproj_": (2, 2)}
    return {
        row.name: (3, row.shape[0], *tail)
        for row in TAPS[stage]
        for prefix, tail in kinds.items()
        if row.name.startswith(prefix) and "." not in row.name
    }


def checked_pinned(stage: str, pinned: Mapping[str, Any] | None) -> dict[str, NDArray[np.int16]]:
    """Another run's decisions, to be used in place of this run's own.

    Raises:
        InputError: they are of a projection that the stage does not have, or of another shape.
    """
    shapes = decision_shapes(stage)
    checked = {}
    for name, decisions in (pinned or {}).items():
        if name not in shapes:
            raise InputError(f"pinned/{name}", "no projection", " or ".join(sorted(shapes)))
        array = np.asarray(decisions)
        if array.shape != shapes[name] or not np.issubdtype(array.dtype, np.integer):
            found = f"shape {array.shape} of {array.dtype}"
            raise InputError(f"pinned/{name}", found, f"integers of shape {shapes[name]}")
        checked[name] = array.astype(np.int16)
    return checked
