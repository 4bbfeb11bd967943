"""Two trainings in lockstep: from the same state, on the same draws, compared after every step."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from network.registry import network_of
from parity.diagnosis.diagnosis import Diagnosis
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs
from parity.training.steps_judge import (
    Judged,
    Variable,
    loss_findings,
    statuses,
    variable_findings,
)
from parity.training.trainers import Trainer, TrainerSettings, trainer_of
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

TOLD = frozenset({Status.INHERITED, Status.DIFFER, Status.MISSING, Status.INVALID})
"""Entries with these statuses are kept of every step, all others of the last alone."""


@dataclass(frozen=True)
class Training:
    """How both sides are trained: from the official settings only the rate may differ.

    Raises:
        InputError: the learning rate is not positive and finite.
    """

    steps: int
    learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        TrainerSettings(self.learning_rate)  # refuses it now, before anything is run


@dataclass(frozen=True)
class StepSummary:
    """One step of both sides.

    ``statuses`` counts the entries by status; ``optimiser`` says whether the candidate's step is
    the one that TensorFlow's Adam takes from the candidate's own state: ``right``, or what was
    found; ``worst`` has, for losses, first moments, second moments and weights, the entry that is
    furthest apart and by how much of its greatest magnitude.
    """

    step: int
    compared: int
    statuses: Mapping[str, int]
    optimiser: str
    total: tuple[float, float]
    worst: Mapping[str, tuple[str, float | None]]


@dataclass(frozen=True)
class StepsResult:
    """What the steps of two trainings showed; ``diagnosis`` is of the first defect, if known."""

    entries: tuple[TapResult, ...]
    summaries: tuple[StepSummary, ...]
    notes: tuple[str, ...]
    diagnosis: Diagnosis | None = None


def add_steps(
    comparison: Comparison,
    reference: BackendChoice,
    candidate: BackendChoice,
    inputs: RunInputs,
    weights: WeightSet,
    training: Training,
    *,
    dtype: str,
    devices: tuple[str, str],
    on_step: Callable[[str], None] | None = None,
) -> Comparison:
    """Train both backends from ``weights`` and put what is found into a comparison.

    Raises:
        InputError: a backend cannot train, or fails.
    """
    settings = TrainerSettings(training.learning_rate, inputs.seed)
    result = compare_steps(
        trainer_of(reference, devices[0], inputs, weights.arrays, settings, dtype),
        trainer_of(candidate, devices[1], inputs, weights.arrays, settings, dtype),
        weights.arrays,
        training.steps,
        stage=inputs.stage,
        dtype=dtype,
        learning_rate=training.learning_rate,
        on_step=on_step,
    )
    return with_steps(comparison, result)


def compare_steps(
    reference: Trainer,
    candidate: Trainer,
    start: Mapping[str, np.ndarray],
    steps: int,
    *,
    stage: str,
    dtype: str,
    learning_rate: float,
    on_step: Callable[[str], None] | None = None,
) -> StepsResult:
    """Take ``steps`` steps on both sides and compare the states after each.

    The reference draws each step's points on its own meshes, the candidate takes the same. Beside
    what the two sides hold themselves, the candidate's state before the step is kept, and the
    reference's first moments.

    Args:
        reference: taken as right; has taken no step.
        candidate: judged; has taken no step.
        start: the weights that both start from, by checkpoint key.
        steps: how many, from 1.
        stage: the network's name.
        dtype: the precision of both.
        learning_rate: of both.
        on_step: told each step's name when it is compared.

    Raises:
        InputError: a side fails, or lacks a variable.
    """
    return _Lockstep(reference, candidate, start, stage, dtype).run(steps, learning_rate, on_step)


class _Lockstep:
    def __init__(
        self,
        reference: Trainer,
        candidate: Trainer,
        start: Mapping[str, np.ndarray],
        stage: str,
        dtype: str,
    ) -> None:
        self.reference, self.candidate = reference, candidate
        self.stage, self.dtype = stage, dtype
        self.keys = [row.key for row in network_of(stage).variables if row.key in start]
        self.cancelling = network_of(stage).cancelling
        self.old: dict[str, Variable] = {}
        self.old_m: dict[str, np.ndarray] = {}
        for key in self.keys:
            value = start[key].astype(dtype)
            self.old[key] = (value, np.zeros_like(value), np.zeros_like(value))
            self.old_m[key] = self.old[key][1]
        self.entries: list[TapResult] = []
        self.summaries: list[StepSummary] = []
        self.tainted = False
        self.diagnosis: Diagnosis | None = None

    def run(self, steps: int, rate: float, on_step: Callable[[str], None] | None) -> StepsResult:
        for number in range(1, steps + 1):
            step = Judged(self.stage, self.dtype, number, rate)
            found = self._step(step)
            self.tainted = self.tainted or any(e.status is Status.DIFFER for e in found)
            self.entries += [e for e in found if number == steps or e.status in TOLD]
            if on_step is not None:
                on_step(f"step {number}")
        entries = tuple(replace(entry, order=order) for order, entry in enumerate(self.entries))
        return StepsResult(
            entries, tuple(self.summaries), tuple(_notes(entries, self.summaries)), self.diagnosis
        )

    def _step(self, step: Judged) -> list[TapResult]:
        losses = self.reference.step()
        samples = self.reference.samples
        other = self.candidate.step(samples)
        # Float64 needs none: there the reference's gradient is the candidate's.
        own = None
        if not step.exact:
            weights = {key: value for key, (value, _, _) in self.old.items()}
            own = self.candidate.gradients(weights, samples)
        findings = []
        layers: dict[str, float] = {}
        for key in self.keys:
            reference, candidate = self.reference.variable(key), self.candidate.variable(key)
            self._check(step, key, candidate)
            # A layer's weights come before its bias.
            layer = key.rpartition("/")[0]
            layers[layer] = max(layers.get(layer, 0.0), float(np.abs(reference[1]).max()))
            gradient = None if own is None else _own(own, key, candidate[0].shape)
            floor = layers[layer] if key in self.cancelling else 0.0
            old, old_m = self.old[key], self.old_m[key]
            findings.append(
                variable_findings(step, key, reference, candidate, old, old_m, gradient, floor)
            )
            self.old[key], self.old_m[key] = candidate, reference[1]
        groups = {"losses": loss_findings(step, losses, other)}
        parts = zip(*findings, strict=True)
        groups |= dict(zip(("m", "v", "weights"), map(list, parts), strict=True))
        ordered = [finding for group in groups.values() for finding in group]
        found = statuses(step, ordered, self.tainted)
        defects = [finding.defect for finding in ordered if finding.defect]
        named = ((f.entry.tap, f.cause) for f in ordered if f.cause is not None)
        if self.diagnosis is None and not self.tainted:
            self.diagnosis = next(
                (Diagnosis(tap, cause.operand, cause.words, True) for tap, cause in named), None
            )
        self.summaries.append(
            StepSummary(
                step.number,
                len(found),
                dict(Counter(entry.status.value for entry in found)),
                _counted(defects) or "right",
                (losses["total"], other["total"]),
                {name: _worst([each.entry for each in group]) for name, group in groups.items()},
            )
        )
        return found

    def _check(self, step: Judged, key: str, candidate: Variable) -> None:
        for part, array in zip(("weight", "first moment", "second moment"), candidate, strict=True):
            expected = self.old[key][0].shape
            if array.shape != expected:
                where = f"candidate, step {step.number}, {part} of {key}"
                raise InputError(where, f"shape {array.shape}", f"{expected}")


def _own(gradients: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key not in gradients or gradients[key].shape != shape:
        raise InputError("candidate", f"its gradients() give no {key} of shape {shape}", "one")
    return gradients[key]


def _counted(defects: Sequence[str]) -> str:
    """Defects by how many variables have them, commonest first; factors of a decay put together."""
    kinds = Counter(defect.split(":")[0] for defect in defects)
    words = []
    for kind, count in kinds.most_common():
        example = next(each for each in defects if each.split(":")[0] == kind)
        words.append(f"{example} ({count})")
    return "; ".join(words)


def _worst(entries: Sequence[TapResult]) -> tuple[str, float | None]:
    measured = [entry for entry in entries if entry.max_rel is not None]
    if not measured:
        return "", None
    # NaN is further apart than any number.
    top = max(measured, key=lambda entry: (entry.max_rel != entry.max_rel, entry.max_rel))
    return top.tap, top.max_rel


def _notes(entries: Sequence[TapResult], summaries: Sequence[StepSummary]) -> list[str]:
    count = len(summaries)
    wrong = [summary for summary in summaries if summary.optimiser != "right"]
    first = next((entry for entry in entries if entry.status is Status.DIFFER), None)
    left = next((entry for entry in entries if entry.status in TOLD), None)
    if wrong:
        return [f"optimiser defect from step {wrong[0].step} on: {wrong[0].optimiser}"]
    if first is not None:
        return [f"the optimiser's own step is right in {count} steps; {first.tap}: {first.note}"]
    if left is not None:
        return [
            f"the optimiser's own step is right in all {count} steps; the trajectories leave "
            f"rounding at step {left.tap.split('/')[1]} ({left.tap.split('/', 2)[2]}: "
            f"{left.max_rel:.1e} of its greatest magnitude) and only amplify it"
        ]
    return [f"the two trainings stay together over {count} steps"]


def with_steps(comparison: Comparison, result: StepsResult) -> Comparison:
    """A comparison that holds the steps as well, and its verdict with them."""
    differs = next((e.tap for e in result.entries if e.status is Status.DIFFER), None)
    missing = tuple(e.tap for e in result.entries if e.status is Status.MISSING)
    verdict = comparison.verdict
    if differs is not None:
        verdict = Verdict.DIFFER
    elif missing and verdict is Verdict.AGREE:
        verdict = Verdict.INVALID
    changed: dict[str, Any] = {
        "steps": result.entries,
        "step_summaries": result.summaries,
        "verdict": verdict,
        "first_divergence": comparison.first_divergence or differs,
        "missing": comparison.missing + missing,
        "notes": comparison.notes + result.notes,
    }
    if result.diagnosis is not None:
        changed["diagnoses"] = (*comparison.diagnoses, result.diagnosis)
        if result.diagnosis.tap == changed["first_divergence"]:
            changed["diagnosis"] = result.diagnosis
    return replace(comparison, **changed)
