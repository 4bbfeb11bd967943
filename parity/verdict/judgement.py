"""The verdict on one tap: see ``docs/verdict.md`` for the derivation.

A run's tap is what its layer made of the run's own inputs. Let O be the layer of the official
function in float64 (``parity.oracle``): c − O(c's inputs) is the candidate's local error, and

    c − r = (c − O(c's inputs)) − (r − O(r's inputs)) + (O(c's inputs) − O(r's inputs)),

two local parts and an inherited one. Local parts that differ by more than rounding make another
function where the runs in float64 show it, and less precision than was asked for where only the
run's own precision does. What is inherited is no fault of this layer: it is counted where it arose.

The greatest local error is held against λ roundings, and the root mean square of all of them
against a bound of its own, of about one rounding (``parity.verdict.mean_square``).
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.chunks import Part
from parity.oracle.confidence import confidence
from parity.oracle.context import Context
from parity.oracle.gap import Inputs, before
from parity.oracle.local import Layer
from parity.verdict.findings import Findings, Spread, told_of
from parity.verdict.gathering import Gathering, Place, Run
from parity.verdict.measure import Difference, relative
from parity.verdict.precision import FLOAT64, OWN, narrower
from parity.verdict.result import Split, Status


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
        *,
        own: bool = True,
        float64: bool = True,
        known: dict[tuple[str, Place], Layer] | None = None,
        gap: Collection[str] = (),
    ) -> None:
        """Judge ``candidate`` by ``reference``; ``context`` holds the reference's weights.

        Args:
            context: weights and fixed arrays.
            reference: the side that is taken as right.
            candidate: the side that is judged.
            own: whether the runs in their own precision are judged.
            float64: whether both sides have a run in float64, which is judged too.
            known: keeps what was found of the reference's taps, for the next candidate of the same
                small run.
            gap: taps that one of the two does not have: what follows is judged across them.
        """
        assert own or float64
        self.context = self._context = context
        precisions = [which for which, asked in ((OWN, own), (FLOAT64, float64)) if asked]
        self._gathering = Gathering(
            context, (reference, candidate), precisions, known, frozenset(gap)
        )
        self._worst: dict[str, dict[str, Part]] = {}
        self._reference, self._candidate = reference, candidate
        self._gap = frozenset(gap)
        self._float64 = float64
        self._confidence = confidence(context.stage)
        self._origins: dict[str, str] = {}
        self._relative: dict[str, float] = {}

    def judge(self, row: TapRow) -> Judged:
        """Judge one tap; its parents, where they are taps, have been judged before."""
        gathered = self._gathering.of(row)
        self._worst[row.name] = {which: part for which, (*_, part) in gathered.worst.items()}
        nearest, across = before(row, self._gap)
        return self._judged(row, gathered.found, gathered.apart, nearest, across)

    def ahead(self, rows: Iterable[TapRow], windows: Iterable[slice]) -> None:
        """Go through taps some vertices at a time before they are judged; see ``Gathering``."""
        self._gathering.ahead(rows, windows)

    def difference(self, row: TapRow) -> Difference | None:
        """How far the runs are apart at a tap; None but between ``ahead`` and ``judge``."""
        found = self._gathering.measured(row)
        return None if found is None else found.difference(row.shape)

    def _judged(
        self,
        row: TapRow,
        found: Mapping[str, Findings],
        apart: Spread,
        nearest: tuple[str, ...],
        across: tuple[str, ...],
    ) -> Judged:
        """The verdict, from what both precisions showed."""
        own, exact = found.get(OWN), found.get(FLOAT64)
        magnitude = math.sqrt(apart.squares)
        self._relative[row.name] = math.sqrt(apart.away) / magnitude if magnitude else 0.0
        inputs = max((self._relative.get(name, 0.0) for name in nearest), default=0.0)
        amplification = None
        if inputs and magnitude:
            amplification = math.sqrt(apart.inherited) / magnitude / inputs
        # The earliest: taps are judged in the order of computation.
        origins = {self._origins[name] for name in nearest if name in self._origins}
        origin = next((name for name in self._relative if name in origins), None)
        lowest = ""
        # A few short numbers, such as ones, explain no difference as great as the tap.
        if not self._relative[row.name] > EXPLAINED_BY_PRECISION:
            lowest = self._lower(apart)
        status, cause = _status(own, exact, apart, origin, lowest)
        settled = exact if exact is not None else own
        assert settled is not None
        finest = relative(settled.finest, settled.scale)
        open_rows = max(each.open_rows for each in found.values())
        # What has no bound, or one greater than the tap itself, passes whatever it holds: nobody
        # has compared it. Written so that NaN is invalid.
        unbounded = bool(across) and not finest < 1
        unheard = "" if exact is None else told_of(exact.unheard)
        unknown = (open_rows and not apart.identical) or unbounded or settled.unbounded or unheard
        if unknown and status is not Status.DIFFER:
            status = Status.INVALID
        if status in (Status.DIFFER, Status.FLIP):
            self._origins[row.name] = row.name
        elif origin is not None:
            self._origins[row.name] = origin
        notes = self._notes(found, cause, lowest, open_rows, across, finest, unbounded)
        beyond = exact.beyond if cause == "function" and exact is not None else 0
        return Judged(
            status=status,
            cause=cause,
            origin=origin if status is Status.INHERITED else None,
            roundings_limit=self._confidence,
            amplification=amplification,
            decisions=dict(apart.decisions),
            mismatched=beyond if beyond or own is None else own.beyond,
            across=across,
            across_limit=finest if across else None,
            inherited_max_abs=apart.most_inherited,
            note="; ".join(note for note in (*notes, unheard) if note),
            **self._numbers(own, exact),
        )

    def _lower(self, apart: Spread) -> str:
        """Which side's values need fewer bits than were asked for and than the other's do."""
        sides = (("candidate", self._candidate, 1), ("reference", self._reference, 0))
        for side, run, place in sides:
            named = narrower(apart.bits[place], apart.bits[1 - place], run.dtype)
            if named:
                return f"the {side}'s values are all {named} ones, {run.dtype} was asked for"
        return ""

    def _numbers(self, own: Findings | None, exact: Findings | None) -> dict[str, Any]:
        """By the names that results have for them."""
        numbers: dict[str, Any] = {}
        if own is not None:
            numbers |= {
                "local_roundings": own.candidate,
                "local_roundings_reference": own.reference,
                "local_max_abs": own.greatest["local"],
                "rms_roundings": own.mean_square.root,
                "rms_roundings_limit": own.mean_square.limit,
            }
            for side in ("candidate", "reference"):
                if side in own.greatest:
                    numbers[f"{side}_to_float64"] = own.greatest[side]
        if exact is not None:
            numbers |= {
                "float64_roundings": exact.candidate,
                "float64_roundings_reference": exact.reference,
                "float64_max_abs": exact.greatest["difference"],
                "float64_rms_roundings": exact.mean_square.root,
            }
            numbers.setdefault("local_max_abs", exact.greatest["local"])
        return numbers

    def _notes(
        self,
        found: Mapping[str, Findings],
        cause: str,
        lowest: str,
        open_rows: int,
        across: tuple[str, ...],
        finest: float,
        unbounded: bool,
    ) -> Iterator[str]:
        if lowest:
            yield lowest
        elif cause == "precision":
            yield "the same function in float64, with more than its share of rounding here"
        elif cause == UNKNOWN:
            yield (
                "beyond rounding in the run's own precision: without the runs in float64, another "
                "function and less precision are not told apart"
            )
        for each in found.values():
            if each.share <= 1 and not each.mean_square.within:
                yield each.mean_square.said()
        if any(each.reference > self._confidence for each in found.values()):
            yield "the reference itself departs from the official function here"
        if across:
            yield _across_note(across, finest, unbounded)
        if open_rows:
            where = "have no bound across it" if across else "lie in a camera's plane"
            yield f"{open_rows} rows {where} and were not judged"
        elif elements := max(each.unbounded for each in found.values()):
            many = "elements" if elements > 1 else "element"
            yield f"{elements} {many} without a bound on rounding differ and were not judged"

    def worst_part(
        self, row: TapRow, cause: str
    ) -> tuple[dict[str, np.ndarray], np.ndarray, Callable[[str], np.ndarray], str]:
        """Where the candidate was farthest from a layer: for whoever asks what is wrong with it.

        Returns:
            The layer's inputs there, the candidate's tap, a reader of its other taps, and the
            precision, float64 where that run shows the difference.
        """
        exact = self._float64 and cause == "function"
        dtype = FLOAT64 if exact else self._candidate.dtype
        read = self._candidate.float64 if exact else self._candidate.tap
        worst = self._worst[row.name]
        part = worst[FLOAT64 if exact or OWN not in worst else OWN]
        across = before(row, self._gap)[1]
        given = Inputs(row.stage, read, self._context, dtype, across).of(row, part)
        parents = {name: number.value for name, number in given.items()}
        return parents, read(row.name, part), lambda name: read(name, part), dtype

    def earlier(self, row: TapRow) -> list[str]:
        """The taps before one that both sides have."""
        return [
            other.name
            for other in network_of(row.stage).taps
            if other.order < row.order and other.name not in self._gap
        ]


EXPLAINED_BY_PRECISION = 0.1
"""RMS difference, relative, beyond which short numbers explain nothing: eight bits of significand
err by 2**-9, and by some layers' worth of it further on."""
UNKNOWN = "function or precision"
"""The cause of a difference that only the run's own precision shows, where float64 was not run."""


def _status(
    own: Findings | None, exact: Findings | None, apart: Spread, origin: str | None, lowest: str
) -> tuple[Status, str]:
    """The status and the cause of a tap that inherits from ``origin``."""
    if own is None and lowest:
        return Status.DIFFER, "precision"
    if exact is not None and not exact.within:
        return Status.DIFFER, "function"
    if own is not None and (lowest or not own.within):
        return Status.DIFFER, "precision" if exact is not None or lowest else UNKNOWN
    settled = own if own is not None else exact
    if settled is not None and settled.flipped:
        return Status.FLIP, ""
    if apart.identical:
        return Status.AGREE, ""
    return (Status.INHERITED if origin is not None and apart.beyond else Status.ROUNDING), ""


def _across_note(across: tuple[str, ...], finest: float, unbounded: bool) -> str:
    """What it means that taps before this one were not recorded."""
    names = ", ".join(across) if len(across) < 4 else f"{across[0]} … {across[-1]}"
    if unbounded:
        return (
            f"judged across {names}, not recorded: no bound on rounding holds over so many layers"
        )
    return f"judged together with {names}, not recorded, to {finest:.1e} of its greatest magnitude"
