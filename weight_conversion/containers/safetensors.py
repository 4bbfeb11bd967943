"""Safetensors: the state dict, with stage, step and checksums in the metadata.

The format has no checksums of its own. ``weight_conversion.containers.checksums`` says what is
checked; the metadata keep it under ``crc32c``, a JSON object of tensor names and eight hexadecimal
digits each, and ``crc32c_manifest``.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from weight_conversion.containers.checksums import checksums_in_texts, texts_of_checksums
from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.files import require_file

_KIND = "a safetensors file"
_NAMES = {
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "BF16": "bfloat16",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: it is missing or damaged.
    """
    require_file(path, _KIND)
    with parsing(path, _KIND):
        file = safe_open(path, framework="numpy")
    with file:
        variables = []
        with parsing(path, _KIND):
            for name in file.keys():  # noqa: SIM118 - the file is not iterable itself
                piece = file.get_slice(name)
                dtype = str(piece.get_dtype())
                variables.append(Variable(name, tuple(piece.get_shape()), _NAMES.get(dtype, dtype)))
            metadata = file.metadata() or {}
        checksums = checksums_in_texts(path, metadata, variables)
        halves = {variable.name for variable in variables if variable.dtype == "bfloat16"}

        def read(name: str) -> NDArray[Any]:
            with parsing(path, f"{_KIND}, at {name}"):
                array = _half(path, name) if name in halves else np.asarray(file.get_tensor(name))
            if checksums is not None:
                checksums.check(name, array)
            return array

        step = step_from(metadata.get("step"))
        yield Contents(tuple(variables), read, (path,), step, checksums is not None)


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a file of ``arrays`` by state-dict key."""
    metadata = {"stage": stage} | ({} if step is None else {"step": str(step)})
    save_file(dict(arrays), path, metadata | texts_of_checksums(arrays, metadata))
    _sort_metadata(path)


def _half(path: Path, name: str) -> NDArray[Any]:
    """A tensor in bfloat16, which NumPy does not have, as the float32 that holds it exactly."""
    with safe_open(path, framework="pt") as file:
        return np.asarray(file.get_tensor(name).float().numpy())


def _sort_metadata(path: Path) -> None:
    """Order the header's metadata by name.

    The library writes them in the order of a hash map, another one in each process; so the same
    weights make the same bytes.
    """
    with path.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            stream.seek(8)
            stream.write(text.ljust(size))
