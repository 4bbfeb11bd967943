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

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The state-dict shape of a variable whose checkpoint shape is ``shape``."""
        return tuple(shape[axis] for axis in self.to_torch_order)

    def to_torch(self, array: NDArray[Any]) -> NDArray[Any]:
        """A contiguous copy of ``array`` (checkpoint axes) with state-dict axes, bits kept."""
        return array.transpose(self.to_torch_order).copy(order="C")

    def to_checkpoint(self, array: NDArray[Any]) -> NDArray[Any]:
        """A contiguous copy of ``array`` (state-dict axes) with checkpoint axes, bits kept."""
        return array.transpose(self.to_checkpoint_order).copy(order="C")
