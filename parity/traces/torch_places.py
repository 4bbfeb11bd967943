"""Where in a port PyTorch wrote to an input, or made float64 narrower.

PyTorch sends every operation through a dispatch mode while one is active. Such a run is slower, so
a port is run under one only after an ordinary run has shown that there is a place to find.
"""

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from parity.traces.lent import WrittenError


class WriteFinder(TorchDispatchMode):
    """Raises ``WrittenError`` at the first operation that writes to the memory of an array."""

    def __init__(self, arrays: Mapping[str, np.ndarray | torch.Tensor]) -> None:
        super().__init__()
        self._ranges = [
            (name, *_memory(array)) for name, array in arrays.items() if 0 not in array.shape
        ]

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for number, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            for tensor in _tensors(value):
                start = tensor.data_ptr()
                for name, first, last in self._ranges:
                    if first <= start < last:
                        raise WrittenError(name, func._schema.name.removeprefix("aten::"))
        return func(*args, **kwargs)


class NarrowingFinder(TorchDispatchMode):
    """Remembers the first operation since a reset that took float64 and gave a narrower type.

    What comes after it is often its consequence: weights cast to the type of their input.

    Attributes:
        places: the stack there, (file, line), outermost first; empty where there was none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: list[tuple[str, int]] = []

    def reset(self) -> None:
        """Forget what was found: nothing of it goes on."""
        self.places = []

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if self.places:
            return found
        given = _tensors([args, kwargs or {}])
        if any(each.dtype == torch.float64 for each in given) and any(
            each.is_floating_point() and each.element_size() < 8 for each in _tensors(found)
        ):
            stack = traceback.StackSummary.extract(
                reversed(list(traceback.walk_stack(None))), lookup_lines=False
            )
            self.places = [(frame.filename, frame.lineno or 0) for frame in stack]
        return found


def _memory(array: np.ndarray | torch.Tensor) -> tuple[int, int]:
    """The first address of an array's memory, and that behind its last."""
    if isinstance(array, torch.Tensor):
        storage = array.untyped_storage()
        return storage.data_ptr(), storage.data_ptr() + storage.nbytes()
    return array.ctypes.data, array.ctypes.data + array.nbytes


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
