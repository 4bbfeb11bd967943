"""What a comparison found, apart from how it is shown.

``reports`` and the command line read these objects and never recompute anything, so that text,
CSV, JSON and HTML cannot disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

import numpy as np

REPORT_SCHEMA = "p2m-parity-report/1"


class Status(str, Enum):
    """The verdict on one tap."""

    AGREE = "agree"
    ROUNDING = "rounding"
    INHERITED = "inherited"
    DIFFER = "differ"
    FLIP = "flip"
    MISSING = "missing"
    INVALID = "invalid"


class Verdict(str, Enum):
    """The verdict on a whole comparison, and the exit status it gives."""

    AGREE = "agree"
    DIFFER = "differ"
    INVALID = "invalid"

    @property
    def exit_status(self) -> int:
        return {"agree": 0, "differ": 1, "invalid": 2}[self.value]


@dataclass(frozen=True, kw_only=True)
class Split:
    """What a verdict on the basis of float64 runs adds to one entry: the parts of a difference.

    Numbers are absolute but where they are called roundings.

    Attributes:
        cause: "function" or "precision" where it differs, else "".
        origin: the tap that an inherited difference comes from.
        truth_roundings, truth_roundings_reference: the greatest local error of the candidate's and
            the reference's float64 run, in roundings of float64, of which ``roundings_limit`` (λ)
            are admitted.
        local_roundings, local_roundings_reference: likewise in the run's own precision.
        truth_max_abs: greatest difference of the two float64 runs.
        local_max_abs, inherited_max_abs: the two parts of the difference.
        candidate_to_truth, reference_to_truth: greatest distance of either run from the
            reference's float64 run.
        amplification: RMS of the inherited part relative to the output, over that of the inputs.
        decisions: how many ReLUs or pixels were decided otherwise, and how many of them are ties.
        across: taps that were not recorded, by which the entry was judged together with theirs.
        across_limit: what was admitted of ``truth_max_abs``'s local part there, relative to the
            tap's greatest magnitude: how fine a difference would have been seen.
    """

    cause: str = ""
    origin: str | None = None
    truth_roundings: float | None = None
    truth_roundings_reference: float | None = None
    local_roundings: float | None = None
    local_roundings_reference: float | None = None
    roundings_limit: float | None = None
    truth_max_abs: float | None = None
    local_max_abs: float | None = None
    inherited_max_abs: float | None = None
    candidate_to_truth: float | None = None
    reference_to_truth: float | None = None
    amplification: float | None = None
    decisions: Mapping[str, int] = field(default_factory=dict)
    across: tuple[str, ...] = ()
    across_limit: float | None = None


@dataclass(frozen=True)
class TapResult(Split):
    """One tap, loss term or gradient, compared.

    ``max_abs`` is the greatest |candidate - reference|, found at index ``at`` where the two sides
    hold ``reference`` and ``candidate``; ``scale`` is the reference's greatest magnitude;
    ``rms_rel`` is the RMS of the difference over the RMS of the reference; ``limit`` is what
    ``max_abs / scale`` was held against; ``mismatched`` of ``size`` elements lie beyond it;
    ``pinned_max_rel`` is ``max_rel`` again with the candidate run on the reference's pixel
    decisions, where that was done. Numbers are None where nothing could be computed (a missing
    tap, shapes that differ).
    """

    tap: str
    order: int
    status: Status
    shape: tuple[int, ...]
    dtype: str
    size: int = 0
    mismatched: int = 0
    max_abs: float | None = None
    at: tuple[int, ...] | None = None
    reference: float | None = None
    candidate: float | None = None
    scale: float | None = None
    max_rel: float | None = None
    rms_rel: float | None = None
    limit: float | None = None
    pinned_max_rel: float | None = None
    note: str = ""
    layers: tuple[str, ...] = ()
    """Of a gradient judged layer by layer, whose way back it is: see ``parity.oracle.backward``."""

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``report.json``, its own fields before those of the split."""
        split = {each.name for each in fields(Split)}
        return dict(sorted(vars(self).items(), key=lambda entry: entry[0] in split))


@dataclass(frozen=True)
class Flip:
    """A discrete pixel decision that the two sides took differently.

    ``row`` is the vertex (coarse) or hypothesis row (refine) of ``tap``, ``view`` the view,
    ``axis`` "h" or "w"; ``reference`` and ``candidate`` are the cells chosen; ``pixel`` is the
    coordinate computed in float64 from the reference's own vertex, in pixels of the 224 image;
    ``margin`` its distance to the boundary crossed and ``rounding`` how far the two sides'
    coordinates may lie from it: the greatest error that the precision can make on each side, and
    the distance that the vertices themselves had already moved apart. All are in pixels; a flip
    with ``margin <= rounding`` is a tie.
    """

    tap: str
    row: int
    view: int
    axis: str
    reference: str
    candidate: str
    pixel: float
    margin: float
    rounding: float

    @property
    def tie(self) -> bool:
        return self.margin <= self.rounding


@dataclass(frozen=True)
class Side:
    """Where one side of a comparison came from, read from its trace's root attributes."""

    path: str
    backend: str
    dtype: str
    device: str
    weights_sha256: str
    inputs_sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The whole result for one stage.

    ``missing`` taps stand in one trace only, ``not_requested`` ones were left out of both by
    ``--taps``, ``unmatched`` ones are declared absent, with a reason: they do not make the verdict
    invalid, and what follows is judged across them. ``flips``
    lists at most a thousand of the ``flip_count`` pixel decisions that differ.
    """

    stage: str
    verdict: Verdict
    first_divergence: str | None
    taps: tuple[TapResult, ...]
    losses: tuple[TapResult, ...]
    gradients: tuple[TapResult, ...]
    missing: tuple[str, ...]
    not_requested: tuple[str, ...]
    unmatched: Mapping[str, str]
    flips: tuple[Flip, ...]
    flip_count: int
    notes: tuple[str, ...]
    reference: Side
    candidate: Side
    basis: str = "limit"
    """What the verdict rests on: "truth", float64 runs and rounding bounds, or a fixed "limit"."""
    coverage: Any = None
    """What was really exercised: see ``parity.verdict.coverage``."""
    diagnosis: Any = None
    """What the first divergence points to: see ``parity.diagnosis``."""
    diagnoses: tuple[Any, ...] = ()
    """The same for the first divergence of each kind of layer, in order."""
    steps: tuple[TapResult, ...] = ()
    step_summaries: tuple[Any, ...] = ()
    """Training steps, where they were compared: see ``parity.training.steps``."""
    gradient_precision: Any = None
    """Of float32 gradients, where it was measured: see ``parity.training.gradient_precision``."""

    @property
    def compared(self) -> int:
        """Taps whose values were held against each other."""
        return sum(tap.max_abs is not None for tap in self.taps)

    @property
    def entries(self) -> tuple[TapResult, ...]:
        """Taps, then losses, then gradients, then training steps."""
        return self.taps + self.losses + self.gradients + self.steps

    def to_json(self) -> dict[str, Any]:
        """The value written to ``report.json`` (see the contract, schema p2m-parity-report/1)."""
        plain = {
            "schema": REPORT_SCHEMA,
            "stage": self.stage,
            "verdict": self.verdict,
            "basis": self.basis,
            "first_divergence": self.first_divergence,
            "compared": self.compared,
            "missing": self.missing,
            "not_requested": self.not_requested,
            "unmatched": self.unmatched,
            "taps": [tap.to_json() for tap in self.taps],
            "losses": [tap.to_json() for tap in self.losses],
            "gradients": [tap.to_json() for tap in self.gradients],
            "steps": [tap.to_json() for tap in self.steps],
            "step_summaries": [vars(step) for step in self.step_summaries],
            "gradient_precision": self.gradient_precision and self.gradient_precision.to_json(),
            "coverage": self.coverage,
            "diagnosis": self.diagnosis and vars(self.diagnosis),
            "diagnoses": [vars(each) for each in self.diagnoses],
            "flip_count": self.flip_count,
            "flips": [{**vars(flip), "tie": flip.tie} for flip in self.flips],
            "notes": self.notes,
            "reference": vars(self.reference),
            "candidate": vars(self.candidate),
        }
        value: dict[str, Any] = jsonable(plain)
        return value


def jsonable(value: Any) -> Any:
    """``value`` in JSON's own types, NaN and the infinities as strings."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if value in (float("inf"), float("-inf")):
            return "inf" if value > 0 else "-inf"
        return value
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    return value
