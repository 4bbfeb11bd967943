"""A plain judge, for tests of the mutants themselves: a run and a fixed limit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from parity.traces.backends import Factory
from studies.faults.asking import Enough, answers, ask
from studies.faults.judge import Found
from studies.faults.probes import Probe

PLAIN_LIMITS = {"float64": 1e-11, "float32": 2e-5}
"""Relative to the reference's greatest magnitude."""


class PlainJudge:
    """Holds candidates against a reference run, result by result, by a fixed relative limit.

    It names no operands, and takes what differs first in the order of computation for what is
    wrong: with one fault only what follows from it can differ after it. The reference's run is kept
    as long as the probe stays the same.
    """

    name = "limits"

    def __init__(self, limits: Mapping[str, float] | None = None) -> None:
        self._limits = PLAIN_LIMITS if limits is None else limits
        self._kept: tuple[tuple[object, ...], dict[str, np.ndarray]] = ((), {})

    def __call__(self, reference: Factory, candidate: Factory, probe: Probe) -> Found:
        """Judge one candidate; see ``Judge``."""
        expected = self._reference(reference, probe)
        limit = self._limits[probe.dtype]
        seen: list[str] = []
        different: list[str] = []

        def take(name: str, value: np.ndarray) -> None:
            seen.append(name)
            if name not in expected or not _equal(expected[name], value, limit):
                different.append(name)
                raise Enough

        ask(candidate(probe.stage, probe.dtype, "cpu"), probe, take)
        if different:
            return Found("differ", different[0])
        if set(seen) != set(expected):
            return Found("invalid")
        return Found("agree")

    def _reference(self, factory: Factory, probe: Probe) -> dict[str, np.ndarray]:
        key = (factory, probe.name, probe.stage, probe.group, probe.cnn_only, probe.dtype)
        if self._kept[0] != key:
            self._kept = ((), {})
            backend: Any = factory(probe.stage, probe.dtype, "cpu")
            self._kept = (key, answers(backend, probe))
        return self._kept[1]


def _equal(expected: np.ndarray, value: np.ndarray, limit: float) -> bool:
    if expected.shape != value.shape:
        return False
    missing = np.isnan(expected)
    if not np.array_equal(missing, np.isnan(value)):
        return False
    there = ~missing
    scale = np.abs(expected[there]).max(initial=0.0)
    difference = np.abs(value[there] - expected[there]).max(initial=0.0)
    # Infinities on both sides leave NaN, which is never within a limit.
    return bool(difference <= limit * scale)
