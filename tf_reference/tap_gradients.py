"""Telling somebody the values and gradients at taps, whole or a few rows at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from tf_reference.runtime import tf

_HYPOTHESES = 43


class Watch(Protocol):
    """Who is told what a differentiated run computes at its taps.

    ``rows`` are the rows of the tap that are told; None for all. Rows that are never told have
    gradient 0.
    """

    def value(self, tap: str, rows: slice | None, array: NDArray[Any]) -> None:
        """Take a tap, or rows of it, as the differentiated pass computed them."""

    def gradient(self, tap: str, rows: slice | None, array: NDArray[Any]) -> None:
        """Take the gradient there."""


def rows_of(tap: str, vertices: slice) -> slice:
    """The rows of a refine tap that belong to some vertices."""
    if not tap.startswith("graph_localproj"):
        return vertices
    return slice(vertices.start * _HYPOTHESES, vertices.stop * _HYPOTHESES)


def tell(
    watch: Watch,
    tensors: Mapping[str, "tf.Tensor"],
    gradients: "list[tf.Tensor]",
    vertices: slice | None = None,
) -> None:
    """Tell taps with their gradients, of all or of some vertices."""
    for (name, tensor), gradient in zip(tensors.items(), gradients, strict=True):
        tell_arrays(watch, {name: tensor.numpy()}, [gradient.numpy()], vertices)


def tell_arrays(
    watch: Watch,
    values: Mapping[str, NDArray[Any]],
    gradients: Sequence[NDArray[Any]],
    vertices: slice | None = None,
) -> None:
    """The same of arrays."""
    for (name, value), gradient in zip(values.items(), gradients, strict=True):
        rows = None if vertices is None else rows_of(name, vertices)
        watch.value(name, rows, value)
        watch.gradient(name, rows, gradient)
