"""Gradients at taps in a trace: written by a backward pass, read again as one side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from network.registry import network_of
from network.taps import MESH
from parity.oracle.chunks import Part, cut
from parity.oracle.context import PREFIX
from parity.traces import layout
from parity.traces.trace import TraceReader
from parity.traces.writer import TraceWriter
from weight_conversion.errors import InputError


@dataclass(frozen=True)
class Groups:
    """Where a trace keeps the run of one precision."""

    taps: str
    values: str
    gradients: str
    whole: str


OWN = Groups(layout.TAPS, layout.TAP_VALUES, layout.TAP_GRADIENTS, layout.GRADIENTS)
DOUBLE = Groups(
    layout.FLOAT64,
    layout.FLOAT64_TAP_VALUES,
    layout.FLOAT64_TAP_GRADIENTS,
    layout.FLOAT64_GRADIENTS,
)


class WritingWatch:
    """Writes what a differentiated run tells; see ``torch_impl.tap_gradients.Watch``."""

    def __init__(
        self, writer: TraceWriter, stage: str, wants: Callable[[str], bool], groups: Groups
    ) -> None:
        self._writer, self._wants, self._groups = writer, wants, groups
        self._shapes = {row.name: row.shape for row in network_of(stage).taps}
        self._odd: set[str] = set()

    def value(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        groups = self._groups
        if not self._takes(tap) or not self._writer.has(groups.taps, tap):
            return
        run = self._writer.dataset(groups.taps, tap)
        where = slice(None) if rows is None else rows
        if run.shape != self._shapes[tap]:
            self._odd.add(tap)
            return
        other = self._writer.has(groups.values, tap)
        if other or not np.array_equal(run[where], array, equal_nan=True):
            self._fill(groups.values, tap, where, array, run)

    def gradient(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        if self._takes(tap):
            where = slice(None) if rows is None else rows
            self._fill(self._groups.gradients, tap, where, array, None)

    def finish(self) -> None:
        """Taps that the loss does not reach have gradients 0, which take no room."""
        group = self._groups.gradients
        for tap, shape in self._shapes.items():
            if self._takes(tap) and not self._writer.has(group, tap) and tap not in self._odd:
                self._writer.reserve(group, tap, shape, "f8")

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
            dataset = self._writer.reserve(group, tap, shape, np.asarray(array).dtype.str)
            if rest is not None:
                dataset[...] = rest[()]  # type: ignore[index]
        dataset[rows] = array


class TracedBackward:
    """A trace with gradients at its taps as one side: a ``BackwardRun``."""

    def __init__(self, trace: TraceReader, groups: Groups) -> None:
        self._trace, self._groups = trace, groups
        self._network = network_of(trace.header.stage)
        self.dtype = "float64" if groups is DOUBLE else trace.header.dtype
        self.vertices = self._network.starts_with
        self.measured: Mapping[str, np.ndarray] = {}
        if not self.lacks():
            self.measured = measured_in(trace)

    def lacks(self) -> str:
        """What going back through the run would need and the trace does not have."""
        trace, stage = self._trace, self._trace.header.stage
        groups = self._groups
        if not trace.names(groups.whole):
            return f"/{groups.whole}"
        for row in network_of(stage).taps:
            for group in (groups.taps, groups.gradients):
                if not trace.has(group, row.name):
                    return f"/{group}/{row.name}"
                if trace.dataset(group, row.name).shape != row.shape:
                    return f"/{group}/{row.name} of shape {row.shape}"
        return measures(trace)

    def value(self, name: str, part: Part) -> np.ndarray:
        if name.startswith(PREFIX):
            array = self._trace.values("inputs", name.removeprefix(PREFIX), None)
            return cut(array, self._network.rows_per_vertex(name), part).astype(np.float64)
        groups = self._groups
        group = groups.values if self._trace.has(groups.values, name) else groups.taps
        return self._trace.values(group, name, part).astype(np.float64)

    def knows_mesh(self) -> bool:
        """Whether the gradient at the input mesh is known."""
        return self._trace.has(self._groups.whole, "mesh")

    def gradient(self, name: str, part: Part) -> np.ndarray:
        if name == MESH:
            array = self._trace.values(self._groups.whole, "mesh", None)
            return cut(array, self._network.rows_per_vertex(MESH), part).astype(np.float64)
        return self._trace.values(self._groups.gradients, name, part).astype(np.float64)

    def variable(self, key: str) -> np.ndarray:
        return self._trace.values(self._groups.whole, key, None).astype(np.float64)


def _check_samples(trace: TraceReader, found: Mapping[str, np.ndarray], block: int) -> None:
    face, *draws = (found[f"{name}_{block}"] for name in ("face", "r1", "r2"))
    triangles = len(found[f"faces_{block}"])
    whole = face.ndim == 1 and all(each.shape == face.shape for each in draws)
    if not whole or not ((face >= 0) & (face < triangles)).all():
        raise InputError(
            trace.path, f"/samples of block {block} are of no triangle, or not as many each",
            f"one of {triangles:,} triangles and two drawn numbers a sample",
        )  # fmt: skip
    if not all(((each >= 0) & (each <= 1)).all() for each in draws):
        raise InputError(trace.path, f"/samples of block {block} hold no drawn numbers", "0 to 1")


def measures(trace: TraceReader) -> str:
    """What of all that losses are measured with a trace lacks; empty if nothing."""
    if not trace.has("inputs", "ground_truth/points"):
        return "/inputs/ground_truth/points"
    for block, level in enumerate(network_of(trace.header.stage).levels, start=1):
        for name in (f"face_{block}", f"r1_{block}", f"r2_{block}"):
            if not trace.has("samples", name):
                return f"/samples/{name}"
        for name in (f"laplace_{level + 1}", f"pairs_{level + 1}"):
            if not trace.has("inputs", f"template/{name}"):
                return f"/inputs/template/{name}"
    return ""


def measured_in(trace: TraceReader) -> dict[str, np.ndarray]:
    """What the losses of a trace's meshes are measured with; see ``parity.oracle.losses``."""

    def read(group: str, name: str) -> np.ndarray:
        return trace.values(group, name, None)

    found = {"points": read("inputs", "ground_truth/points")}
    if trace.has("inputs", "ground_truth/normals"):
        found["normals"] = read("inputs", "ground_truth/normals")
    for block, level in enumerate(network_of(trace.header.stage).levels, start=1):
        found[f"faces_{block}"] = read("inputs", f"template/faces_{level + 1}")
        for name in (f"face_{block}", f"r1_{block}", f"r2_{block}"):
            found[name] = read("samples", name)
        _check_samples(trace, found, block)
        for kind in ("laplace", "pairs"):
            found[f"{kind}_{block}"] = read("inputs", f"template/{kind}_{level + 1}")
    return found
