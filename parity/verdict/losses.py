"""Loss terms judged alone, as layers are: on the meshes that each run itself recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import MESH
from parity.diagnosis.diagnosis import Diagnosis
from parity.diagnosis.losses import (
    diagnose,
    diagnose_decay,
    diagnose_total,
    less_precise,
)
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.local import difference_of, share_of, sides_apart
from parity.oracle.losses import Term, decay_value, loss_terms, total_of
from parity.oracle.number import Number
from parity.traces.gradients import measured_in, measures
from parity.traces.trace import TraceReader
from parity.verdict.judgement import UNKNOWN
from parity.verdict.precision import FLOAT64
from parity.verdict.result import Status, TapResult
from parity.verdict.traced import TracedRun

DECAY, TOTAL = "decay", "total"
Meshes = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class LossJudged:
    """What is found of one term in one precision.

    Attributes:
        roundings, roundings_reference: each side's own error in multiples of its bound, times λ.
        limit: λ.
        local: |difference of the sides' own errors|, absolute.
        inherited: |difference of what the term is of either side's meshes|.
        differs: whether the local part is no rounding.
        beyond: whether the difference as a whole is none.
    """

    roundings: float
    roundings_reference: float
    limit: float
    local: float
    inherited: float
    differs: bool
    beyond: bool


class LossJudge:
    """Holds both runs' losses in one precision against the terms of their own meshes.

    Args:
        context: the reference's weights.
        measured: what each side's meshes are measured with, at its own samples; see
            ``parity.traces.gradients.measured_in``.
        meshes: of reference and candidate, (V, 3) in float64, by tap and ``inputs/mesh``.
        dtype: the precision, the runs' own or float64.
    """

    def __init__(
        self,
        context: Context,
        measured: tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]],
        meshes: tuple[Meshes, Meshes],
        dtype: str,
    ) -> None:
        self._context, self._meshes = context, meshes
        self._arithmetic = arithmetic_of(context.stage, dtype)
        self._terms = [{t.label: t for t in loss_terms(context, each)} for each in measured]
        self._expected = [self._of(*each) for each in zip(self._terms, meshes, strict=True)]

    def knows(self, name: str) -> bool:
        """Whether it is one of the official terms."""
        return all(name in expected for expected in self._expected)

    def judge(self, name: str, reference: np.ndarray, candidate: np.ndarray) -> LossJudged:
        """One term of both runs."""
        values = [np.asarray(each, np.float64).reshape(()) for each in (reference, candidate)]
        numbers = [expected[name] for expected in self._expected]
        errors = [difference_of(v, n.value) for v, n in zip(values, numbers, strict=True)]
        limits = [self._arithmetic.limit(n) + n.undecided for n in numbers]
        local = sides_apart(errors, values)
        limit = limits[0] + limits[1]
        confidence = self._arithmetic.confidence
        away = difference_of(values[1], values[0])
        inherited = difference_of(numbers[1].value, numbers[0].value)
        return LossJudged(
            roundings=share_of(errors[1], limits[1]) * confidence,
            roundings_reference=share_of(errors[0], limits[0]) * confidence,
            limit=confidence,
            local=float(np.abs(local)),
            inherited=float(np.abs(inherited)),
            # Written so that NaN differs.
            differs=not share_of(local, limit) <= 1.0,
            beyond=not bool(np.abs(away) <= limit),
        )

    def diagnose(
        self, name: str, candidate: np.ndarray, right_in_float64: bool = False
    ) -> Diagnosis | None:
        """What a term of the candidate that differs points to."""
        if right_in_float64:
            return less_precise(name)
        seen, expected = float(candidate), self._expected[1]
        limit = float(self._arithmetic.limit(expected[name]) + expected[name].undecided)
        if name == DECAY:
            return diagnose_decay(self._context, seen, limit)
        if name == TOTAL:
            values = {term: float(number.value) for term, number in expected.items()}
            return diagnose_total(values, seen, values.pop(TOTAL), limit)
        term = self._terms[1][name]
        return diagnose(term, self._meshes[1], seen, self._context, self._arithmetic)

    def _of(self, terms: Mapping[str, Term], meshes: Meshes) -> dict[str, Number]:
        found = {label: term.value(meshes, self._arithmetic) for label, term in terms.items()}
        found[DECAY] = decay_value(self._context, self._arithmetic)
        found[TOTAL] = total_of(found, self._arithmetic)
        return found


def lacks(trace: TraceReader, run: TracedRun, dtype: str) -> str:
    """What the terms are of and a run does not have; empty if nothing."""
    network = network_of(trace.header.stage)
    for name in network.meshes:
        if not run.has(name, dtype != run.dtype):
            return name
        if trace.dataset("taps", name).shape != network.row(name).shape:
            return f"{name} of shape {network.row(name).shape}"
    return measures(trace)


def _meshes(run: TracedRun, dtype: str, stage: str) -> Meshes:
    read = run.value if dtype == run.dtype else run.float64
    return {name: read(name, None) for name in (*network_of(stage).meshes, MESH)}


def judges_of(
    context: Context,
    sides: tuple[TraceReader, TraceReader],
    runs: tuple[TracedRun, TracedRun],
    float64: bool,
) -> dict[str, LossJudge]:
    """A judge for each precision in which both runs have what the terms are of."""
    own, stage = runs[1].dtype, context.stage
    asked = [own] if own == FLOAT64 or not float64 else [own, FLOAT64]
    if network_of(stage).losses is None:
        return {}
    return {
        dtype: LossJudge(
            context, (measured_in(sides[0]), measured_in(sides[1])),
            (_meshes(runs[0], dtype, stage), _meshes(runs[1], dtype, stage)), dtype,
        )
        for dtype in asked
        if not any(lacks(trace, run, dtype) for trace, run in zip(sides, runs, strict=True))
    }  # fmt: skip


def settled(
    base: TapResult,
    found: Mapping[str, LossJudged],
    apart: float | None,
    origin: str | None,
    unheard: str = "",
) -> TapResult:
    """An entry with the verdict on its term.

    Args:
        base: the entry, measured.
        found: by precision, at least one.
        apart: how far the float64 runs are from each other; None where one is missing.
        origin: the tap nearest to the inputs that differs, if one does.
        unheard: what was not compared in float64, if anything.
    """
    exact = found.get(FLOAT64)
    own = next((each for name, each in found.items() if name != FLOAT64), exact)
    assert own is not None
    status, cause = Status.ROUNDING, ""
    if exact is not None and exact.differs:
        status, cause = Status.DIFFER, "function"
    elif own.differs:
        status, cause = Status.DIFFER, UNKNOWN if exact is None else "precision"
    elif unheard:
        status = Status.INVALID
    elif base.max_abs == 0:
        status = Status.AGREE
    elif origin is not None and (own.beyond or (exact is not None and exact.beyond)):
        status = Status.INHERITED
    numbers: dict[str, Any] = {
        "local_roundings": own.roundings,
        "local_roundings_reference": own.roundings_reference,
        "roundings_limit": own.limit,
        "local_max_abs": own.local,
        "inherited_max_abs": own.inherited,
    }
    if exact is not None:
        numbers |= {
            "float64_roundings": exact.roundings,
            "float64_roundings_reference": exact.roundings_reference,
            "float64_max_abs": apart,
        }
    return replace(
        base, status=status, cause=cause, note=unheard, mismatched=int(status is Status.DIFFER),
        origin=origin if status is Status.INHERITED else None, **numbers,
    )  # fmt: skip
