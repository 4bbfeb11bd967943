"""How a variable's axes are ordered in a checkpoint and in a PyTorch state dict."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the tables are read where nothing is computed, to list options
    from numpy.typing import NDArray


class Layout(Enum):
    """The axes of one kind of variable; the value is checkpoint axes, then state-dict axes.

    The letters are H and W (kernel rows and columns), I (channels in) and O (channels out). A
    graph convolution's matrix is (C_in, C_out) on both sides, because both multiply it from the
    right: PyTorch's transposed ``nn.Linear`` order is not used, so nothing is transposed.
    """

    CONV = ("HWIO", "OIHW")
    MATRIX = ("IO", "IO")
    VECTOR = ("O", "O")

    @property
    def checkpoint_axes(self) -> str:
        return self.value[0]

    @property
    def torch_axes(self) -> str:
        return self.value[1]

    @property
    def to_torch_order(self) -> tuple[int, ...]:
        """For each state-dict axis, the checkpoint axis that it comes from."""
        return tuple(self.checkpoint_axes.index(axis) for axis in self.torch_axes)

    @property
    def to_checkpoint_order(self) -> tuple[int, ...]:
        """The inverse permutation, derived from the same two strings."""
        return tuple(self.torch_axes.index(axis) for axis in self.checkpoint_axes)

    @property
    def same(self) -> bool:
        """Whether both sides order the axes alike, so that nothing is to be moved."""
        return self.checkpoint_axes == self.torch_axes

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The state-dict shape of a variable whose checkpoint shape is ``shape``."""
        return tuple(shape[axis] for axis in self.to_torch_order)

    def to_torch(self, array: NDArray[Any]) -> NDArray[Any]:
        """A contiguous copy of ``array`` (checkpoint axes) with state-dict axes, bits kept."""
        return _contiguous(array.transpose(self.to_torch_order))

    def to_checkpoint(self, array: NDArray[Any]) -> NDArray[Any]:
        """A contiguous copy of ``array`` (state-dict axes) with checkpoint axes, bits kept."""
        return _contiguous(array.transpose(self.to_checkpoint_order))


_ROWS = 16


def _contiguous(moved: NDArray[Any]) -> NDArray[Any]:
    """A contiguous copy.

    A kernel is copied a few of its second axis at a time: NumPy goes through the copy from its
    beginning to its end and would read each line of the processor's cache for a single number, and
    have forgotten it by the next.
    """
    import numpy as np  # the tables are read where nothing is computed

    copy = np.empty(moved.shape, moved.dtype)
    if moved.ndim < 4:
        copy[...] = moved
        return copy
    for start in range(0, moved.shape[1], _ROWS):
        copy[:, start : start + _ROWS] = moved[:, start : start + _ROWS]
    return copy
