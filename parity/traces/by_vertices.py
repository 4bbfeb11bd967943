"""Running a network that mixes nothing between vertices on some of them at a time.

So little memory is needed, and a run in float64 need never be stored: it is made where it is read.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np

from network.registry import network_of
from parity.oracle.chunks import VERTICES_AT_ONCE, Part, cut
from parity.traces.backends import Backend, Listen
from parity.traces.port_guard import check_float64
from parity.traces.writer import Recorder
from weight_conversion.errors import InputError

VERTICES_AT_A_TIME = 2 * VERTICES_AT_ONCE
"""Two parts, for two cores: all taps of the refine stage at so many have 160 MB in float64."""


Some = Callable[[slice, Listen], None]
"""Runs a network on some vertices of its mesh and tells their taps; see
``torch_impl.backend.TorchBackend.by_vertices``."""


def some_vertices(
    backend: Backend,
    stage: str,
    inputs: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    listen: Listen,
) -> Some | None:
    """What runs a backend on some vertices, its images' taps told; None where there is no such."""
    start = getattr(backend, "by_vertices", None)
    if start is None or not network_of(stage).vertexwise:
        return None
    found: Some = start(inputs, weights, listen)
    return found


def windows_of(stage: str) -> list[slice]:
    """A network's vertices, so many at a time as are run together."""
    last = network_of(stage).starts_with
    starts = range(0, last, VERTICES_AT_A_TIME)
    return [slice(start, min(start + VERTICES_AT_A_TIME, last)) for start in starts]


def record_by_vertices(some: Some, stage: str, recorder: Recorder) -> None:
    """Record a run, window by window."""
    network = network_of(stage)
    for window in windows_of(stage):

        def listen(tap: str, value: np.ndarray, window: slice = window) -> None:
            if tap in network.rows and recorder.wants(tap):
                each = network.rows[tap].shape[0] // network.starts_with
                recorder.rows(tap, value, window.start * each, network.rows[tap].shape[0])

        some(window, listen)


class ByVertices:
    """A run in float64 of a network whose layers mix nothing between vertices.

    Of the vertices asked for last all taps are held; others are computed when they are asked for.
    Whoever goes through vertices by ``windows`` has each computed once.

    Args:
        stage: the network's name.
        run: runs it on some vertices.
        wants: which taps are asked for.
    """

    def __init__(self, stage: str, run: Some, wants: Callable[[str], bool]) -> None:
        self._run, self._network = run, network_of(stage)
        self.windows = windows_of(stage)
        rows = [row for row in self._network.taps if not row.is_map and wants(row.name)]
        self._rows = {row.name: row for row in rows}
        self._held: tuple[slice, dict[str, np.ndarray]] = (slice(0, 0), {})
        self._meshes: dict[int, dict[str, np.ndarray]] = {}
        self._lock = Lock()

    def has(self, name: str) -> bool:
        """Whether the run has such a tap."""
        return name in self._rows

    def values(self, name: str, part: Part) -> np.ndarray:
        """A tap at some vertices; of those of a block's output mesh, at all of them for None.

        Raises:
            InputError: the backend does not give it, or not of the network's shape.
        """
        with self._lock:
            if part is None:
                meshes = [self._mesh(window, name) for window in self.windows]
                return np.concatenate(meshes)
            held, taps = self._held
            if not held.start <= part.start < part.stop <= held.stop:
                # What was held goes first.
                self._held = (slice(0, 0), {})
                del taps
                whole = next(each for each in self.windows if each.start <= part.start < each.stop)
                held, taps = self._held = whole, self._taps(whole)
        within = slice(part.start - held.start, part.stop - held.start)
        return cut(taps[name], self._network.rows_per_vertex(name), within)

    def _mesh(self, window: slice, name: str) -> np.ndarray:
        if window.start not in self._meshes:
            self._taps(window)
        return self._meshes[window.start][name]

    def _taps(self, window: slice) -> dict[str, np.ndarray]:
        """All taps of a window's vertices; its meshes are kept."""
        found: dict[str, np.ndarray] = {}

        def listen(tap: str, value: np.ndarray) -> None:
            if tap in self._rows:
                found[tap] = np.array(value)
                check_float64(tap, found[tap])

        self._run(window, listen)
        count, whole = window.stop - window.start, self._network.starts_with
        for name, row in self._rows.items():
            shape = found[name].shape if name in found else "no values"
            expected = (row.shape[0] // whole * count, *row.shape[1:])
            if shape != expected:
                raise InputError(f"tap {name} of {count} vertices", f"{shape}", f"{expected}")
        self._meshes[window.start] = {
            name: found[name] for name in self._network.meshes if name in found
        }
        return found
