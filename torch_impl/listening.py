"""How the network names its intermediate results to whoever listens.

A listener is called once a tap with the tensor in the official graph's layout; nobody listening
costs one comparison with None a tap. The tensor is passed as it is, without a copy, and must not
be changed or kept: the network may reuse its memory.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor


class Listener(Protocol):
    """What the network calls while it computes."""

    def wants(self, name: str) -> bool:
        """Whether the named activation is of use; one that is not may be left out."""

    def tap(self, name: str, value: Tensor) -> None:
        """Take the named activation, in the official layout (NHWC for the CNN)."""

    def decide(self, name: str, decisions: Tensor) -> None:
        """Take the discrete pixel decisions of a projection (see ``projection``)."""


Pinned = Mapping[str, Tensor]
"""Pixel decisions to use in place of the network's own, by the projection's tap."""


def tell(listen: Listener | None, name: str, value: Tensor) -> None:
    """Pass ``value`` on if somebody listens."""
    if listen is not None:
        listen.tap(name, value)


class Assembly:
    """Taps computed a few vertices at a time, put together before they are passed on.

    It holds the taps of a block, all that somebody wants: about 0.8 GB in float32.
    """

    def __init__(self, listen: Listener) -> None:
        """Assemble taps for ``listen``."""
        self._listen = listen
        self._parts: dict[str, list[Tensor]] = {}

    def wants(self, name: str) -> bool:
        """As the listener."""
        return self._listen.wants(name)

    def tap(self, name: str, value: Tensor) -> None:
        """Take the next vertices' part of a tap."""
        if self.wants(name):
            self._parts.setdefault(name, []).append(value)

    def decide(self, name: str, decisions: Tensor) -> None:
        """Pass pixel decisions on, which are always whole."""
        self._listen.decide(name, decisions)

    def pass_on(self) -> None:
        """Pass the taps on in the order of computation, each as soon as it is whole."""
        while self._parts:
            name = next(iter(self._parts))
            parts = self._parts.pop(name)
            self._listen.tap(name, parts[0] if len(parts) == 1 else torch.cat(parts))
