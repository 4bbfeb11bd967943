"""From what a run is given (NumPy) to what the network reads (tensors), checked on the way.

Everything is rounded to float32 first and then widened to the run's precision, so that two right
float64 implementations see the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inputs.hypotheses import Hypotheses
from inputs.template import Template
from network.weights import WEIGHTS
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

VERTICES = {"coarse": 156, "refine": 2466}
"""How many vertices the mesh has that each stage starts from."""

Weights = Mapping[str, "tf.Tensor"]
"""Tensors by state-dict key (``cnn.conv2d_1.weight``), in the checkpoint's layout."""


@dataclass(frozen=True)
class Level:
    """The template at one resolution.

    Attributes:
        supports: the two sparse (V, V) supports of a graph convolution.
        unpooling: (E, 2) int32, the ends of each edge that gets a vertex; None at the last level.
    """

    supports: tuple["tf.SparseTensor", "tf.SparseTensor"]
    unpooling: "tf.Tensor | None"


@dataclass(frozen=True)
class NetworkInputs:
    """One item's inputs in the run's precision.

    Attributes:
        images: (3, 224, 224, 3) NHWC, BGR in [0, 1].
        cameras: (3, 5) rows of azimuth and elevation in degrees, rotation, distance, field of view.
        mesh: (V, 3), metres, camera frame of view 0.
        levels: the template's three resolutions.
        offsets: (43, 3) hypothesis offsets, metres.
        local_supports: (2, 43, 43) dense supports of the hypotheses' graph.
    """

    images: "tf.Tensor"
    cameras: "tf.Tensor"
    mesh: "tf.Tensor"
    levels: tuple[Level, ...]
    offsets: "tf.Tensor"
    local_supports: "tf.Tensor"


def as_real(
    array: Any, name: str, shape: tuple[int | None, ...], real: type[np.floating[Any]]
) -> NDArray[Any]:
    """``array`` in precision ``real``, its shape checked (None fits any length).

    Raises:
        InputError: not numbers, or another shape.
    """
    try:
        rounded = np.asarray(array, dtype=real)
    except (TypeError, ValueError) as error:
        raise InputError(name, "not an array of numbers", np.dtype(real).name) from error
    fits = len(rounded.shape) == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, rounded.shape, strict=True)
    )
    if not fits:
        expected = " x ".join("N" if length is None else str(length) for length in shape)
        raise InputError(name, f"shape {rounded.shape}", f"an array of {expected}")
    return rounded


def as_float32(array: Any, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    """``array`` rounded to float32, its shape checked.

    Raises:
        InputError: see ``as_real``.
    """
    return as_real(array, name, shape, np.float32)


def given(inputs: Mapping[str, Any], name: str, where: str = "inputs") -> Any:
    """``inputs[name]``.

    Raises:
        InputError: it is missing.
    """
    if inputs.get(name) is None:
        raise InputError(f"{where}/{name}", "missing", f"it among the run's {where}")
    return inputs[name]


def _template(inputs: Mapping[str, Any]) -> Template:
    template = given(inputs, "template")
    if not isinstance(template, Template):
        raise InputError("inputs/template", type(template).__name__, "a Template")
    return template


def _hypotheses(inputs: Mapping[str, Any]) -> Hypotheses:
    hypotheses = given(inputs, "hypotheses")
    if not isinstance(hypotheses, Hypotheses):
        raise InputError("inputs/hypotheses", type(hypotheses).__name__, "Hypotheses")
    return hypotheses


@dataclass(frozen=True)
class Arrays:
    """The same inputs before a framework sees them: float32, shapes checked."""

    images: NDArray[np.float32]
    cameras: NDArray[np.float32]
    mesh: NDArray[np.float32]
    template: Template | None
    hypotheses: Hypotheses | None


def checked_arrays(stage: str, inputs: Mapping[str, Any]) -> Arrays:
    """The inputs that ``stage`` reads.

    Raises:
        InputError: one is missing or has the wrong shape.
    """
    return Arrays(
        images=as_float32(given(inputs, "images"), "inputs/images", (3, 224, 224, 3)),
        cameras=as_float32(given(inputs, "cameras"), "inputs/cameras", (3, 5)),
        mesh=as_float32(given(inputs, "mesh"), "inputs/mesh", (VERTICES[stage], 3)),
        template=_template(inputs) if stage == "coarse" else None,
        hypotheses=_hypotheses(inputs) if stage == "refine" else None,
    )


def checked_weights(
    stage: str, weights: Mapping[str, Any], real: type[np.floating[Any]] = np.float32
) -> dict[str, NDArray[Any]]:
    """``weights`` (by checkpoint key) in precision ``real``, complete and of the right shapes.

    Unlike inputs, variables are not rounded to float32 in a float64 run: a checkpoint's are
    float32 anyway, and those between two float64 training steps must not be.

    Raises:
        InputError: variables are missing, unknown (another stage's), or of another shape.
    """
    rows = WEIGHTS[stage]
    missing = sorted({row.key for row in rows} - set(weights))
    if missing:
        raise InputError(
            "weights",
            f"{len(missing)} of the {stage} stage's variables are missing, such as {missing[0]}",
            f"all {len(rows)}",
        )
    unknown = sorted(set(weights) - {row.key for row in rows})
    if unknown:
        raise InputError(
            "weights",
            f"{len(unknown)} variables that the {stage} stage does not have, such as {unknown[0]}",
            f"its {len(rows)} and no others",
        )
    return {
        row.key: as_real(weights[row.key], f"weights/{row.key}", row.shape, real) for row in rows
    }


def network_weights(stage: str, weights: Mapping[str, Any], dtype: "tf.DType") -> Weights:
    """Checked weights as tensors in the run's precision.

    Raises:
        InputError: see ``checked_weights``.
    """
    arrays = checked_weights(stage, weights, dtype.as_numpy_dtype)
    return {row.torch_key: tf.constant(arrays[row.key]) for row in WEIGHTS[stage]}


def _levels(template: Template, dtype: "tf.DType") -> tuple[Level, ...]:
    levels = []
    for number, pair in enumerate(template.supports):
        first, second = (
            tf.sparse.SparseTensor(
                support.indices, tf.cast(tf.constant(support.values), dtype), support.shape
            )
            for support in pair
        )
        last = number == len(template.unpooling)
        pairs = None if last else tf.constant(template.unpooling[number], tf.int32)
        levels.append(Level((first, second), pairs))
    return tuple(levels)


def network_inputs(stage: str, inputs: Mapping[str, Any], dtype: "tf.DType") -> NetworkInputs:
    """Checked inputs as tensors in the run's precision.

    What the other stage alone reads is empty.

    Raises:
        InputError: see ``checked_arrays``.
    """
    arrays = checked_arrays(stage, inputs)
    offsets = np.zeros((0, 3), np.float32)
    local_supports = np.zeros((2, 0, 0), np.float32)
    if arrays.hypotheses is not None:
        offsets, local_supports = arrays.hypotheses.offsets, arrays.hypotheses.supports

    def widened(array: NDArray[np.float32]) -> "tf.Tensor":
        return tf.constant(array.astype(np.float32).astype(dtype.as_numpy_dtype))

    return NetworkInputs(
        images=widened(arrays.images),
        cameras=widened(arrays.cameras),
        mesh=widened(arrays.mesh),
        levels=() if arrays.template is None else _levels(arrays.template, dtype),
        offsets=widened(offsets),
        local_supports=widened(local_supports),
    )
