"""How the network names its intermediate results to whoever listens.

A listener is called once a tap with the tensor in the official graph's layout; nobody listening
costs one comparison with None a tap. The tensor is passed as it is, without a copy, and must not
be changed or kept: the network may reuse its memory.
"""

from typing import Protocol

from torch import Tensor


class Listener(Protocol):
    """What the network calls while it computes."""

    def tap(self, name: str, value: Tensor) -> None:
        """Take the named activation, in the official layout (NHWC for the CNN)."""


def tell(listen: Listener | None, name: str, value: Tensor) -> None:
    """Pass ``value`` on if somebody listens."""
    if listen is not None:
        listen.tap(name, value)
