"""The run in float64 beside the one in its own precision: recorded, or made as it is read."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from parity.traces import layout
from parity.traces.backends import Backend
from parity.traces.by_vertices import ByVertices, some_vertices
from parity.traces.gradients import DOUBLE, Groups, WritingWatch
from parity.traces.port_guard import PortError, check_float64
from parity.traces.writer import Recorder, TraceWriter


class _Float64Listener:
    """Takes the taps of the float64 run."""

    def __init__(self, writer: TraceWriter, wants: Callable[[str], bool]) -> None:
        self._writer = writer
        self.wants = wants

    def __call__(self, tap: str, value: np.ndarray) -> None:
        array = np.asarray(value)
        check_float64(tap, array)
        if self.wants(tap):
            self._writer.add(layout.FLOAT64, tap, array)


def record_float64(
    name: str,
    make: Callable[[], Backend],
    stage: str,
    inputs: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    writer: TraceWriter,
    recorder: Recorder,
    gradients: bool,
    whole: bool,
    windows: list[slice],
) -> ByVertices | None:
    """Run the stage again in float64, losses at the same samples.

    Args:
        name: the backend's.
        make: makes it, in float64.
        stage: the network's name.
        inputs: as for ``Backend.run``; with ground truth the losses are recorded.
        weights: likewise.
        writer: of the trace.
        recorder: of the run in its own precision.
        gradients: whether gradients of the total are recorded too.
        whole: whether the trace is to hold the run.
        windows: the vertices to go through; none for all of them.

    Returns:
        Where not, and the backend and its network can be run some vertices at a time, what is left
        of the run; the trace then holds the feature maps alone. Otherwise None.
    """
    later = None
    try:
        backend = make()
        listener = _Float64Listener(writer, recorder.requests)
        some = None if whole else some_vertices(backend, stage, inputs, weights, listener)
        if some is not None:
            later = ByVertices(stage, some, recorder.requests, windows)
        else:
            backend.run(inputs, weights, listener)
            if not writer.has_group(layout.FLOAT64):
                raise PortError(name, "the run in float64 gave no tap")
        if "ground_truth" in inputs:
            losses_and_gradients(
                backend, stage, inputs, weights, recorder, writer, gradients, DOUBLE,
                (layout.FLOAT64_LOSSES, layout.FLOAT64_GRADIENTS),
            )  # fmt: skip
    except PortError as error:
        writer.float64_missing(error.reason)
        later = None
    return later


def losses_and_gradients(
    backend: Backend,
    stage: str,
    inputs: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    recorder: Recorder,
    writer: TraceWriter,
    gradients: bool,
    groups: Groups,
    names: tuple[str, str],
) -> None:
    """Write losses, and gradients of the total, those at taps too where the backend tells them."""
    watched = getattr(backend, "watched_gradients", None)
    if gradients and watched is not None:
        watch = WritingWatch(writer, stage, recorder.requests, groups)
        found = watched(inputs, weights, watch)
        watch.finish()
    else:
        found = [
            getattr(backend, group)(inputs, weights)
            for group in (("losses", "gradients") if gradients else ("losses",))
        ]
    for name, values in zip(names, found, strict=False):
        for key, value in values.items():
            writer.add(name, key, np.asarray(value))
