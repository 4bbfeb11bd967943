"""What is judged of one training step: losses, both moments and the variables of two runs.

A variable that two runs hold differently after some steps proves nothing: training amplifies
rounding, and Adam's first step does it at once, because it moves a variable by the learning rate
whichever sign a gradient within rounding of 0 has. So the optimiser is judged by itself, on the
candidate's own state before and after the step (``steps_adam``): a step that TensorFlow's formula
does not give is a difference, at the step that makes it. The gradient is judged against the
reference's where both have the same state: in the first step, and in float64 in every step, where
two right trajectories stay together; in float32 also, in every step, against the candidate's own
gradient at its own variables, if it offers gradients. All else that leaves rounding has inherited.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from network.registry import network_of
from parity.oracle.local import difference_of
from parity.training.steps_adam import (
    Cause,
    before,
    check,
    explain_gradient,
    explain_second,
    explain_weights,
    implied_gradient,
    norm,
    within,
)
from parity.verdict.findings import finite
from parity.verdict.measure import relative
from parity.verdict.result import Status, TapResult

Variable = tuple[NDArray[np.generic], NDArray[np.generic], NDArray[np.generic]]

FLOAT64_TRAJECTORY = 1e-9
"""How far, of a variable's greatest magnitude, two trajectories in float64 may part and count as
together, seven orders above its roundoff; see ``Network.trajectory`` for float32."""


AMPLIFIED = "rounding amplified by training; the optimiser's own step is right"
PARTED = "beyond what float64 rounding explains, and nothing before it differs"
GRADIENT = "the gradient differs"
OTHER_GRADIENT = "moved by another gradient than the backend's own"


@dataclass(frozen=True)
class Finding:
    """A measured entry that has no status yet, and the optimiser's defect in it, if any.

    ``cause`` says what the defect comes from, where that is something known.
    """

    entry: TapResult
    kind: str
    defect: str = ""
    cause: Cause | None = None


@dataclass(frozen=True)
class Judged:
    """How a step is judged: its number, the rate, and what both sides run."""

    stage: str
    dtype: str
    number: int
    rate: float

    @property
    def limit(self) -> float:
        if self.dtype == "float64":
            return FLOAT64_TRAJECTORY
        return network_of(self.stage).trajectory

    @property
    def exact(self) -> bool:
        """Whether two right trajectories stay together."""
        return self.dtype == "float64"


def loss_findings(
    step: Judged, reference: Mapping[str, float], candidate: Mapping[str, float]
) -> list[Finding]:
    """The loss terms before the step."""
    found = []
    for name in dict.fromkeys((*reference, *candidate)):
        tap = f"steps/{step.number}/losses/{name}"
        absent = [
            side
            for side, terms in (("reference", reference), ("candidate", candidate))
            if name not in terms
        ]
        if absent:
            note = f"not in the {absent[0]}"
            found.append(Finding(TapResult(tap, 0, Status.MISSING, (), "", note=note), "losses"))
            continue
        r, c = (np.array(side[name], step.dtype) for side in (reference, candidate))
        found.append(Finding(_measured(tap, step, r, c), "losses"))
    return found


def variable_findings(
    step: Judged,
    key: str,
    reference: Variable,
    candidate: Variable,
    old: Variable,
    old_reference_m: NDArray[np.generic],
    own: NDArray[np.generic] | None,
    floor: float = 0.0,
) -> tuple[Finding, Finding, Finding]:
    """First moment, second moment and value of one variable after the step.

    Args:
        step: which.
        key: the variable.
        reference: its value and moments in the reference.
        candidate: likewise.
        old: the candidate's before the step.
        old_reference_m: the reference's first moment before the step.
        own: the candidate's gradient at its own state before the step, where it was computed.
        floor: what the first moment is measured by at least, see ``Network.cancelling``.
    """
    start = before(old, step.number, step.rate, step.dtype)
    w, m, v = (each.astype(np.float64) for each in candidate)
    expected = check(start, m, v)
    implied = implied_gradient(old_reference_m.astype(np.float64), reference[1].astype(np.float64))
    parts = zip(("", "m/", "v/"), reference, candidate, (0.0, floor, floor**2), strict=True)
    entries = [
        _measured(f"steps/{step.number}/{part}{key}", step, r, c, least)
        for part, r, c, least in parts
    ]
    defects = {"w": "", "m": "", "v": ""}
    causes: dict[str, Cause | None] = dict.fromkeys(defects)
    if not within(w, expected.w, expected.w_bound):
        causes["w"] = explain_weights(start, m, v, w)
        defects["w"] = "not the step that its moments make"
    if not within(v, expected.v, expected.v_bound):
        causes["v"] = explain_second(start, m, v)
        defects["v"] = "not the square of the first moment's gradient"
    if own is not None:
        true, bound = own.astype(np.float64), expected.gradient_bound
        if not within(expected.gradient, true, bound):
            # Threads add up a gradient in any order: beyond the bound alone proves nothing.
            bound = bound + step.limit * np.abs(true).max(initial=0.0)
            gross = not within(expected.gradient, true, bound)
            causes["m"] = explain_gradient(start, m, expected.gradient, true)
            defects["m"] = OTHER_GRADIENT if gross else ""
    elif step.exact and not _together(entries[1], step):
        causes["m"] = explain_gradient(start, m, expected.gradient, implied)
    found = []
    for name, entry in (("m", entries[1]), ("v", entries[2]), ("w", entries[0])):
        cause = causes[name]
        defect = defects[name] if cause is None else cause.words
        found.append(Finding(entry, name, defect, cause))
    return found[0], found[1], found[2]


def statuses(step: Judged, findings: Iterable[Finding], tainted: bool) -> list[TapResult]:
    """The entries with their statuses, in the order of the computation.

    Args:
        step: which.
        findings: losses, first moments, second moments, values.
        tainted: whether an earlier step holds a difference.
    """
    found = []
    for finding in findings:
        entry = _with_status(step, finding, tainted)
        tainted = tainted or entry.status is Status.DIFFER
        found.append(entry)
    return found


def _with_status(step: Judged, finding: Finding, tainted: bool) -> TapResult:
    entry = finding.entry
    if entry.status is not Status.AGREE:
        return entry
    if finding.defect:
        return replace(entry, status=Status.DIFFER, note=finding.defect)
    if _together(entry, step):
        return entry
    if tainted:
        note = "inherited from the first difference"
        return replace(entry, status=Status.INHERITED, note=note)
    gradient = finding.kind in ("losses", "m")
    if step.exact:
        note = GRADIENT if finding.kind == "m" else PARTED
        return replace(entry, status=Status.DIFFER, note=note)
    if step.number == 1 and gradient:
        limit = network_of(step.stage).gradient_rounding
        # Written so that NaN is no rounding.
        rounding = entry.rms_rel is not None and entry.rms_rel <= limit
        status = Status.ROUNDING if rounding else Status.DIFFER
        return replace(entry, status=status, limit=limit, note="" if rounding else GRADIENT)
    return replace(entry, status=Status.INHERITED, note=AMPLIFIED)


def _together(entry: TapResult, step: Judged) -> bool:
    return entry.max_rel is not None and entry.max_rel <= step.limit


def _measured(
    tap: str,
    step: Judged,
    reference: NDArray[np.generic],
    candidate: NDArray[np.generic],
    floor: float = 0.0,
) -> TapResult:
    """Both sides' difference, its status AGREE until it is judged."""
    base = TapResult(tap, 0, Status.AGREE, reference.shape, str(candidate.dtype))
    if candidate.shape != reference.shape:
        note = f"shape {candidate.shape} in the candidate, {reference.shape} in the reference"
        return replace(base, status=Status.DIFFER, note=note)
    if candidate.dtype != np.dtype(step.dtype):
        note = f"the candidate is {candidate.dtype} where {step.dtype} was asked for"
        return replace(base, status=Status.DIFFER, note=note)
    r, c = (each.astype(np.float64).ravel() for each in (reference, candidate))
    delta = np.abs(difference_of(c, r))
    top = int(delta.argmax())
    scale = max(finite(r), floor)
    return replace(
        base,
        size=r.size,
        mismatched=r.size - int((delta <= step.limit * scale).sum()),
        max_abs=float(delta[top]),
        at=tuple(int(i) for i in np.unravel_index(top, reference.shape)),
        reference=float(r[top]),
        candidate=float(c[top]),
        scale=scale,
        max_rel=relative(float(delta[top]), scale),
        rms_rel=relative(norm(delta), max(norm(r[np.isfinite(r)]), floor)),
        limit=step.limit,
    )
