"""ONNX graphs: the initializers that are named like entries of the state dict.

A graph that this project writes carries checksums of them in its metadata (``metadata_props``), as
``weight_conversion.containers.checksums`` says: ``crc32c``, a JSON object of names and eight
hexadecimal digits each, and ``crc32c_manifest``. A beginning of such a file can be a whole message
itself, without the metadata at the end; the producer and its version, at the start, say that they
belong to it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.checksums import (
    MANIFEST,
    checksums_in_texts,
    texts_of_checksums,
)
from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file

PRODUCER, VERSION = "pixel2mesh-parity", "2"
"""Who writes a graph with checksums."""
_KIND = "an ONNX graph"


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a graph.

    Raises:
        InputError: it is missing or damaged, or the package ``onnx`` is not installed.
    """
    require_file(path, _KIND)
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        expected = "pip install 'pixel2mesh-parity[onnx]'"
        raise InputError(path, "reading it needs the package onnx", expected) from error

    with parsing(path, _KIND):
        model = onnx.load(path)
        if not model.HasField("graph"):
            raise InputError(path, "it holds no graph", _KIND)
        tensors: dict[str, Any] = {}
        variables = []
        for tensor in model.graph.initializer:
            # protobuf hands out texts that are not UTF-8 as bytes.
            if not isinstance(tensor.name, str):
                raise InputError(path, f"initializer {tensor.name!r}", "names in UTF-8")
            if tensor.name in tensors:
                raise InputError(path, f"initializer {tensor.name} twice", "each name once")
            tensors[tensor.name] = tensor
            dtype = str(helper.tensor_dtype_to_np_dtype(tensor.data_type))
            variables.append(Variable(tensor.name, tuple(tensor.dims), dtype))
        metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
    ours = (model.producer_name, model.producer_version) == (PRODUCER, VERSION)
    if ours and MANIFEST not in metadata:
        raise InputError(path, "it ends without its checksums", "an undamaged file")
    checksums = checksums_in_texts(path, metadata, variables)

    def read(name: str) -> NDArray[Any]:
        with parsing(path, f"{_KIND}, at {name}"):
            array = np.asarray(numpy_helper.to_array(tensors[name], str(path.parent)))
        if checksums is not None:
            checksums.check(name, array)
        return array

    step = step_from(metadata.get("step"))
    yield Contents(tuple(variables), read, (path,), step, checksums is not None)


def metadata_of(arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> dict[str, str]:
    """What a graph says of itself, checksums of its initializers ``arrays`` included."""
    metadata = {"stage": stage} | ({} if step is None else {"step": str(step)})
    return metadata | texts_of_checksums(arrays, metadata)
