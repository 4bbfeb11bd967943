"""How a run tells its intermediate results to whoever listens.

The stages call ``tap(name, tensor)`` as soon as a tap is computed and keep no reference of their
own, so that a trace of 1.5 GB never lies in memory as a whole.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tf_reference.decisions import as_int16
from tf_reference.runtime import tf

Listener = Callable[[str, NDArray[Any]], None]
"""``listen(tap, array)``; may have ``decide(tap, decisions)`` and ``wants(tap) -> bool``."""


class Taps(Protocol):
    """What a stage calls while it runs."""

    @property
    def decides(self) -> bool:
        """Whether anybody listens to pixel decisions."""

    def __call__(self, name: str, value: "tf.Tensor") -> None:
        """A tap in the official layout."""

    def decided(self, name: str, decisions: "tf.Tensor") -> None:
        """The pixel decisions of projection ``name``, before its tap."""

    def pinned(self, name: str) -> NDArray[np.int16] | None:
        """The decisions to use in projection ``name`` in place of its own."""


class Listening:
    """Passes taps on to a listener, or drops them at no cost when there is none.

    Args:
        listen: see ``Listener``; None costs nothing, tensors are not even transferred.
        pinned: decisions by projection tap.
    """

    def __init__(
        self, listen: Listener | None, pinned: Mapping[str, NDArray[np.int16]] | None = None
    ) -> None:
        self._listen = listen
        self._wants = getattr(listen, "wants", None)
        self._decide = getattr(listen, "decide", None)
        self._pinned = dict(pinned or {})

    def wanted(self, name: str) -> bool:
        return self._listen is not None and (self._wants is None or bool(self._wants(name)))

    @property
    def decides(self) -> bool:
        return self._decide is not None

    def __call__(self, name: str, value: "tf.Tensor") -> None:
        if self.wanted(name):
            self.array(name, value.numpy())

    def array(self, name: str, value: NDArray[Any]) -> None:
        """Like a call, for what is a NumPy array already."""
        if self._listen is not None and self.wanted(name):
            self._listen(name, value)

    def decided(self, name: str, decisions: "tf.Tensor") -> None:
        if self._decide is not None:
            self._decide(name, as_int16(decisions.numpy()))

    def decided_array(self, name: str, decisions: NDArray[Any]) -> None:
        """Like ``decided``, for what is a NumPy array already."""
        if self._decide is not None:
            self._decide(name, as_int16(decisions))

    def pinned(self, name: str) -> NDArray[np.int16] | None:
        return self._pinned.get(name)


SILENCE = Listening(None)
"""For a run that nobody listens to."""
