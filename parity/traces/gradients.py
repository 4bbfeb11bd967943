"""Gradients at taps in a trace: written as a backward pass computes them, read again as one side.

- ``/tap_gradients/<tap>``: the total loss's gradient at the tap, of the float64 run;
- ``/tap_values/<tap>``: the tap as the differentiated pass computed it, only where it has not the
  bits of ``/truth/<tap>``: a pass that keeps what it needs for the way back may add up in another
  order, and what is multiplied by a gradient must be what was;
- ``/measured/<name>``: what the losses read of the template beside ``/inputs``.
"""

from collections.abc import Callable, Mapping

import numpy as np

from inputs.sampling import BLOCK_LEVELS
from inputs.template import Template
from network.taps import MESH, TAPS
from parity.oracle.chunks import Part, cut
from parity.traces.trace import TraceReader
from parity.traces.writer import TraceWriter

GRADIENTS, VALUES, MEASURED = "tap_gradients", "tap_values", "measured"
_INPUTS = "inputs/"


class WritingWatch:
    """Writes what a differentiated float64 run tells; see ``torch_impl.tap_gradients.Watch``."""

    def __init__(self, writer: TraceWriter, stage: str, wants: Callable[[str], bool]) -> None:
        self._writer, self._wants = writer, wants
        self._shapes = {row.name: row.shape for row in TAPS[stage]}
        self._odd: set[str] = set()

    def value(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        if not self._takes(tap) or not self._writer.has("truth", tap):
            return
        truth = self._writer.dataset("truth", tap)
        where = slice(None) if rows is None else rows
        if truth.shape != self._shapes[tap]:
            self._odd.add(tap)
            return
        if self._writer.has(VALUES, tap) or not np.array_equal(truth[where], array, equal_nan=True):
            self._fill(VALUES, tap, where, array, truth)

    def gradient(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        if self._takes(tap):
            self._fill(GRADIENTS, tap, slice(None) if rows is None else rows, array, None)

    def finish(self) -> None:
        """Taps that the loss does not reach have gradients 0, which take no room."""
        for tap, shape in self._shapes.items():
            if self._takes(tap) and not self._writer.has(GRADIENTS, tap) and tap not in self._odd:
                self._writer.reserve(GRADIENTS, tap, shape, "f8")

    def _takes(self, tap: str) -> bool:
        return tap in self._shapes and self._wants(tap)

    def _fill(
        self, group: str, tap: str, rows: slice, array: np.ndarray, rest: object | None
    ) -> None:
        shape = self._shapes[tap]
        if np.shape(array) != (len(range(*rows.indices(shape[0]))), *shape[1:]):
            # A comparison will say that the tap itself has another shape, or that this is missing.
            self._odd.add(tap)
            return
        if self._writer.has(group, tap):
            dataset = self._writer.dataset(group, tap)
        else:
            dataset = self._writer.reserve(group, tap, shape, "f8")
            if rest is not None:
                dataset[...] = rest[()]  # type: ignore[index]
        dataset[rows] = array


def write_measured(writer: TraceWriter, stage: str, template: Template) -> None:
    """What the losses read of the template, level by level."""
    for level in sorted(set(BLOCK_LEVELS[stage])):
        writer.add(MEASURED, f"laplace_{level + 1}", np.asarray(template.laplace[level]))
        pairs = np.asarray(template.supports[level][1].indices)
        writer.add(MEASURED, f"pairs_{level + 1}", pairs)


class TracedBackward:
    """A trace with gradients at its taps as one side: a ``BackwardRun``."""

    def __init__(self, trace: TraceReader) -> None:
        self._trace = trace
        self.vertices = int(trace.dataset("inputs", "mesh").shape[0])
        self.measured: Mapping[str, np.ndarray] = {}
        if not self.lacks():
            self.measured = self._measured()

    def lacks(self) -> str:
        """What going back through the run would need and the trace does not have."""
        trace, stage = self._trace, self._trace.header.stage
        if not trace.names("truth_gradients"):
            return "/truth_gradients"
        for row in TAPS[stage]:
            for group in ("truth", GRADIENTS):
                if not trace.has(group, row.name):
                    return f"/{group}/{row.name}"
                if trace.dataset(group, row.name).shape != row.shape:
                    return f"/{group}/{row.name} of shape {row.shape}"
        if not trace.has("inputs", "ground_truth/points"):
            return "/inputs/ground_truth/points"
        for block, level in enumerate(BLOCK_LEVELS[stage], start=1):
            for name in (f"face_{block}", f"r1_{block}", f"r2_{block}"):
                if not trace.has("samples", name):
                    return f"/samples/{name}"
            for name in (f"laplace_{level + 1}", f"pairs_{level + 1}"):
                if not trace.has(MEASURED, name):
                    return f"/{MEASURED}/{name}"
        return ""

    def value(self, name: str, part: Part) -> np.ndarray:
        if name.startswith(_INPUTS):
            array = self._trace.values("inputs", name.removeprefix(_INPUTS), None)
            return cut(array, name, part if name == MESH else None).astype(np.float64)
        group = VALUES if self._trace.has(VALUES, name) else "truth"
        return self._trace.values(group, name, part).astype(np.float64)

    def knows_mesh(self) -> bool:
        """Whether the gradient at the input mesh is known."""
        return self._trace.has("truth_gradients", "mesh")

    def gradient(self, name: str, part: Part) -> np.ndarray:
        if name == MESH:
            array = self._trace.values("truth_gradients", "mesh", None)
            return cut(array, MESH, part).astype(np.float64)
        return self._trace.values(GRADIENTS, name, part).astype(np.float64)

    def variable(self, key: str) -> np.ndarray:
        return self._trace.values("truth_gradients", key, None).astype(np.float64)

    def _measured(self) -> dict[str, np.ndarray]:
        trace = self._trace

        def read(group: str, name: str) -> np.ndarray:
            return trace.values(group, name, None)

        found = {"points": read("inputs", "ground_truth/points")}
        if trace.has("inputs", "ground_truth/normals"):
            found["normals"] = read("inputs", "ground_truth/normals")
        for block, level in enumerate(BLOCK_LEVELS[trace.header.stage], start=1):
            for name in (f"face_{block}", f"r1_{block}", f"r2_{block}"):
                found[name] = read("samples", name)
            found[f"faces_{block}"] = read("inputs", f"template/faces_{level + 1}")
            for kind in ("laplace", "pairs"):
                found[f"{kind}_{block}"] = read(MEASURED, f"{kind}_{level + 1}")
        return found
