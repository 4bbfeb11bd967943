"""A trace as one side of a judgement."""

from collections.abc import Collection
from functools import lru_cache

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.chunks import Part, cut
from parity.oracle.context import PREFIX, Context
from parity.oracle.gap import before
from parity.traces import layout
from parity.traces.by_vertices import ByVertices
from parity.traces.trace import TraceReader
from weight_conversion.errors import InputError

PARTS_KEPT = 8
"""Parts of taps that are held, float64: what one layer gives is read again by the next ones."""


class TracedRun:
    """A trace as one side; see ``parity.verdict.gathering.Run``.

    Args:
        trace: what was recorded.
        later: what is left to be run in float64, see ``parity.traces.record.record``.
    """

    def __init__(self, trace: TraceReader, later: ByVertices | None = None) -> None:
        self._trace, self._network = trace, network_of(trace.header.stage)
        self._later = later
        self.vertices, self.recorded = self._network.starts_with, trace.recorded
        self.dtype = trace.header.dtype
        # A run that was asked for in float64 is that run itself.
        self._float64 = layout.TAPS if self.dtype == "float64" else layout.FLOAT64

        # Of the trace alone: a cache that knew this run would keep it, and all that it holds.
        @lru_cache(PARTS_KEPT)
        def read(group: str, name: str, start: int, stop: int) -> np.ndarray:
            return trace.values(group, name, slice(start, stop)).astype(np.float64)

        self._part = read

    @property
    def has_float64(self) -> bool:
        """Whether there is a run in float64."""
        return self._later is not None or bool(self._trace.names(self._float64))

    @property
    def windows(self) -> list[slice]:
        """The vertices as the run in float64 is best gone through; none where it is at hand."""
        return [] if self._later is None else self._later.windows

    def has(self, name: str, float64: bool) -> bool:
        """Whether the run in a precision has a tap."""
        group = self._float64 if float64 else layout.TAPS
        return (float64 and self._is_later(name)) or self._trace.has(group, name)

    def _is_later(self, name: str) -> bool:
        """Whether a tap's float64 values are made as they are read."""
        return self._later is not None and self._later.has(name)

    def tap(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input."""
        return self._values(layout.TAPS, name, part)

    def float64(self, name: str, part: Part) -> np.ndarray:
        """The same of the float64 run."""
        if self._later is not None and self._later.has(name):
            return self._later.values(name, part)
        return np.asarray(self._values(self._float64, name, part), np.float64)

    def value(self, name: str, part: Part) -> np.ndarray:
        """The same of the run in its own precision, in float64's numbers."""
        return self.tap(name, part).astype(np.float64)

    def lacks(self, row: TapRow, float64: bool, gap: Collection[str] = ()) -> str:
        """What a judgement of the tap would need and the trace does not have; empty if nothing.

        Across taps in ``gap`` only the nearest taps before them are needed.
        """
        nearest, _ = before(row, gap)
        names = (row.name, *(name for name in nearest if not name.startswith(PREFIX)))
        shapes = {other.name: other.shape for other in network_of(row.stage).taps}
        for group in (layout.TAPS, self._float64) if float64 else (layout.TAPS,):
            for name in names:
                if group != layout.TAPS and self._is_later(name):
                    continue
                if not self._trace.has(group, name):
                    return f"/{group}/{name}"
                if self._trace.dataset(group, name).shape != shapes[name]:
                    return f"/{group}/{name} of shape {shapes[name]}"
        return ""

    def context(self) -> Context:
        """What the layers need beside the taps, with this run's weights.

        Raises:
            InputError: the trace lacks weights or inputs, or holds others than its network has.
        """
        trace = self._trace
        arrays = {
            name: trace.read(layout.INPUTS, name, trace.dataset(layout.INPUTS, name), ())
            for name in trace.names(layout.INPUTS)
        }
        weights = {
            key: trace.read(layout.WEIGHTS, key, trace.dataset(layout.WEIGHTS, key), ())
            for key in trace.names(layout.WEIGHTS)
        }
        for row in network_of(trace.header.stage).variables:
            found = weights[row.key].shape if row.key in weights else "nothing"
            if found != row.shape:
                raise InputError(trace.path, f"/weights/{row.key} has {found}", f"{row.shape}")
        try:
            context = Context.of(trace.header.stage, arrays, weights)
            for tap in network_of(trace.header.stage).taps:
                context.numbers(tap)
        except (KeyError, ValueError, IndexError) as error:
            what = f"inputs that do not fit a {trace.header.stage} run ({error})"
            raise InputError(trace.path, what, "those that a trace records") from error
        return context

    def _values(self, group: str, name: str, part: Part) -> np.ndarray:
        if name.startswith(PREFIX):
            array = self._trace.values(layout.INPUTS, name.removeprefix(PREFIX), None)
            return cut(array, self._network.rows_per_vertex(name), part)
        if part is None:
            return self._trace.values(group, name, None)
        return self._part(group, name, part.start, part.stop)
