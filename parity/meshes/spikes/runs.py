"""A run to diagnose or to hold against: its taps, and where it departs from what it was fed.

A run is taken apart without looking at its output: every recorded tap is held against what the
network makes of that tap's own recorded parents. Where the two are the same, the tap only passes on
what it was given; where a row is not, something happened there.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from parity.meshes.spikes.replay import Replay, Values, vertex_taps
from parity.traces.trace import TraceReader, open_trace
from weight_conversion.errors import InputError

DEPARTED = 1e-4
"""Greatest difference of a row from what its parents give, over the tap's greatest magnitude.

Two right float32 implementations differ by 2.5e-6 of it on a whole run, so that one tap on its own
parents stays forty times below the limit.
"""


@dataclass(frozen=True)
class Departure:
    """A row of a tap that is not what the tap's parents give.

    ``size`` is the greatest difference over the tap's greatest magnitude.
    """

    tap: str
    vertex: int
    size: float


@dataclass(frozen=True, eq=False)
class Taken:
    """A run, tap by tap.

    Attributes:
        replay: what computes its taps.
        values: its taps.
        departures: the differences to what the taps' parents give, where they are not rounding.
        departed: the rows that they are in, in the order of the taps, the largest of a tap first.
    """

    replay: Replay
    values: Values
    departures: dict[str, Tensor]
    departed: list[Departure]


def take_apart(replay: Replay, values: Values) -> Taken:
    """Find where a recorded run departs from what it was fed.

    Args:
        replay: the network with the run's weights and inputs.
        values: the run's taps.

    Raises:
        InputError: a tap is missing or of another shape than its parents give.
    """
    departures: dict[str, Tensor] = {}
    departed: list[Departure] = []
    for row in replay.rows:
        if row.name not in values:
            raise InputError("run", f"has no tap {row.name}", "all taps of the stage")
        found = values[row.name]
        expected = replay.compute(row, values)
        if found.shape != expected.shape:
            shapes = f"shape {tuple(found.shape)}"
            raise InputError(f"run, tap {row.name}", shapes, f"{tuple(expected.shape)}")
        difference = found - expected
        scale = float(expected.abs().max()) or 1.0
        if row.is_map:
            if float(difference.abs().max()) > DEPARTED * scale:
                departures[row.name] = difference
                departed.append(Departure(row.name, -1, float(difference.abs().max()) / scale))
            continue
        rows = np.abs(replay.by_vertex(difference)).max(axis=1)
        wrong = np.flatnonzero(~(rows <= DEPARTED * scale))
        if len(wrong):
            departures[row.name] = difference
            order = wrong[np.argsort(-rows[wrong], kind="stable")]
            departed += [
                Departure(row.name, replay.vertex_of(int(at)), float(rows[at]) / scale)
                for at in order
            ]  # fmt: skip
    return Taken(replay, values, departures, departed)


def is_trace(path: Path) -> bool:
    """Whether a file is a trace, and not weights."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return str(file.attrs.get("schema", "")).startswith("p2m-parity-trace/")


def trace_output(path: Path, stage: str) -> np.ndarray:
    """The output mesh of a recorded run, (V, 3) float64.

    Raises:
        InputError: no trace of this stage, or without its last tap.
    """
    with open_trace(path) as trace:
        _check(path, trace, stage)
        return np.asarray(trace.array("taps", vertex_taps(stage)[-1]), dtype=np.float64)


def trace_values(path: Path, replay: Replay) -> Values:
    """The taps of a recorded run, of the replayed vertices alone in the refine stage.

    Raises:
        InputError: no trace of this stage, or taps are missing.
    """
    values: Values = {}
    with open_trace(path) as trace:
        _check(path, trace, replay.stage)
        if trace.header.vertices:
            raise InputError(path, "recorded at some vertices alone", "a trace of all of them")
        for row in replay.rows:
            if not trace.has("taps", row.name):
                raise InputError(path, f"has no tap {row.name}", "a trace of all taps")
            array = np.asarray(trace.array("taps", row.name))
            if replay.some and row.rows_per_vertex is not None:
                rows = array.reshape(-1, row.rows_per_vertex, *array.shape[1:])[replay.vertices]
                array = rows.reshape(-1, *array.shape[1:])
            values[row.name] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    return values


def _check(path: Path, trace: TraceReader, stage: str) -> None:
    if trace.header.stage != stage:
        raise InputError(path, f"a trace of the {trace.header.stage} stage", f"the {stage} stage")


def planted(replay: Replay, values: Values, tap: str, vertex: int, seed: int = 0) -> Values:
    """A run in which one row of one tap came out wrong, and all that follows from it.

    The row gets noise as large as the tap's own root mean square.

    Args:
        replay: the network.
        values: its own run.
        tap: a tap with a row a vertex.
        vertex: its number; in the refine stage one of the replayed ones.
        seed: of the noise.
    """
    clean = values[tap]
    row = replay.row_of(vertex)
    generator = torch.Generator().manual_seed(seed)
    departure = torch.zeros_like(clean)
    rows = departure.reshape(len(replay.vertices), -1) if replay.some else departure
    scale = clean.square().mean().sqrt()
    noise = torch.randn(rows[row].shape, generator=generator, dtype=clean.dtype)
    rows[row] = noise * scale
    return replay.run(base=values, replaced={tap: clean + departure})
