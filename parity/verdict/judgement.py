"""The verdict on one tap that needs no hand-set limit: see ``docs/verdict.md`` for the derivation.

A run's tap is what its layer made of the run's own inputs. Let O be the layer of the official
function in float64 (``parity.oracle.layers``): c − O(c's inputs) is the candidate's local error,
and

    c − r = (c − O(c's inputs)) − (r − O(r's inputs)) + (O(c's inputs) − O(r's inputs)),

two local parts and an inherited one. In the float64 runs a local part beyond rounding is another
function, in the float32 runs it is less precision than was asked for. What is inherited is nobody's
fault here: it is counted where it arose.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from network.taps import TAPS, TapRow
from parity.oracle.chunks import Part, parts_of
from parity.oracle.layers.context import Context
from parity.oracle.layers.evaluate import Local, difference_of, evaluate, local_error, share_of
from parity.oracle.layers.gap import Inputs, before
from parity.oracle.layers.rounding import spread
from parity.verdict.limits import PRECISION, narrower
from parity.verdict.measure import bits_of, relative
from parity.verdict.result import Split, Status
from parity.verdict.tally import (
    Found,
    count_decisions,
    finite,
    greatest,
    otherwise,
    squares_of,
    status_of,
)

Place = tuple[str, int]


def place_of(row: TapRow, part: Part) -> Place:
    """A tap and the first vertex of a part of it."""
    return row.name, 0 if part is None else part.start


class Run(Protocol):
    """What is known of one side: its taps in the precision asked for, and again in float64."""

    @property
    def vertices(self) -> int:
        """Of the mesh that the stage starts from."""

    @property
    def dtype(self) -> str:
        """The precision asked for."""

    def tap(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input named as in ``TapRow.parents``."""

    def truth(self, name: str, part: Part) -> np.ndarray:
        """The same of the float64 run."""

    def alone(self, row: TapRow, part: Part) -> Local:
        """The layer alone on the run's own recorded inputs, held against the recorded tap."""


@dataclass(frozen=True, kw_only=True)
class Judged(Split):
    """One tap, judged.

    Attributes:
        status: agree, rounding, flip, inherited, differ or invalid.
        mismatched: elements whose local errors differ by more than rounding.
        note: what else a reader should know.
    """

    status: Status
    mismatched: int = 0
    note: str = ""


class TapJudge:
    """Judges the taps of two runs one after the other, in the order of computation."""

    def __init__(
        self,
        context: Context,
        reference: Run,
        candidate: Run,
        own_precision: bool = True,
        known: dict[Place, Local] | None = None,
        gap: Collection[str] = (),
    ) -> None:
        """Judge ``candidate`` by ``reference``; ``context`` holds the reference's weights.

        Without ``own_precision`` the float64 runs alone are judged. ``known`` keeps what was found
        of the reference's float64 taps, for the next candidate of the same small run. Taps in
        ``gap`` are those that one of the two does not have: what follows is judged across them.
        """
        self._context, self._reference, self._candidate = context, reference, candidate
        self._gap = frozenset(gap)
        self._inputs: dict[tuple[str, bool], Inputs] = {}
        self._own, self._known = own_precision, known
        self._spread = spread(context.stage)
        self._origins: dict[str, str] = {}
        self._relative: dict[str, float] = {}

    def judge(self, row: TapRow) -> Judged:
        """Judge one tap; its parents, where they are taps, have been judged before."""
        found = Found()
        nearest, across = before(row, self._gap)
        self._inputs = {
            (side, true): Inputs(row.stage, run.truth if true else run.tap, self._context,
                                 "float64" if true else run.dtype, across)
            for side, run in (("reference", self._reference), ("candidate", self._candidate))
            for true in (True, False)
        }  # fmt: skip
        for part in parts_of(row, self._reference.vertices):
            self._in_float64(row, part, found)
            if self._own:
                self._in_own_precision(row, part, found, bool(across))
        self._inputs = {}
        magnitude = math.sqrt(found.squares)
        self._relative[row.name] = math.sqrt(found.away) / magnitude if magnitude else 0.0
        inputs = max((self._relative.get(name, 0.0) for name in nearest), default=0.0)
        amplification = None
        if inputs and magnitude:
            amplification = math.sqrt(found.inherited) / magnitude / inputs
        # The earliest: taps are judged in the order of computation.
        origins = {self._origins[name] for name in nearest if name in self._origins}
        origin = next((name for name in self._relative if name in origins), None)
        lowest = ""
        if self._own:
            lowest = narrower(found.bits[1], found.bits[0], self._candidate.dtype)
        status, cause = status_of(found, origin, bool(lowest))
        finest = relative(found.finest, found.scale)
        # What has no bound, or one greater than the tap itself, passes whatever it holds: nobody
        # has compared it. Written so that NaN is invalid.
        unbounded = bool(across) and not finest < 1
        if (found.open_rows or unbounded) and status is not Status.DIFFER:
            status = Status.INVALID
        if status in (Status.DIFFER, Status.FLIP):
            self._origins[row.name] = row.name
        elif origin is not None:
            self._origins[row.name] = origin
        notes = []
        if cause == "precision" and lowest:
            notes.append(f"the candidate's values are all {lowest} ones")
        elif cause == "precision":
            notes.append("the same function in float64, with more than its share of rounding here")
        if found.top["truth_roundings_reference"] > self._spread:
            notes.append("the reference itself departs from the official function here")
        if across:
            notes.append(_across_note(across, finest, unbounded))
        if found.open_rows:
            where = "have no bound across it" if across else "lie in a camera's plane"
            notes.append(f"{found.open_rows} rows {where} and were not judged")
        return Judged(
            status=status,
            cause=cause,
            origin=origin if status is Status.INHERITED else None,
            roundings_limit=self._spread,
            amplification=amplification,
            decisions=dict(found.decisions),
            mismatched=found.beyond_true if cause == "function" else found.beyond_own,
            across=across,
            across_limit=finest if across else None,
            note="; ".join(notes),
            **found.top,
        )

    def diagnose(self, row: TapRow, cause: str) -> Any:
        """What a tap that differs points to: a ``parity.diagnosis.Diagnosis``, or None.

        It is looked for at those vertices where the candidate is farthest from the layer.
        """
        from parity.diagnosis.diagnosis import (
            diagnose,
        )  # which reads the layers, as this module does

        true = cause == "function"
        dtype = "float64" if true else "float32"
        worst, chosen, where = -1.0, None, None
        for part in parts_of(row, self._candidate.vertices):
            read = self._candidate.truth if true else self._candidate.tap
            across = before(row, self._gap)[1]
            parents, off = Inputs(row.stage, read, self._context, dtype, across).of(row, part)
            observed = read(row.name, part)
            share = local_error(row, parents, self._context, observed, dtype, off).worst
            if share > worst:
                worst, chosen, where = share, (parents, observed), part
        assert chosen is not None
        earlier = [
            other.name
            for other in TAPS[row.stage]
            if other.order < row.order and other.name not in self._gap
        ]
        others = _Others(read, earlier, where)
        return diagnose(row, chosen[0], self._context, chosen[1], dtype, others=others)

    def _in_float64(self, row: TapRow, part: Part, found: Found) -> None:
        reference = self._reference.truth(row.name, part)
        candidate = self._candidate.truth(row.name, part)
        inputs = [self._inputs[side, True].of(row, part) for side in ("reference", "candidate")]
        (ours, off), (theirs, off_too) = inputs
        place = place_of(row, part)
        first = self._known.get(place) if self._known is not None else None
        if first is None:
            first = local_error(row, ours, self._context, reference, "float64", off)
        if self._known is not None:
            self._known[place] = first
        same = _identical(reference, candidate) and all(
            _identical(ours[name], theirs[name]) for name in row.parents
        )
        second = first
        if not same:
            second = local_error(row, theirs, self._context, candidate, "float64", off_too)
        limit = second.limit + first.limit
        share = share_of(second.error - first.error, limit)
        if off or off_too:
            found.finest = max(found.finest, greatest(self._settled(row, part, limit)))
            found.scale = max(found.scale, finite(reference))
        found.function = max(found.function, share)
        if share > 1:
            within = np.abs(second.error - first.error) <= limit
            found.beyond_true += int(within.size - within.sum())
        found.open_rows += second.open_rows
        found.raise_to("truth_roundings", second.worst * self._spread)
        found.raise_to("truth_roundings_reference", first.worst * self._spread)
        found.raise_to("truth_max_abs", greatest(difference_of(candidate, reference)))

    def _settled(self, row: TapRow, part: Part, limit: np.ndarray) -> np.ndarray:
        """What is admitted across a gap where no pixel lies within rounding of a border."""
        runs = {"reference": self._reference, "candidate": self._candidate}
        settled = {side: self._inputs[side, True].settled(row, part) for side in runs}
        if all(each is None for each in settled.values()):
            return limit
        total = np.zeros(())
        for side, run in runs.items():
            values, errors = self._inputs[side, True].of(row, part)
            narrow = settled[side]
            total = total + evaluate(
                row, values, self._context, run.truth(row.name, part), "float64",
                errors if narrow is None else narrow,
            )[1]  # fmt: skip
        return total

    def _alone(self, side: str, row: TapRow, part: Part) -> Local:
        """A layer in the run's own precision, evaluated here: traces have it without a gap only."""
        run = self._reference if side == "reference" else self._candidate
        values, off = self._inputs[side, False].of(row, part)
        return local_error(row, values, self._context, run.tap(row.name, part), run.dtype, off)

    def _in_own_precision(self, row: TapRow, part: Part, found: Found, gap: bool) -> None:
        if gap:
            first, second = (self._alone(side, row, part) for side in ("reference", "candidate"))
        else:
            first, second = self._reference.alone(row, part), self._candidate.alone(row, part)
        shape = first.value.shape
        r, c, truth = (
            np.asarray(values, np.float64).reshape(shape)
            for values in (
                self._reference.tap(row.name, part),
                self._candidate.tap(row.name, part),
                self._reference.truth(row.name, part),
            )
        )
        local, limit = second.error - first.error, first.limit + second.limit
        inherited, difference = difference_of(second.value, first.value), difference_of(c, r)
        enough = PRECISION[self._reference.dtype], PRECISION[self._candidate.dtype]
        found.bits = tuple(
            most if most >= full else max(most, bits_of(values))
            for most, full, values in zip(found.bits, enough, (r, c), strict=True)
        )
        share = share_of(local, limit)
        found.precision = max(found.precision, share)
        if not np.isfinite(limit).all():
            unbounded = np.isinf(limit).any(axis=-1) & ~np.isnan(r).any(axis=-1)
            found.open_rows = max(found.open_rows, int(unbounded.sum()))
        if not share <= 1:
            found.beyond_own += int(np.count_nonzero(~(np.abs(local) <= limit)))
        found.flipped += otherwise(first, second)
        found.identical = found.identical and not np.any(difference)
        found.beyond = found.beyond or not bool((np.abs(difference) <= limit).all())
        found.squares += squares_of(r)
        found.away += squares_of(difference)
        found.inherited += squares_of(inherited)
        count_decisions(row, r, c, limit + np.abs(inherited), otherwise(first, second), found)
        found.raise_to("local_roundings", second.worst * self._spread)
        found.raise_to("local_roundings_reference", first.worst * self._spread)
        found.raise_to("local_max_abs", greatest(local))
        found.raise_to("inherited_max_abs", greatest(inherited))
        found.raise_to("candidate_to_truth", greatest(difference_of(c, truth)))
        found.raise_to("reference_to_truth", greatest(difference_of(r, truth)))


class _Others(Mapping[str, np.ndarray]):
    """The taps before the one in question, each read when somebody asks for it."""

    def __init__(
        self, read: Callable[[str, Part], np.ndarray], names: list[str], part: Part
    ) -> None:
        self._read, self._names, self._part = read, names, part

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name, self._part)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _across_note(across: tuple[str, ...], finest: float, unbounded: bool) -> str:
    """What it means that taps before this one were not recorded."""
    names = ", ".join(across) if len(across) < 4 else f"{across[0]} … {across[-1]}"
    if unbounded:
        return (
            f"judged across {names}, not recorded: no bound on rounding holds over so many layers"
        )
    return f"judged together with {names}, not recorded, to {finest:.1e} of its greatest magnitude"


def _identical(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or np.array_equal(a, b, equal_nan=True)
