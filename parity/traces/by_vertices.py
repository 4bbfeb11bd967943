"""Running a network that mixes nothing between vertices on some of them at a time.

So little memory is needed, and a run in float64 need never be stored: it is made where it is read.
"""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np

from network.registry import network_of
from parity.oracle.chunks import Part, cut, rows_in, slices_of, vertices_at_once
from parity.traces.backends import Backend, Listen
from parity.traces.port_guard import check_float64
from parity.traces.writer import Recorder
from weight_conversion.errors import InputError

PARTS_AT_A_TIME = 2
"""For two cores: all taps of the refine stage at so many vertices have 160 MB in float64."""


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
    whole = slice(0, network_of(stage).starts_with)
    return slices_of(whole, PARTS_AT_A_TIME * vertices_at_once(stage))


def some_windows(stage: str, vertices: int | None, gradients: bool = False) -> list[slice]:
    """Those windows of a network that have so many vertices together, or a few more.

    They are from all over the mesh: the first window of a mesh that was made by subdivision has
    vertices everywhere, and the others follow at equal steps.

    Args:
        stage: the network's name.
        vertices: how many are wanted; None for all.
        gradients: whether gradients are wanted too.

    Returns:
        The windows, none if these are all.

    Raises:
        InputError: some are asked for, and the network mixes vertices, or gradients need all.
    """
    if vertices is None:
        return []
    if not network_of(stage).vertexwise:
        expected = "a stage that mixes nothing between vertices"
        raise InputError("--vertices", f"given for the {stage} stage alone", expected)
    if gradients:
        raise InputError("--vertices", "given with --gradients", "these of the whole mesh")
    windows = windows_of(stage)
    count = -(-vertices // windows[0].stop)
    if count >= len(windows):
        return []
    return [windows[number * len(windows) // count] for number in range(count)]


def taps_at(
    window: slice, some: Some, stage: str, wants: Callable[[str], bool]
) -> dict[str, np.ndarray]:
    """The taps at some vertices that are asked for.

    Raises:
        InputError: one is not given, or not of the network's shape.
    """
    rows = {row.name: row for row in network_of(stage).taps if not row.is_map and wants(row.name)}
    found: dict[str, np.ndarray] = {}

    def listen(tap: str, value: np.ndarray) -> None:
        if tap in rows:
            found[tap] = np.array(value)

    some(window, listen)
    count = window.stop - window.start
    for name, row in rows.items():
        shape = found[name].shape if name in found else "no values"
        expected = ((row.rows_per_vertex or 1) * count, *row.shape[1:])
        if shape != expected:
            raise InputError(f"tap {name} of {count} vertices", f"{shape}", f"{expected}")
    return found


def record_by_vertices(some: Some, stage: str, recorder: Recorder) -> None:
    """Record a run, window by window.

    Raises:
        InputError: as ``taps_at``.
    """
    rows = network_of(stage).rows
    for window in windows_of(stage):
        for tap, value in taps_at(window, some, stage, recorder.wants).items():
            first = rows_in(rows[tap].rows_per_vertex or 1, window).start
            recorder.rows(tap, value, first, rows[tap].shape[0])


class ByVertices:
    """A run in float64 of a network whose layers mix nothing between vertices.

    Of the vertices asked for last all taps are held; others are computed when they are asked for.
    Whoever goes through vertices by ``windows`` has each computed once.

    Args:
        stage: the network's name.
        run: runs it on some vertices.
        wants: which taps are asked for.
        windows: the vertices to go through, some of ``windows_of``; all of them by default.
    """

    def __init__(
        self,
        stage: str,
        run: Some,
        wants: Callable[[str], bool],
        windows: list[slice] | None = None,
    ) -> None:
        self._run, self._wants, self._network = run, wants, network_of(stage)
        self._whole = windows_of(stage)
        self.windows = windows or self._whole
        self._held: tuple[slice, dict[str, np.ndarray]] = (slice(0, 0), {})
        self._meshes: dict[int, dict[str, np.ndarray]] = {}
        self._lock = Lock()  # parts are read by several threads

    def has(self, name: str) -> bool:
        """Whether the run has such a tap."""
        rows = self._network.rows
        return name in rows and not rows[name].is_map and self._wants(name)

    def values(self, name: str, part: Part) -> np.ndarray:
        """A tap at some vertices; of those of a block's output mesh, at all of them for None.

        Raises:
            InputError: the backend does not give it, or not of the network's shape.
        """
        with self._lock:
            if part is None:
                meshes = [self._mesh(window, name) for window in self._whole]
                return np.concatenate(meshes)
            held, taps = self._held
            if not held.start <= part.start < part.stop <= held.stop:
                # What was held goes first.
                self._held = (slice(0, 0), {})
                del taps
                whole = next(each for each in self._whole if each.start <= part.start < each.stop)
                held, taps = self._held = whole, self._taps(whole)
        within = slice(part.start - held.start, part.stop - held.start)
        return cut(taps[name], self._network.rows_per_vertex(name), within)

    def _mesh(self, window: slice, name: str) -> np.ndarray:
        if window.start not in self._meshes:
            self._taps(window)
        return self._meshes[window.start][name]

    def _taps(self, window: slice) -> dict[str, np.ndarray]:
        """All taps of a window's vertices; its meshes are kept."""
        found = taps_at(window, self._run, self._network.name, self._wants)
        for name, value in found.items():
            check_float64(name, value)
        meshes = self._network.meshes
        self._meshes[window.start] = {name: found[name] for name in meshes if name in found}
        return found
