"""ONNX graphs, for reading: the initializers that are named like entries of the state dict."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file

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
        tensors: dict[str, Any] = {}
        variables = []
        for tensor in model.graph.initializer:
            if tensor.name in tensors:
                raise InputError(path, f"initializer {tensor.name} twice", "each name once")
            tensors[tensor.name] = tensor
            dtype = str(helper.tensor_dtype_to_np_dtype(tensor.data_type))
            variables.append(Variable(tensor.name, tuple(tensor.dims), dtype))
        metadata = {entry.key: entry.value for entry in model.metadata_props}

    def read(name: str) -> NDArray[Any]:
        with parsing(path, f"{_KIND}, at {name}"):
            return np.array(numpy_helper.to_array(tensors[name], str(path.parent)))

    yield Contents(tuple(variables), read, (path,), step_from(metadata.get("step")))
