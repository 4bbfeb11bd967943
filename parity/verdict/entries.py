"""One entry of a comparison after the other: a tap, a loss, a gradient."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.diagnosis.diagnosis import diagnose
from parity.oracle.chunks import parts_of
from parity.oracle.context import Context
from parity.oracle.local import difference_of, unheard
from parity.oracle.losses import kind_of
from parity.traces import layout
from parity.traces.trace import TraceReader
from parity.verdict.findings import told_of
from parity.verdict.judgement import TapJudge
from parity.verdict.losses import LossJudge, LossJudged, judges_of, settled
from parity.verdict.measure import Difference, difference
from parity.verdict.noise_floor import NoiseFloor, noise_floor, status_of
from parity.verdict.precision import FLOAT64, PRECISION, precision_named
from parity.verdict.result import Status, TapResult
from parity.verdict.scope import Scope, Sides
from parity.verdict.traced import TracedRun

MOST_READ = 2**24
"""Elements of a tap of another shape that are read at once to explain it."""
NAMES = "reference", "candidate"


class EntryJudge:
    """Judges the entries of two traces, taps first and in the order of computation.

    Args:
        sides: the traces.
        runs: the same, as sides of a judgement.
        scope: which entries may be missing.

    Attributes:
        context: weights and fixed arrays. Both sides are held against the reference's weights:
            other weights are a difference.
        float64: whether both sides have a run in float64.
        nothing: entries of which no element is a number on either side.
        diagnoses: of entries that differ, by what is alike; None where nothing was found.
    """

    def __init__(self, sides: Sides, runs: tuple[TracedRun, TracedRun], scope: Scope) -> None:
        self._sides, self._runs, self._scope = sides, runs, scope
        self._network = network_of(sides[0].header.stage)
        self._dtype = runs[1].dtype
        self.context: Context = runs[0].context()
        self.float64 = all(run.has_float64 for run in runs)
        own = not all(run.dtype == FLOAT64 for run in runs)
        self._judge = TapJudge(self.context, *runs, own=own, float64=self.float64, gap=scope.gap)
        self._noise_floors: dict[str, NoiseFloor] = {}
        self._losses: dict[str, LossJudge] | None = None
        self._judged: set[str] = set()
        self._off: list[str] = []
        self.nothing: list[str] = []
        self.diagnoses: dict[str, Any] = {}

    def go_ahead(self, names: list[str]) -> None:
        """Go through the taps that can be judged; what is run as it is read, in that order."""
        windows = next((run.windows for run in self._runs if run.windows), [])
        rows = [self._scope.rows[name] for name in names if name in self._scope.rows]
        self._judge.ahead([row for row in rows if self._judgeable(row)], windows)

    def judge(self, group: str, name: str, order: int) -> TapResult:
        """The verdict on one entry.

        Args:
            group: ``taps``, ``losses`` or ``gradients``.
            name: the entry's in that group.
            order: its place there.
        """
        label = name if group == "taps" else f"{group}/{name}"
        absent = [
            side
            for side, trace in zip(NAMES, self._sides, strict=True)
            if not trace.has(group, name)
        ]
        if absent:
            note = f"not in the {' and '.join(absent)}"
            if self._scope.reason(label):
                note += f": {self._scope.reason(label)}"
            return TapResult(label, order, Status.MISSING, (), "", note=note)
        first, second = (trace.dataset(group, name) for trace in self._sides)
        base = TapResult(label, order, Status.DIFFER, first.shape, str(second.dtype))
        if first.shape != second.shape:
            note = f"shape {second.shape} in the candidate, {first.shape} in the reference"
            if group == "taps" and name in self._scope.rows:
                self._of_another_shape(self._scope.rows[name], second.size)
            return replace(base, note=note)
        if first.size == 0:
            return replace(base, status=Status.INVALID, note="holds no numbers")
        row = self._scope.rows.get(name) if group == layout.TAPS else None
        found = None if row is None else self._judge.difference(row)
        if found is None:
            found = difference(*self._sides, group, name)
        base = replace(base, **found.numbers())
        if found.not_a_number == found.size:
            self.nothing.append(label)
        result = self._tap(base, name) if group == "taps" else self._whole(base, group, name)
        too_low = self._lower_type(group, name)
        if too_low:
            result = replace(result, status=Status.DIFFER, cause="precision")
        notes = [too_low, result.note, *_special_notes(found)]
        return replace(result, note="; ".join(note for note in notes if note))

    def nothing_of_the_output(self) -> bool:
        """Whether no element of the network's output is a number, in either precision."""
        row, run = self._network.row(self._network.output), self._runs[0]
        if row.name not in self.nothing:
            return False
        return not (self.float64 and run.has(row.name, True)) or all(
            np.isnan(run.float64(row.name, part)).all() for part in parts_of(row, run.recorded)
        )

    def _judgeable(self, row: TapRow) -> bool:
        """Whether both sides have a tap in the network's shape, and all that its layer reads."""
        return not any(run.lacks(row, self.float64, self._scope.gap) for run in self._runs)

    def _tap(self, base: TapResult, name: str) -> TapResult:
        """The verdict on a tap, by its layer alone."""
        row = self._scope.rows.get(name)
        if row is None:
            note = "a tap that the official network does not have: nothing is known of its layer"
            return _unjudged(base, note)
        if base.shape != row.shape:
            note = f"both have shape {base.shape}, the network {row.shape}"
            # Nothing bounds what rounding makes of an unknown layer.
            status = Status.INVALID if base.max_abs == 0 else Status.DIFFER
            return replace(base, status=status, note=note)
        for side, run in zip(NAMES, self._runs, strict=True):
            lacking = run.lacks(row, self.float64, self._scope.gap)
            if lacking:
                return _unjudged(base, f"the {side} was recorded without {lacking}")
        judged = self._judge.judge(row)
        self._judged.add(name)
        if judged.status in (Status.DIFFER, Status.FLIP):
            self._off.append(row.name)
        if judged.status is Status.DIFFER and row.alike not in self.diagnoses:
            self.diagnoses[row.alike] = self._diagnosis(row, judged.cause)
        return replace(base, **vars(judged))

    def _diagnosis(self, row: TapRow, cause: str) -> Any:
        """What a tap that differs points to."""
        parents, observed, read, dtype = self._judge.worst_part(row, cause)
        exact = dtype == FLOAT64 != self._dtype
        names = [name for name in self._judge.earlier(row) if self._runs[1].has(name, exact)]
        others = _Others(read, names)
        return diagnose(row, parents, self.context, observed, dtype, others=others)

    def _of_another_shape(self, row: TapRow, size: int) -> None:
        """Explain a tap whose shape alone tells that it differs, if it is of a size to be read."""
        run = self._runs[1]
        if row.alike in self.diagnoses or size > MOST_READ:
            return
        read = run.float64 if self.float64 else run.tap
        if all(run.has(name, self.float64) for name in row.parents if name in self._scope.rows):
            parents = {name: read(name, None) for name in row.parents}
            dtype = FLOAT64 if self.float64 else run.dtype
            self.diagnoses[row.alike] = diagnose(
                row, parents, self.context, read(row.name, None), dtype
            )

    def _loss(self, base: TapResult, name: str) -> TapResult | None:
        """A loss term, on the meshes that each run recorded; None where they were not compared.

        The term says nothing of the meshes: they must have been judged themselves, at all vertices.
        """
        partly = bool(self._sides[0].header.vertices)
        if partly or not self._judged.issuperset(self._network.meshes):
            return None
        if self._losses is None:
            self._losses = judges_of(self.context, self._sides, self._runs, self.float64)
        if base.shape != ():
            return None
        found: dict[str, LossJudged] = {}
        values: dict[str, list[np.ndarray]] = {}
        lacking: list[str] = []
        for dtype, judge in self._losses.items():
            if not judge.knows(name):
                continue
            groups = [_losses_in(trace, dtype) for trace in self._sides]
            places = list(zip(NAMES, self._sides, groups, strict=True))
            without = [side for side, trace, group in places if not trace.has(group, name)]
            lacking += [f"the {side} has no such loss in {dtype}" for side in without]
            if not without:
                values[dtype] = [_read(trace, group, name) for _, trace, group in places]
                found[dtype] = judge.judge(name, *values[dtype])
        if not found:
            return None
        apart = None
        if FLOAT64 in values:
            apart = float(np.abs(difference_of(values[FLOAT64][1], values[FLOAT64][0])))
        # Float64, judged last, tells operands apart best.
        wrong = [dtype for dtype in found if found[dtype].differs]
        # What is wrong with a term is likely wrong with that term of the other blocks too.
        kind = f"losses/{kind_of(name)}"
        if wrong and kind not in self.diagnoses:
            self.diagnoses[kind] = self._losses[wrong[-1]].diagnose(
                name, values[wrong[-1]][1], FLOAT64 in found and FLOAT64 not in wrong
            )
        told = ""
        if FLOAT64 in values:
            told = told_of(unheard(values.get(self._dtype, values[FLOAT64]), values[FLOAT64]))
        told = "; ".join(each for each in (told, *lacking) if each)
        return settled(base, found, apart, self._off[0] if self._off else None, told)

    def _whole(self, base: TapResult, group: str, name: str) -> TapResult:
        """A loss or a gradient.

        A loss is judged by its term; the others, and losses of meshes that were not compared, by
        what rounding makes of the reference's whole run.
        """
        if group == layout.LOSSES and (judged := self._loss(base, name)) is not None:
            return judged
        exact = f"{FLOAT64}_{group}"
        lacking = [
            side
            for side, trace in zip(NAMES, self._sides, strict=True)
            if not trace.has(exact, name)
        ]
        if all(run.dtype == FLOAT64 for run in self._runs):
            exact, lacking = group, []
        if lacking:
            note = (
                f"the {' and '.join(lacking)} has no run in float64, by which alone the rounding "
                "of a whole run is known"
            )
            return _unjudged(base, note)
        if group not in self._noise_floors:
            self._noise_floors[group] = noise_floor(
                self._network.name,
                group,
                _all(self._sides[0], group),
                _all(self._sides[0], exact),
            )
        floor = self._noise_floors[group]
        first, second = (
            (_read(trace, group, name), _read(trace, exact, name)) for trace in self._sides
        )
        dtype = self._dtype
        status, cause, apart = status_of(first, second, floor, name, dtype)
        told = told_of(unheard(*zip(first, second, strict=True)))
        if told and status is not Status.DIFFER:
            status = Status.INVALID
        scale = base.scale or 0.0
        limit = 2 * floor.limit(name, dtype) / scale if scale else None
        return replace(
            base, status=status, cause=cause, float64_max_abs=apart, limit=limit, note=told
        )

    def _lower_type(self, group: str, name: str) -> str:
        for side, trace in zip(NAMES, self._sides, strict=True):
            bits, asked = trace.significand(group, name), trace.header.dtype
            if bits < PRECISION[asked]:
                found = precision_named(bits) if bits else str(trace.dataset(group, name).dtype)
                return f"the {side} is {found} where {asked} was asked for"
        return ""


def _unjudged(base: TapResult, note: str) -> TapResult:
    """An entry of which nobody knows what rounding may make.

    The same bits agree whatever made them, and what is not a number on one side differs.
    """
    if base.max_abs == 0:
        return replace(base, status=Status.AGREE, note=note)
    finite = base.max_abs is not None and np.isfinite(base.max_abs)
    return replace(base, status=Status.INVALID if finite else Status.DIFFER, note=note)


class _Others(Mapping[str, np.ndarray]):
    """The taps before the one in question, each read when it is needed."""

    def __init__(self, read: Callable[[str], np.ndarray], names: list[str]) -> None:
        self._read, self._names = read, names

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _read(trace: TraceReader, group: str, name: str) -> np.ndarray:
    return trace.read(group, name, trace.dataset(group, name), ())


def _all(trace: TraceReader, group: str) -> dict[str, np.ndarray]:
    return {name: _read(trace, group, name) for name in trace.names(group)}


def _losses_in(trace: TraceReader, dtype: str) -> str:
    """Where a trace has its losses of a precision."""
    exact = dtype == FLOAT64 != trace.header.dtype
    return layout.FLOAT64_LOSSES if exact else layout.LOSSES


def _special_notes(measured: Difference) -> list[str]:
    notes = []
    if measured.unmatched:
        notes.append(f"{measured.unmatched} elements NaN or infinite on one side")
    if measured.not_a_number:
        notes.append(f"{measured.not_a_number} elements NaN on both sides")
    return notes
