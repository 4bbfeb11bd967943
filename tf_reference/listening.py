"""How a run tells its intermediate results to whoever listens.

The stages call ``tap(name, tensor)`` as soon as a tap is computed and keep no reference of their
own, so that a trace of 1.5 GB never lies in memory as a whole.
"""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from tf_reference.runtime import tf

Listener = Callable[[str, NDArray[Any]], None]
"""``listen(tap, array)``; may have ``wants(tap) -> bool``."""

Taps = Callable[[str, "tf.Tensor"], None]
"""What a stage calls while it runs: with a tap's name and its value in the official layout."""


class Listening:
    """Passes taps on to a listener, or drops them at no cost when there is none.

    Args:
        listen: see ``Listener``; None costs nothing, tensors are not even transferred.
    """

    def __init__(self, listen: Listener | None) -> None:
        self._listen = listen
        self._wants = getattr(listen, "wants", None)

    def wanted(self, name: str) -> bool:
        return self._listen is not None and (self._wants is None or bool(self._wants(name)))

    def __call__(self, name: str, value: "tf.Tensor") -> None:
        if self.wanted(name):
            self.array(name, value.numpy())

    def array(self, name: str, value: NDArray[Any]) -> None:
        """Like a call, for what is a NumPy array already."""
        if self._listen is not None and self.wanted(name):
            self._listen(name, value)


SILENCE = Listening(None)
"""For a run that nobody listens to."""
