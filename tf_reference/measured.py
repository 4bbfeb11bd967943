"""What the losses measure a mesh against, checked: ground truth, samples, edges, neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs.template import Template
from tf_reference.parameters import as_float32, given
from weight_conversion.errors import InputError

LEVELS = {"coarse": (0, 1, 2), "refine": (2, 2)}
"""The template's level that each block's mesh has, by stage."""

_NEIGHBOURS = 8


@dataclass(frozen=True)
class Surface:
    """What one block's mesh of V vertices is measured on.

    Attributes:
        edges: (E, 2) int32, the index pairs of the second support; the V self-loops are among them.
        neighbours: (V, 8) int32, padded with V: the row of zeros that is appended to a mesh.
        degrees: (V,) int32.
        triangles: (S, 3) int32, the vertices of the triangle of each sample.
        r1: (S, 1) float32 draws in [0, 1).
        r2: (S, 1) float32 draws in [0, 1).
    """

    edges: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    degrees: NDArray[np.int32]
    triangles: NDArray[np.int32]
    r1: NDArray[np.float32]
    r2: NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """All that the losses of a stage read besides the network.

    Attributes:
        points: (N, 3) float32 ground truth, metres, camera frame of view 0.
        normals: (N, 3) float32; None where the ground truth has none: no normal term then.
        surfaces: one a block.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32] | None
    surfaces: tuple[Surface, ...]


def _draws(samples: Mapping[str, Any], name: str, count: int) -> NDArray[np.float32]:
    draws = as_float32(given(samples, name, "samples"), f"samples/{name}", (count,))
    # 1 itself is what a float64 draw just below 1 becomes in float32.
    if not ((draws >= 0) & (draws <= 1)).all():
        raise InputError(f"samples/{name}", "numbers outside [0, 1)", "uniform draws")
    return draws


def _surface(template: Template, samples: Mapping[str, Any], block: int, level: int) -> Surface:
    """What block ``block``, from 1, is measured on.

    Raises:
        InputError: a draw is missing, has another shape, or names a triangle that does not exist.
    """
    name = f"face_{block}"
    drawn: NDArray[Any] = np.asarray(given(samples, name, "samples"))
    faces = template.faces[level]
    if drawn.ndim != 1 or len(drawn) == 0 or not np.issubdtype(drawn.dtype, np.integer):
        found = f"shape {drawn.shape} of {drawn.dtype}"
        raise InputError(f"samples/{name}", found, "a list of indices into the triangles")
    least, greatest = int(drawn.min()), int(drawn.max())
    if least < 0 or greatest >= len(faces):
        found = f"triangle {least if least < 0 else greatest}"
        raise InputError(f"samples/{name}", found, f"0 to {len(faces) - 1}")
    table = np.asarray(template.laplace[level], np.int32)
    neighbours = table[:, :_NEIGHBOURS]
    return Surface(
        edges=template.supports[level][1].indices.astype(np.int32),
        neighbours=np.where(neighbours < 0, len(table), neighbours).astype(np.int32),
        degrees=table[:, -1].astype(np.int32),
        triangles=faces[drawn].astype(np.int32),
        r1=_draws(samples, f"r1_{block}", len(drawn))[:, None],
        r2=_draws(samples, f"r2_{block}", len(drawn))[:, None],
    )


def checked_measured(stage: str, inputs: Mapping[str, Any]) -> Measured:
    """The ground truth and samples of a run's inputs.

    Raises:
        InputError: one is missing or unusable.
    """
    truth, samples, template = (
        given(inputs, name) for name in ("ground_truth", "samples", "template")
    )
    if not isinstance(template, Template):
        raise InputError("inputs/template", type(template).__name__, "a Template")
    if not isinstance(samples, Mapping):
        raise InputError("inputs/samples", type(samples).__name__, "face_b, r1_b and r2_b by name")
    points = as_float32(truth.points, "inputs/ground_truth", (None, 3))
    if len(points) == 0:
        raise InputError("inputs/ground_truth", "no points", "one at least")
    normals = None
    if truth.normals is not None:
        normals = as_float32(truth.normals, "inputs/ground_truth normals", points.shape)
    surfaces = [
        _surface(template, samples, block, level)
        for block, level in enumerate(LEVELS[stage], start=1)
    ]
    return Measured(points, normals, tuple(surfaces))
