"""What a port is given: copies of its own, read-only, and checked for changes afterwards."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np


class WrittenError(Exception):
    """A port wrote to an input: ``path``, by the operation ``how`` where that is known."""

    def __init__(self, path: str, how: str = "") -> None:
        super().__init__(path, how)
        self.path, self.how = path, how


class Lent:
    """A deep copy of ``inputs`` whose arrays are read-only.

    NumPy refuses to write to such an array. PyTorch has no read-only tensors, and one that shares
    an array's memory writes to it all the same; ``changed`` finds that out.

    Attributes:
        value: the copy, which nobody else has.
        arrays: its arrays by the expression that leads to them, such as ``inputs['mesh']``.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.value = copy.deepcopy(dict(inputs))
        self.arrays = dict(_arrays(self.value, "inputs"))
        self._originals = dict(_arrays(inputs, "inputs"))
        for array in self.arrays.values():
            array.flags.writeable = False

    def changed(self) -> list[str]:
        """The arrays that no longer hold what they were lent with."""
        return [
            path
            for path, array in self.arrays.items()
            if array.tobytes() != self._originals[path].tobytes()
        ]


def _arrays(value: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, np.ndarray):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _arrays(each, f"{path}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for number, each in enumerate(value):
            yield from _arrays(each, f"{path}[{number}]")
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _arrays(getattr(value, field.name), f"{path}.{field.name}")
