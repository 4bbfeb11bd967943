"""Checksums in formats that have none of their own: safetensors, HDF5 and ONNX.

A file carries a CRC-32C a variable, of its values' little-endian bytes in C order, and one over the
manifest, which is all that the file says beside the values:

    stage=coarse
    step=50
    cnn.conv2d_1.weight float32 16x3x3x3 1a2b3c4d
    ...

Attributes come first and then the variables, each sorted by name. A line ends with a newline and a
variable's with its checksum as eight hexadecimal digits. Whoever changes a value or a name in
another program has to take the checksums out or write them anew.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.contents import Variable
from weight_conversion.crc32c import array_crc32c, crc32c
from weight_conversion.errors import InputError
from weight_conversion.weight_set import dtype_text, shape_text

VARIABLE = "crc32c"
"""The name under which a file keeps the variables' checksums."""
MANIFEST = "crc32c_manifest"
"""The name under which it keeps the manifest's. Without it a file has no checksums."""


def manifest_crc32c(
    attributes: Mapping[str, object], variables: Iterable[Variable], sums: Mapping[str, int]
) -> int:
    """The checksum of a file's manifest.

    Args:
        attributes: what else the file says, by name; None is left out.
        variables: the variables as the file describes them.
        sums: a checksum a variable, by its name.
    """
    lines = [f"{name}={attributes[name]}" for name in sorted(attributes)
             if attributes[name] is not None]  # fmt: skip
    lines += [
        f"{variable.name} {variable.dtype} {shape_text(variable.shape)} {sums[variable.name]:08x}"
        for variable in sorted(variables, key=lambda variable: variable.name)
    ]
    text = "".join(f"{line}\n" for line in lines)
    return crc32c(text.encode(errors="surrogateescape"))


def described(arrays: Mapping[str, NDArray[Any]]) -> list[Variable]:
    """The variables of ``arrays``, as a reader of the file will describe them."""
    return [
        Variable(name, array.shape, dtype_text(array.dtype.newbyteorder("=")))
        for name, array in arrays.items()
    ]


class Checksums:
    """The checksums of a file that is being read."""

    def __init__(self, path: Path, sums: Mapping[str, int]) -> None:
        self._path, self._sums = path, sums

    @classmethod
    def of(
        cls,
        path: Path,
        attributes: Mapping[str, object],
        variables: Iterable[Variable],
        sums: Mapping[str, int],
        manifest: int,
    ) -> "Checksums":
        """The checksums of ``path``, held against its manifest's.

        Raises:
            InputError: a variable has none, or the manifest has another.
        """
        variables = list(variables)
        absent = sorted({variable.name for variable in variables} - set(sums))
        if absent:
            raise InputError(path, f"no checksum of variable {absent[0]}", "an undamaged file")
        if manifest_crc32c(attributes, variables, sums) != manifest:
            found = "the checksum of its names, shapes and attributes does not match them"
            raise InputError(path, found, "an undamaged file")
        return cls(path, sums)

    def check(self, name: str, array: NDArray[Any]) -> None:
        """Raise unless ``array``, as read, has the checksum of the variable ``name``.

        Raises:
            InputError: it has another.
        """
        if array_crc32c(np.asarray(array)) != self._sums[name]:
            found = f"the checksum of variable {name} does not match its data"
            raise InputError(self._path, found, "an undamaged file")


def texts_of_checksums(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> dict[str, str]:
    """The checksums of ``arrays`` and of ``metadata`` for a format whose metadata are texts."""
    sums = {name: array_crc32c(array) for name, array in arrays.items()}
    manifest = manifest_crc32c(metadata, described(arrays), sums)
    texts = {name: f"{value:08x}" for name, value in sums.items()}
    return {VARIABLE: json.dumps(texts), MANIFEST: f"{manifest:08x}"}


def checksums_in_texts(
    path: Path, metadata: Mapping[str, str], variables: Iterable[Variable]
) -> Checksums | None:
    """The checksums that :func:`texts_of_checksums` wrote; None where there are none.

    Raises:
        InputError: they are no checksums, or not those of what the file says.
    """
    if MANIFEST not in metadata:
        return None
    try:
        sums = {str(k): int(v, 16) for k, v in json.loads(metadata[VARIABLE]).items()}
        manifest = int(metadata[MANIFEST], 16)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        found = f"metadata {VARIABLE!r} and {MANIFEST!r} that hold no checksums"
        raise InputError(path, found, "an undamaged file") from error
    rest = {name: value for name, value in metadata.items() if name in ("stage", "step")}
    return Checksums.of(path, rest, variables, sums, manifest)
