"""A stage's weights in memory, checked, and the checksum that names them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import names, network_of
from weight_conversion.errors import InputError
from weight_conversion.recognise import mismatch


@dataclass(frozen=True)
class WeightSet:
    """All variables of one stage.

    Attributes:
        stage: the network's name.
        arrays: by checkpoint key, in the order of the network, float32 in checkpoint layout.
        step: the training step they were saved at, where it is known.
        source: the path they were read from, or what made them.
        ignored: names that stood beside the stage's variables and were left out (optimiser
            slots and counters, the constants of an ONNX graph).
        notes: what a person should know about how they were read.
    """

    stage: str
    arrays: dict[str, NDArray[np.float32]]
    step: int | None
    source: str
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def weights_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The SHA-256 of a set of variables, whatever file they came from.

    The bytes hashed are, for each checkpoint key in the order of the keys' UTF-8 bytes: the key
    in UTF-8; a zero byte; the sizes of the shape in decimal, joined by "x" (nothing for a
    scalar); a zero byte; the values in C order as little-endian float32, checkpoint layout.

    Raises:
        InputError: an array is not float32.
    """
    digest = hashlib.sha256()
    for key in sorted(arrays, key=str.encode):
        array = arrays[key]
        if array.dtype.newbyteorder("=") != np.float32:
            raise InputError(key, f"type {array.dtype}", "float32")
        digest.update(f"{key}\0{shape_text(array.shape)}\0".encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()


def shape_text(shape: tuple[int, ...]) -> str:
    """The shape as "3x3x3x16"."""
    return "x".join(map(str, shape))


def dtype_text(dtype: np.dtype[Any]) -> str:
    """The type's name; a foreign byte order is part of it."""
    return dtype.name if dtype.newbyteorder("=") == dtype else f"big-endian {dtype.name}"


HALVES = ("float16", "bfloat16")
"""Types of which every value is a float32's."""


def widened(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` in float32 where it is in half precision, else as it is."""
    return array.astype(np.float32) if array.dtype.name in HALVES else array


def widening(dtypes: Iterable[str]) -> list[str]:
    """A note for each half precision among ``dtypes``, one of each variable."""
    counts = Counter(dtype for dtype in dtypes if dtype in HALVES)
    return [
        f"{count} variables in {dtype}, widened to the float32 that holds them exactly"
        for dtype, count in sorted(counts.items())
    ]


def check_stage(where: object, stage: str) -> None:
    """Raise unless ``stage`` is a network's name.

    Raises:
        InputError: it is not.
    """
    if stage not in names():
        raise InputError(where, f"stage {stage!r}", " or ".join(names()))


def check_variable(
    where: object, name: str, shape: tuple[int, ...], dtype: str, expected: tuple[int, ...]
) -> None:
    """Raise unless the variable has the shape ``expected`` and is float32.

    Raises:
        InputError: naming the variable.
    """
    if shape != expected:
        found = f"variable {name} of shape {shape_text(shape) or 'scalar'}"
        raise InputError(where, found, shape_text(expected))
    if dtype != "float32":
        raise InputError(where, f"variable {name} of type {dtype}", "float32 (little-endian)")


def check_finite(where: object, name: str, array: NDArray[Any]) -> None:
    """Raise if a value is NaN or infinite.

    Raises:
        InputError: naming the variable and the first such value.
    """
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.argwhere(~finite)
        at = tuple(int(index) for index in bad[0])
        found = f"variable {name} has {len(bad)} of {array.size} values that are not finite"
        raise InputError(where, f"{found}, the first {array[at]} at {list(at)}", "numbers")


def check_arrays(where: object, stage: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise unless ``arrays`` holds exactly the variables of ``stage``, whole and finite.

    Raises:
        InputError: an unknown stage, names on one side only, a shape, a type or a value.
    """
    check_stage(where, stage)
    keys = {row.key for row in network_of(stage).variables}
    if keys != set(arrays):
        difference = mismatch(keys - set(arrays), set(arrays) - keys)
        raise InputError(where, difference, f"the {len(keys)} variables of {stage}")
    for row in network_of(stage).variables:
        array = arrays[row.key]
        check_variable(where, row.key, array.shape, dtype_text(array.dtype), row.shape)
        check_finite(where, row.key, array)
