"""A comparison of two traces that both hold their float64 runs: the verdict without limits."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from network.taps import TAPS
from parity.oracle.layers.evaluate import layer_of
from parity.traces.trace import TraceReader
from parity.verdict import coverage_cache
from parity.verdict.coverage import measured
from parity.verdict.gradient_comparison import GradientComparison
from parity.verdict.judgement import TapJudge
from parity.verdict.result import Status, TapResult
from parity.verdict.truth import TraceRun, has_truth
from parity.verdict.yardstick import Yardstick, status_of, yardstick


class TruthComparison:
    """Judges taps, losses and gradients, each in the order of its group."""

    def __init__(
        self, reference: TraceReader, candidate: TraceReader, excused: Collection[str] = ()
    ) -> None:
        """Hold two traces of the same stage and inputs, both with truth.

        ``excused``: taps that a reason is given for not having; where a side really lacks one, what
        follows is judged across it.
        """
        traces = (reference, candidate)
        self._gap = frozenset(
            name for name in excused if not all(trace.has("taps", name) for trace in traces)
        )
        self._reference, self._candidate = reference, candidate
        self._runs = TraceRun(reference), TraceRun(candidate)
        # Both sides are held against the reference's weights: other weights are a difference.
        self._context = self._runs[0].context()
        self._judge = TapJudge(self._context, *self._runs, gap=self._gap)
        self._rows = {row.name: row for row in TAPS[reference.header.stage]}
        self._yardsticks: dict[str, Yardstick] = {}
        self._diagnoses: dict[str, Any] = {}
        self._gradients: GradientComparison | None = None

    @classmethod
    def of(
        cls, reference: TraceReader, candidate: TraceReader, excused: Collection[str] = ()
    ) -> "TruthComparison | None":
        """The comparison, where both traces have what it needs."""
        if has_truth(reference) and has_truth(candidate):
            return cls(reference, candidate, excused)
        return None

    def judge(self, group: str, name: str, measured: TapResult) -> TapResult:
        """``measured`` with the status and what the float64 runs add."""
        if group != "taps":
            return self._by_yardstick(group, name, measured)
        row = self._rows.get(name)
        if row is None:
            note = "a tap that the official network does not have: nothing is known of its layer"
            return replace(measured, status=Status.INVALID, note=note)
        for side, run in zip(("reference", "candidate"), self._runs, strict=True):
            lacking = run.lacks(row, self._gap)
            if lacking:
                note = f"the {side} was recorded without {lacking}"
                return replace(measured, status=Status.INVALID, note=note)
        judged = self._judge.judge(row)
        result = replace(measured, **vars(judged))
        if judged.status is Status.DIFFER:
            # What is wrong with the first convolution is likely wrong with the others too.
            kind = getattr(layer_of(row), "__name__", "projection")
            if kind not in self._diagnoses:
                self._diagnoses[kind] = self._judge.diagnose(row, judged.cause)
        return result

    def gradients(
        self, results: Mapping[str, tuple[TapResult, ...]], glob: str
    ) -> tuple[TapResult, ...]:
        """The gradients again, layer by layer, where both traces have them at every tap."""
        self._gradients = GradientComparison(self._reference, self._candidate, self._context)
        return self._gradients.judge(results, glob)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be judged as it should be."""
        return () if self._gradients is None else self._gradients.notes

    @property
    def diagnoses(self) -> tuple[Any, ...]:
        """Of the first tap that differs of each kind of layer, what it points to."""
        back = () if self._gradients is None else self._gradients.diagnoses
        return (*(each for each in self._diagnoses.values() if each is not None), *back)

    def coverage(self, results: Mapping[str, tuple[TapResult, ...]]) -> dict[str, Any] | None:
        """What was exercised; None where the reference's trace does not hold all of its run."""
        if any(self._runs[0].lacks(row) for row in self._rows.values()):
            return None
        compared = {
            group: sum(entry.max_abs is not None for entry in entries)
            for group, entries in results.items()
        }
        key = coverage_cache.key_of(self._context)
        found = coverage_cache.load(key)
        if found is None:
            found = measured(self._runs[0], self._context)
            if _official(results["taps"]):
                coverage_cache.store(key, found)
        return {"compared": compared, **found}

    def _by_yardstick(self, group: str, name: str, measured: TapResult) -> TapResult:
        sides = (self._reference, self._candidate)
        for side, trace in zip(("reference", "candidate"), sides, strict=True):
            if not trace.has(f"truth_{group}", name):
                note = f"the {side} was recorded without /truth_{group}/{name}"
                return replace(measured, status=Status.INVALID, note=note)
        if group not in self._yardsticks:
            self._yardsticks[group] = yardstick(
                self._reference.header.stage,
                group,
                self._all(self._reference, group),
                self._all(self._reference, f"truth_{group}"),
            )
        stick = self._yardsticks[group]
        reference, candidate = (
            (_whole(trace, group, name), _whole(trace, f"truth_{group}", name)) for trace in sides
        )
        dtype = self._candidate.header.dtype
        status, cause, true = status_of(reference, candidate, stick, name, dtype)
        scale = measured.scale or 0.0
        limit = 2 * stick.limit(name, dtype) / scale if scale else None
        return replace(measured, status=status, cause=cause, truth_max_abs=true, limit=limit)

    def _all(self, trace: TraceReader, group: str) -> dict[str, np.ndarray]:
        return {name: _whole(trace, group, name) for name in trace.names(group)}


def _official(taps: tuple[TapResult, ...]) -> bool:
    """Whether the reference's float64 run is the official one, as far as it was judged."""
    return all(
        tap.truth_roundings_reference is not None
        and tap.roundings_limit is not None
        and tap.truth_roundings_reference <= tap.roundings_limit
        for tap in taps
        if tap.status is not Status.MISSING
    )


def _whole(trace: TraceReader, group: str, name: str) -> np.ndarray:
    return trace.read(group, name, trace.dataset(group, name), ())
