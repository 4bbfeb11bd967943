"""Loss terms judged alone, as layers are: on the meshes that each run itself recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from network.registry import network_of
from network.taps import MESH
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.local import difference_of, share_of
from parity.oracle.losses import decay_value, loss_terms, total_of
from parity.oracle.number import Number
from parity.traces import layout
from parity.traces.gradients import measured_in, measures
from parity.traces.trace import TraceReader

FLOAT64 = "float64"
DECAY, TOTAL = "decay", "total"


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
        sides: reference and candidate.
        dtype: the precision, the runs' own or float64.
    """

    def __init__(
        self, context: Context, sides: tuple[TraceReader, TraceReader], dtype: str
    ) -> None:
        self._arithmetic = arithmetic_of(context.stage, dtype)
        self._expected = [self._of(context, trace, dtype) for trace in sides]

    @staticmethod
    def lacks(trace: TraceReader, dtype: str) -> str:
        """What the terms are of and the trace does not have; empty if nothing."""
        group = _group(trace, dtype)
        for name in network_of(trace.header.stage).meshes:
            if not trace.has(group, name):
                return f"/{group}/{name}"
        return measures(trace)

    def knows(self, name: str) -> bool:
        """Whether it is one of the official terms."""
        return all(name in expected for expected in self._expected)

    def judge(self, name: str, reference: np.ndarray, candidate: np.ndarray) -> LossJudged:
        """One term of both runs."""
        values = [np.asarray(each, np.float64).reshape(()) for each in (reference, candidate)]
        numbers = [expected[name] for expected in self._expected]
        errors = [difference_of(v, n.value) for v, n in zip(values, numbers, strict=True)]
        limits = [self._arithmetic.limit(n) + n.undecided for n in numbers]
        local = np.asarray(errors[1] - errors[0])
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

    def _of(self, context: Context, trace: TraceReader, dtype: str) -> dict[str, Number]:
        group = _group(trace, dtype)
        meshes: Mapping[str, Any] = {
            MESH: trace.values(layout.INPUTS, "mesh", None).astype(np.float64),
            **{
                name: trace.values(group, name, None).astype(np.float64)
                for name in network_of(context.stage).meshes
            },
        }
        found = {
            term.label: term.value(meshes, self._arithmetic)
            for term in loss_terms(context, measured_in(trace))
        }
        found[DECAY] = decay_value(context, self._arithmetic)
        found[TOTAL] = total_of(found, self._arithmetic)
        return found


def _group(trace: TraceReader, dtype: str) -> str:
    own = dtype == trace.header.dtype
    return layout.TAPS if own else layout.FLOAT64
