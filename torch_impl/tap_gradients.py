"""Gradients at every tap: hooks on the tensors that flow on, each told as soon as it is computed.

Nothing is kept: a refine stage has 360 million numbers at its taps. What the taps of the image
network are told is put together for the listener, view by view; there the convolutions' own outputs
are watched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Watch(Protocol):
    """Who is told what a differentiated run computes at its taps, in the official layout.

    ``rows`` are the rows of the tap that are told; None for all. Rows that are never told have
    gradient 0.
    """

    def value(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        """Take a tap, or rows of it, as the differentiated pass computed them."""

    def gradient(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        """Take the gradient there."""


class TapGradients:
    """A ``Listener`` of a network that is about to be differentiated."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def tap(self, name: str, value: Tensor) -> None:
        if name.startswith("cnn."):
            return
        self._take(name, None, value, lambda tensor: tensor)

    def view(self, name: str, number: int, value: Tensor) -> None:
        """Take one view's feature map (1, C, H, W)."""
        rows = slice(number, number + len(value))
        self._take(name, rows, value, lambda tensor: tensor.permute(0, 2, 3, 1))

    def _take(
        self, name: str, rows: slice | None, value: Tensor, official: Callable[[Tensor], Tensor]
    ) -> None:
        self._watch.value(name, rows, _array(official(value)))
        if value.requires_grad:
            value.register_hook(
                lambda gradient: self._watch.gradient(name, rows, _array(official(gradient)))
            )


@contextmanager
def watching(network: nn.Module, watch: Watch | None) -> Iterator[TapGradients | None]:
    """A listener for a network's forward pass inside the block; None where nobody watches."""
    if watch is None:
        yield None
        return
    taps = TapGradients(watch)
    seen: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def take(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            number = seen.get(name, 0)
            seen[name] = number + len(output)
            taps.view(name, number, output)

        return take

    hooks = [
        module.register_forward_hook(hook(name))
        for name, module in network.named_modules()
        if name.startswith("cnn.")
    ]
    try:
        yield taps
    finally:
        for each in hooks:
            each.remove()


def _array(tensor: Tensor) -> np.ndarray:
    with torch.no_grad():
        return tensor.detach().contiguous().cpu().numpy()
