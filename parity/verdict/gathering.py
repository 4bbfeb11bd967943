"""What two runs show of each tap, gone through part by part: what ``judgement`` judges by."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from network.taps import TapRow
from parity.oracle.beside import Beside, beside
from parity.oracle.chunks import Part, in_parallel, parts_of, rows_in
from parity.oracle.confidence import confidence
from parity.oracle.context import Context
from parity.oracle.gap import Inputs, before
from parity.oracle.local import Layer, any_nan, layer, unheard
from parity.oracle.number import Number, nothing
from parity.verdict.findings import Findings, Spread
from parity.verdict.mean_square import MeanSquare, sharing_of, tests_of
from parity.verdict.measure import FEW, Measured
from parity.verdict.precision import FLOAT64, OWN
from parity.verdict.shown import Seen, Shown, show

Place = tuple[str, int]


def place_of(row: TapRow, part: Part) -> Place:
    """A tap and the first vertex of a part of it."""
    return row.name, 0 if part is None else part.start


class Run(Protocol):
    """What is known of one side: its taps in the precision asked for, and perhaps in float64."""

    @property
    def recorded(self) -> Sequence[slice]:
        """Those vertices of the mesh that the stage starts from whose values are known."""

    @property
    def dtype(self) -> str:
        """The precision asked for."""

    def tap(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input named as in ``TapRow.parents``."""

    def float64(self, name: str, part: Part) -> np.ndarray:
        """The same of the run in float64."""


@dataclass(eq=False)
class Gathered:
    """What the parts of a tap have shown.

    Attributes:
        across: the taps before this one that were not recorded, see ``parity.oracle.gap.before``.
        found: by precision, ``OWN`` and ``FLOAT64``, what the runs in it show.
        apart: how far the runs are apart, in their own precision where that is judged.
        measured: the same, whatever their layers make of their inputs.
        worst: by precision, the part where the candidate is farthest from its layer: elements
            beyond the limit, greatest error in roundings, and the part.
    """

    across: tuple[str, ...]
    found: dict[str, Findings]
    apart: Spread = field(default_factory=Spread)
    measured: Measured = field(default_factory=Measured)
    worst: dict[str, tuple[int, float, Part]] = field(default_factory=dict)

    def take(self, which: str, part: Part, shown: Shown) -> None:
        """Add a part. Many wrong elements tell more of a mistake than one that is far off."""
        found = shown.findings
        if (found.beyond, found.candidate) > self.worst.get(which, (-1, -1.0, None))[:2]:
            self.worst[which] = found.beyond, found.candidate, part
        self.found[which].join(found)
        self.apart.join(shown.spread)
        self.measured.join(shown.measured)


@dataclass(frozen=True, eq=False)
class _Task:
    """A part of a tap in one precision; ``inputs`` reads what its layer reads, if it is shared."""

    row: TapRow
    part: Part
    which: str
    to: Gathered
    inputs: Mapping[str, tuple[Inputs, ...]] | None


class Gathering:
    """Goes through taps of two runs.

    Args:
        context: weights and fixed arrays.
        runs: the reference and the candidate.
        precisions: ``OWN``, ``FLOAT64`` or both.
        known: keeps what was found of the reference's taps, for the next candidate of the same
            small run.
        gap: taps that one of the two does not have.
    """

    def __init__(
        self,
        context: Context,
        runs: tuple[Run, Run],
        precisions: Collection[str],
        known: dict[tuple[str, Place], Layer] | None,
        gap: frozenset[str],
    ) -> None:
        self._context, self._runs, self._precisions = context, runs, precisions
        self._known, self._gap = known, gap
        self._confidence, self._tests = confidence(context.stage), tests_of(context.stage)
        self._ahead: dict[str, Gathered] = {}

    def ahead(self, rows: Iterable[TapRow], windows: Iterable[slice]) -> None:
        """Go through several taps before they are asked for.

        Those of layers that mix nothing between vertices in step, so many vertices at a time: runs
        that are made as they are read are then made once.

        Args:
            rows: in the order of computation.
            windows: vertices, each of them once, in multiples of what a part has; none to go
                through one tap after the other.
        """
        rows, windows = list(rows), list(windows)
        for row in rows:
            self._ahead[row.name] = self._nothing(row)
        split = [row for row in rows if windows and row.rows_per_vertex is not None]
        self._work([task for row in rows if row not in split for task in self._tasks(row)])
        # One reader for all taps: the feature maps are read once, and it keeps nothing else.
        maps = self._inputs(())
        for window in windows:
            self._work(
                [
                    task for row in split for task in self._tasks(row, maps)
                    if task.part is not None and window.start <= task.part.start < window.stop
                ]
            )  # fmt: skip

    def of(self, row: TapRow) -> Gathered:
        """What the two runs show of a tap."""
        if row.name not in self._ahead:
            self.ahead([row], [])
        return self._ahead.pop(row.name)

    def measured(self, row: TapRow) -> Measured | None:
        """How far the runs are apart at a tap; None but between ``ahead`` and ``of``."""
        found = self._ahead.get(row.name)
        return None if found is None else found.measured

    def _inputs(self, across: Collection[str]) -> dict[str, tuple[Inputs, ...]]:
        """Readers of both sides' layers' inputs, by precision."""
        return {
            which: tuple(
                Inputs(
                    self._context.stage, run.tap if which == OWN else run.float64, self._context,
                    run.dtype if which == OWN else FLOAT64, across,
                )
                for run in self._runs
            )
            for which in self._precisions
        }  # fmt: skip

    def _nothing(self, row: TapRow) -> Gathered:
        sharing = sharing_of(row, self._context)
        found = {which: Findings(MeanSquare(self._tests, sharing)) for which in self._precisions}
        return Gathered(before(row, self._gap)[1], found)

    def _tasks(
        self, row: TapRow, shared: Mapping[str, tuple[Inputs, ...]] | None = None
    ) -> Iterator["_Task"]:
        """What is to be done for a tap; ``shared`` reads its inputs where none is to be made."""
        to, parts = self._ahead[row.name], parts_of(row, self._runs[0].recorded)
        inputs = None if to.across else shared
        if inputs is None and parts != [None]:
            inputs = self._inputs(to.across)
        for which in self._precisions:
            for part in parts:
                yield _Task(row, part, which, to, inputs)

    def _work(self, tasks: list["_Task"]) -> None:
        """Do them, one a core, and take in what they find in their order."""

        def done(task: _Task) -> Shown:
            # What reads a whole tap goes with its task: kept, they would be the whole run.
            inputs = task.inputs or self._inputs(task.to.across)
            with np.errstate(all="ignore"):
                return self._part(task.row, task.part, task.which, task.to, inputs[task.which])

        for task, found in zip(tasks, in_parallel(done, tasks), strict=True):
            task.to.take(task.which, task.part, found)

    def _part(
        self, row: TapRow, part: Part, which: str, to: Gathered, inputs: tuple[Inputs, ...]
    ) -> Shown:
        """What the runs in one precision show of a part."""
        across = to.across
        seen = [
            np.asarray((run.tap if which == OWN else run.float64)(row.name, part), np.float64)
            for run in self._runs
        ]
        given = [each.of(row, part) for each in inputs]
        dtypes = [run.dtype if which == OWN else FLOAT64 for run in self._runs]
        first = self._layer(row, part, which, given[0], seen[0], dtypes[0], known=not across)
        same = _identical(seen[0], seen[1]) and all(
            _alike(given[0][name], given[1][name]) for name in row.parents
        )
        alike, own = dtypes[0] == dtypes[1], which == OWN
        place = 0 if part is None else rows_in(row.rows_per_vertex or 1, part).start
        both = own and FLOAT64 in self._precisions
        pair = Seen(
            row=row,
            which=which,
            dtypes=(self._runs[0].dtype, self._runs[1].dtype),
            start=place * math.prod(row.shape[1:]),
            sides=(seen[0], seen[1]),
            exact=self._runs[0].float64(row.name, part) if both else None,
            apart=own or OWN not in self._precisions,
            across=bool(across),
        )

        def shown(second: Layer | Beside) -> Shown:
            found = Findings(MeanSquare(self._tests, to.found[which].mean_square.sharing))
            return show(pair, first, second, found, self._confidence)

        here = None
        if same and alike:
            here = shown(first)
        elif alike and not across:
            near = beside(row, given[1], self._context, seen[1], first)
            if near is not None:
                here = shown(near)
                here = here if near.serves and here.findings.proved_by_one else None
        if here is None:
            here = shown(layer(row, given[1], self._context, seen[1], dtypes[1]))
        if not own and OWN in self._precisions and all(map(any_nan, seen)):
            mine = [run.tap(row.name, part) for run in self._runs]
            here.findings.unheard = unheard(mine, seen)
        return here

    def _layer(
        self,
        row: TapRow,
        part: Part,
        which: str,
        given: Mapping[str, Number],
        seen: np.ndarray,
        dtype: str,
        known: bool,
    ) -> Layer:
        key = which, place_of(row, part)
        if known and self._known is not None and key in self._known:
            return self._known[key]
        found = layer(row, given, self._context, seen, dtype)
        if known and self._known is not None:
            self._known[key] = found
        return found


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same bits; what is the same number in others is looked at."""
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # As integers NaN is equal to itself. Mostly the first few tell.
    ours, theirs = (np.ascontiguousarray(each).ravel().view(np.int64) for each in (a, b))
    return np.array_equal(ours[:FEW], theirs[:FEW]) and np.array_equal(ours, theirs)


def _alike(a: Number, b: Number) -> bool:
    """Whether two inputs are the same, bounds included."""
    if not _identical(a.value, b.value):
        return False
    shape = a.value.shape
    return all(
        (nothing(first) and nothing(second))
        or _identical(np.broadcast_to(first, shape), np.broadcast_to(second, shape))
        for first, second in ((a.error, b.error), (a.undecided, b.undecided))
    )
