"""What ``--truth`` adds to a trace, so that a verdict without hand-set limits can be found offline.

- ``/truth/<tap>``: the same run in float64; ``/truth_losses`` and ``/truth_gradients`` likewise;
- ``/isolated/<tap>``: each layer alone on the inputs that the run itself recorded, float64;
- ``/bound/<tap>``: how far rounding may have put the recorded tap from that, float32, rounded up;
- ``/decided/<tap>``: rows of a projection that lie within rounding of a pixel's border and were
  decided otherwise than in float64: row, view, axis, floor, ceil;
- ``/weights/<key>``: the checkpoint's variables.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from network.taps import MESH, TAPS, TapRow
from network.weights import WEIGHTS
from parity.oracle.chunks import Part, cut, parts_of, rows_in
from parity.oracle.layers.context import Context
from parity.oracle.layers.evaluate import Local, difference_of, evaluate, layer_of
from parity.oracle.layers.gap import before
from parity.oracle.layers.reading import Decided, Read
from parity.traces.trace import TraceReader
from parity.traces.writer import TraceWriter
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    from parity.traces.record import RunInputs

INPUTS = "inputs/"


class TruthListener:
    """Takes the taps of the float64 run."""

    def __init__(self, writer: TraceWriter, wants: Callable[[str], bool]) -> None:
        self._writer = writer
        self.wants = wants

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if self.wants(tap):
            self._writer.add("truth", tap, np.asarray(value))


def add_isolated(
    writer: TraceWriter, inputs: "RunInputs", weights: Mapping[str, np.ndarray], dtype: str
) -> None:
    """Run each layer alone on what the trace holds of its inputs, and bound its rounding.

    Layers whose inputs were not recorded are left out; a comparison then says so.
    """
    for key, array in weights.items():
        writer.add("weights", key, np.asarray(array, np.float32))
    context = Context.of_run(inputs, weights)
    vertices = len(inputs.mesh)
    for row in TAPS[inputs.stage]:
        if not all(writer.has("taps", name) for name in (row.name, *_taps(row))):
            continue
        tap = writer.dataset("taps", row.name)
        if tap.shape != row.shape:
            continue
        isolated = writer.reserve("isolated", row.name, tap.shape, "f8")
        bound = writer.reserve("bound", row.name, tap.shape, "f4")
        decided: list[tuple[int, ...]] = []
        # Feature maps are the same for every part.
        maps = {
            name: _recorded(writer, context, name, None)
            for name in row.parents
            if name.startswith("cnn.")
        }
        for part in parts_of(row, vertices):
            parents = {
                name: maps[name] if name in maps else _recorded(writer, context, name, part)
                for name in row.parents
            }
            # Only a projection asks what the run made of its inputs.
            seen = cut(tap, row.name, part) if layer_of(row) is None else None
            exact, limit = evaluate(row, parents, context, seen, dtype)
            rows = slice(None) if part is None else rows_in(row.name, part)
            shape = (-1, *tap.shape[1:])
            isolated[rows] = exact.value.reshape(shape)
            bound[rows] = _upward(limit).reshape(shape)
            if isinstance(exact, Read):
                decided += _numbers(exact.decided, rows.start or 0)
        if decided:
            writer.add("decided", row.name, np.array(decided, np.int32))


def _taps(row: TapRow) -> list[str]:
    return [name for name in row.parents if not name.startswith(INPUTS)]


def _recorded(writer: TraceWriter, context: Context, name: str, part: Part) -> np.ndarray:
    if name.startswith(INPUTS):
        return cut(context.inputs[name], name, part)
    return cut(writer.dataset("taps", name), name, part)


def _upward(limit: np.ndarray) -> np.ndarray:
    """In float32, not rounded down; 0 stays 0."""
    narrow = limit.astype(np.float32)
    return np.where(narrow < limit, np.nextafter(narrow, np.float32(np.inf)), narrow)


def _numbers(decided: tuple[Decided, ...], first: int) -> list[tuple[int, ...]]:
    return [
        (first + each.row, view, axis, int(low), int(high))
        for each in decided
        for view, axis, (low, high) in each.choices
    ]


def has_truth(trace: TraceReader) -> bool:
    """Whether a trace was recorded with ``--truth``."""
    return bool(trace.names("truth"))


class TraceRun:
    """A trace with truth as one side of a judgement; see ``parity.verdict.judgement.Run``."""

    def __init__(self, trace: TraceReader, true: str = "truth") -> None:
        """``true`` is the group that holds the float64 run: ``taps`` where that was asked for."""
        self._trace, self._true = trace, true
        self.vertices = int(trace.dataset("inputs", "mesh").shape[0])
        self.dtype = trace.header.dtype

    def tap(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input."""
        return self._values("taps", name, part)

    def truth(self, name: str, part: Part) -> np.ndarray:
        """The same of the float64 run."""
        return self._values(self._true, name, part).astype(np.float64)

    def alone(self, row: TapRow, part: Part) -> Local:
        """The recorded layer alone, held against the recorded tap."""
        value = self._values("isolated", row.name, part).astype(np.float64)
        limit = self._values("bound", row.name, part).astype(np.float64)
        error = difference_of(self._values("taps", row.name, part), value)
        return Local(value, error, limit, self._decided(row, part))

    def lacks(self, row: TapRow, gap: Collection[str] = ()) -> str:
        """What a judgement of the tap would need and the trace does not have; empty if nothing.

        Across taps in ``gap`` the layer is evaluated when it is judged, and only the nearest taps
        before them are needed, in both precisions.
        """
        nearest, across = before(row, gap)
        names = (row.name, *(name for name in nearest if not name.startswith(INPUTS)))
        groups = ("taps", "truth") if across else ("truth",)
        wanted = [(group, name) for group in groups for name in names]
        if not across:
            wanted += [("isolated", row.name), ("bound", row.name)]
        shapes = {other.name: other.shape for other in TAPS[row.stage]}
        for group, name in wanted:
            if not self._trace.has(group, name):
                return f"/{group}/{name}"
            if self._trace.dataset(group, name).shape != shapes[name]:
                return f"/{group}/{name} of shape {shapes[name]}"
        return ""

    def context(self) -> Context:
        """What the layers need beside the taps, with this run's weights."""
        trace = self._trace
        arrays = {
            name: trace.read("inputs", name, trace.dataset("inputs", name), ())
            for name in trace.names("inputs")
        }
        weights = {
            key: trace.read("weights", key, trace.dataset("weights", key), ())
            for key in trace.names("weights")
        }
        for row in WEIGHTS[trace.header.stage]:
            found = weights[row.key].shape if row.key in weights else "nothing"
            if found != row.shape:
                raise InputError(trace.path, f"/weights/{row.key} has {found}", f"{row.shape}")
        try:
            return Context.of(trace.header.stage, arrays, weights)
        except (KeyError, ValueError, IndexError) as error:
            what = f"inputs that do not fit a {trace.header.stage} run ({error})"
            raise InputError(trace.path, what, "those that --truth records") from error

    def _values(self, group: str, name: str, part: Part) -> np.ndarray:
        if name.startswith(INPUTS):
            array = self._trace.values("inputs", name.removeprefix(INPUTS), None)
            return cut(array, name, part if name == MESH else None)
        return self._trace.values(group, name, part)

    def _decided(self, row: TapRow, part: Part) -> tuple[Decided, ...]:
        if not self._trace.has("decided", row.name):
            return ()
        rows = slice(0, row.shape[0]) if part is None else rows_in(row.name, part)
        found: dict[int, list[Any]] = {}
        for index, view, axis, low, high in self._trace.array("decided", row.name).tolist():
            if rows.start <= index < rows.stop:
                choice = (int(view), int(axis), (float(low), float(high)))
                found.setdefault(int(index), []).append(choice)
        return tuple(Decided(index, tuple(choices)) for index, choices in found.items())


def unpinned(inputs: "RunInputs") -> "RunInputs":
    """The inputs of the float64 run, which takes its own decisions."""
    return replace(inputs, pinned=None)
