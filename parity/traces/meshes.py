"""The meshes of a run that nobody records: the output, and what entered the last block."""

from collections.abc import Mapping

import numpy as np

from network.registry import network_of
from parity.traces.backends import Backend
from parity.traces.record import RunInputs
from weight_conversion.errors import InputError


class _Listener:
    """Keeps the taps of those names."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = frozenset(names)
        self.found: dict[str, np.ndarray] = {}

    def wants(self, tap: str) -> bool:
        return tap in self._names

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if tap in self._names:
            self.found[tap] = np.array(value)


def last_meshes(
    name: str, backend: Backend, inputs: RunInputs, weights: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The meshes before and after the last block of one run.

    Args:
        name: the backend's, for messages.
        backend: of the stage of ``inputs``.
        inputs: what it reads.
        weights: by checkpoint key, in the checkpoint's layout.

    Returns:
        (V, 3) and (V, 3), camera frame of view 0; the first may be of a lower level.

    Raises:
        InputError: the backend fails, lacks one of the taps, or a mesh has another shape or is not
            finite.
    """
    network = network_of(inputs.stage)
    taps = network.meshes[-2:]
    listener = _Listener(taps)
    backend.run(inputs.mapping(), weights, listener)
    for tap in taps:
        if tap not in listener.found:
            raise InputError(f"backend {name}", f"has no tap {tap}", "both meshes")
        mesh, shape = listener.found[tap], network.row(tap).shape
        if mesh.shape != shape:
            raise InputError(f"backend {name}", f"{tap} of shape {mesh.shape}", str(shape))
        if not np.isfinite(mesh).all():
            found = f"a {inputs.stage} mesh with NaN"
            raise InputError(f"backend {name}", found, "finite coordinates")
    return listener.found[taps[0]], listener.found[taps[1]]
