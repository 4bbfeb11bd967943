"""HDF5: one dataset a variable, its path being the checkpoint key.

The slashes of a key make nested groups, so that ``file["scope/layer/W:0"]`` is the
kernel, just as in a trace's ``/gradients``. Stage and step are attributes of the root.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file
from weight_conversion.weight_set import dtype_text

_KIND = "an HDF5 file of weights"


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: it is missing or damaged, or keeps values elsewhere (links to other files).
    """
    require_file(path, _KIND)
    with parsing(path, _KIND):
        file = h5py.File(path, "r")
    with file:
        variables: list[Variable] = []

        def visit(name: str, node: Any) -> None:
            # Links, soft and external, are not followed.
            if isinstance(node, h5py.Dataset):
                if node.is_virtual or node.external:
                    raise InputError(path, f"variable {name} kept in another file", _KIND)
                # A dataset may have a type and no values at all, not even none of them.
                dtype = "empty" if node.shape is None else dtype_text(node.dtype)
                variables.append(Variable(name, tuple(node.shape or ()), dtype))

        with parsing(path, _KIND):
            file.visititems(visit)
            attribute = file.attrs.get("step")
            step = attribute.item() if isinstance(attribute, np.generic) else attribute

        def read(name: str) -> NDArray[Any]:
            with parsing(path, f"{_KIND}, at {name}"):
                return np.asarray(file[name][()])

        yield Contents(tuple(variables), read, (path,), step_from(step))


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a file of ``arrays`` by checkpoint key."""
    with h5py.File(path, "w") as file:
        file.attrs["stage"] = stage
        if step is not None:
            file.attrs["step"] = step
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
