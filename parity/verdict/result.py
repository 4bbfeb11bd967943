"""What a comparison found, apart from how it is shown.

``reports`` and the command line read these objects and never recompute anything, so that text,
CSV, JSON and HTML cannot disagree.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.traces.trace import Side
from parity.verdict.notebook import table_html

if TYPE_CHECKING:
    import pandas

REPORT_SCHEMA = "p2m-parity-report/2"
MOST_SHOWN = 40
"""Entries that a comparison shows of itself in a notebook."""


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
    """What the verdict says of one entry: the parts of a difference.

    Numbers are absolute but where they are called roundings.

    Attributes:
        cause: "function" or "precision" where it differs, or "function or precision" where only the
            run's own precision was there to tell; else "".
        origin: the tap that an inherited difference comes from.
        local_roundings, local_roundings_reference: the greatest local error of the candidate and of
            the reference in the run's own precision, in roundings, of which ``roundings_limit`` (λ)
            are admitted.
        rms_roundings: the root mean square of the differences of local errors, in roundings;
            ``rms_roundings_limit`` is what is admitted of it.
        float64_roundings, float64_roundings_reference, float64_rms_roundings: the same of the runs
            in float64; None where a side has none.
        float64_max_abs: greatest difference of the two float64 runs.
        local_max_abs, inherited_max_abs: the two parts of the difference.
        candidate_to_float64, reference_to_float64: greatest distance of either run from the
            reference's float64 run.
        amplification: RMS of the inherited part relative to the output, over that of the inputs.
        decisions: how many ReLUs or pixels were decided otherwise, and how many of them are ties.
        across: taps that were not recorded, by which the entry was judged together with theirs.
        across_limit: what was admitted of the local part there, relative to the tap's greatest
            magnitude: how fine a difference would have been seen.
    """

    cause: str = ""
    origin: str | None = None
    local_roundings: float | None = None
    local_roundings_reference: float | None = None
    roundings_limit: float | None = None
    rms_roundings: float | None = None
    rms_roundings_limit: float | None = None
    float64_roundings: float | None = None
    float64_roundings_reference: float | None = None
    float64_rms_roundings: float | None = None
    float64_max_abs: float | None = None
    local_max_abs: float | None = None
    inherited_max_abs: float | None = None
    candidate_to_float64: float | None = None
    reference_to_float64: float | None = None
    amplification: float | None = None
    decisions: Mapping[str, int] = field(default_factory=dict)
    across: tuple[str, ...] = ()
    across_limit: float | None = None


@dataclass(frozen=True)
class TapResult(Split):
    """One tap, loss term or gradient, compared.

    ``max_abs`` is the greatest |candidate - reference|, found at index ``at`` where the two sides
    hold ``reference`` and ``candidate``; ``scale`` is the reference's greatest magnitude;
    ``rms_rel`` is the RMS of the difference over the RMS of the reference; the local errors of
    ``mismatched`` of the ``size`` elements that were compared lie beyond rounding. ``limit`` is
    what ``max_abs / scale`` was held against, where an entry was judged as a whole. Numbers are
    None where nothing could be computed (a missing tap, shapes that differ).
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
    note: str = ""
    layers: tuple[str, ...] = ()
    """Of a gradient judged layer by layer, whose backward pass it is."""

    def to_json(self) -> dict[str, Any]:
        """Its entry in ``report.json``, its own fields before those of the split."""
        split = {each.name for each in fields(Split)}
        return dict(sorted(vars(self).items(), key=lambda entry: entry[0] in split))


@dataclass(frozen=True)
class Comparison:
    """The whole result for one stage.

    ``missing`` taps stand in one trace only, ``not_requested`` ones were left out of both by
    ``--taps``, ``unmatched`` ones are declared absent, with a reason: they do not make the verdict
    invalid, and what follows is judged across them. ``basis`` is "float64" where both sides have
    that run, else the precision that was compared.
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
    notes: tuple[str, ...]
    reference: Side
    candidate: Side
    basis: str = "float64"
    vertices: tuple[int, int] | None = None
    """How many vertices the layers were judged at, and of how many; None where at all."""
    coverage: Any = None
    """What was really exercised: see ``parity.verdict.coverage``."""
    diagnosis: Any = None
    """What the first divergence points to: see ``parity.diagnosis``."""
    diagnoses: tuple[Any, ...] = ()
    """The same for the first divergence of each kind of layer, in order."""
    steps: tuple[TapResult, ...] = ()
    step_summaries: tuple[Any, ...] = ()
    """Training steps, where they were compared: see ``parity.training.steps``."""

    @property
    def compared(self) -> int:
        """Taps whose values were held against each other."""
        return sum(tap.max_abs is not None for tap in self.taps)

    @property
    def entries(self) -> tuple[TapResult, ...]:
        """Taps, then losses, then gradients, then training steps."""
        return self.taps + self.losses + self.gradients + self.steps

    def to_frame(self) -> "pandas.DataFrame":
        """A row an entry, in the order of ``entries``; columns are the fields of ``TapResult``.

        ``status`` is a string; a number that could not be computed is missing.
        """
        import pandas

        names = list(TapResult.__dataclass_fields__)
        names.sort(key=lambda name: name in Split.__dataclass_fields__)
        rows = [{**entry.to_json(), "status": entry.status.value} for entry in self.entries]
        return pandas.DataFrame(rows, columns=names)

    def _repr_html_(self) -> str:
        """The verdict, the first divergence, notes, and the entries that are beyond rounding."""
        counts = Counter(entry.status for entry in self.entries)
        counted = ", ".join(f"{counts[each]} {each.value}" for each in Status if counts[each])
        lines = [f"first divergence: {self.first_divergence or 'none'}"]
        if self.diagnosis is not None:
            sure = "confirmed" if self.diagnosis.confirmed else "suspected"
            lines.append(f"{sure} ({self.diagnosis.operand}): {self.diagnosis.explanation}")
        lines += self.notes
        beyond = [e for e in self.entries if e.status not in (Status.AGREE, Status.ROUNDING)]
        rows = [
            (e.tap, e.status.value, e.shape, e.max_abs, e.at, e.reference, e.candidate,
             e.cause or e.origin, e.note)
            for e in beyond[:MOST_SHOWN]
        ]  # fmt: skip
        if len(beyond) > MOST_SHOWN:
            lines.append(f"the first {MOST_SHOWN} of {len(beyond)} entries beyond rounding:")
        heading = (
            "entry", "status", "shape", "max |Δ|", "at", self.reference.backend,
            self.candidate.backend, "cause or origin", "note",
        )  # fmt: skip
        title = f"{self.stage}: {self.verdict.value} ({counted or 'nothing compared'})"
        return table_html(title, lines, heading, rows)

    def to_json(self) -> dict[str, Any]:
        """The value written to ``report.json``, schema ``REPORT_SCHEMA``."""
        plain = {
            "schema": REPORT_SCHEMA,
            "stage": self.stage,
            "verdict": self.verdict,
            "basis": self.basis,
            "vertices": self.vertices,
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
            "coverage": self.coverage,
            "diagnosis": self.diagnosis and vars(self.diagnosis),
            "diagnoses": [vars(each) for each in self.diagnoses],
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
