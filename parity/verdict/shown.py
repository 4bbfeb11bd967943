"""What two runs show of a part of a tap, gone through a few rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from network.taps import TapRow
from parity.oracle.beside import Beside
from parity.oracle.local import Layer, Local, difference_of
from parity.verdict.findings import Findings, Spread, finite, greatest
from parity.verdict.measure import Measured
from parity.verdict.precision import FLOAT64


@dataclass(frozen=True, eq=False)
class Seen:
    """What two runs have of a part of a tap.

    Attributes:
        row: the tap.
        which: the precision, ``OWN`` or ``FLOAT64``.
        dtypes: the precisions that the runs were asked for, the reference's first.
        start: the flat index of the part's first element.
        sides: the reference's values and the candidate's, float64.
        exact: the reference's in float64, where both are held against it.
        apart: whether it is to be told how far the two are apart.
        across: whether taps before this one were not recorded.
    """

    row: TapRow
    which: str
    dtypes: tuple[str, str]
    start: int
    sides: tuple[np.ndarray, np.ndarray]
    exact: np.ndarray | None
    apart: bool
    across: bool


@dataclass(frozen=True, eq=False)
class Shown:
    """What a part of a tap shows: of its layers, of the two runs, of their values."""

    findings: Findings
    spread: Spread = field(default_factory=Spread)
    measured: Measured = field(default_factory=Measured)


def show(
    seen: Seen, first: Layer, second: Layer | Beside, findings: Findings, confidence: float
) -> Shown:
    """Hold the reference's layer and the candidate's against what the two runs have.

    Args:
        seen: what they have.
        first: the reference's layer.
        second: the candidate's; the same where all that the two read and made is.
        findings: takes what is found.
        confidence: λ.
    """
    shown = Shown(findings)
    r, c = (side.ravel() for side in seen.sides)
    exact = None if seen.exact is None else seen.exact.ravel()
    start = 0
    for ours, theirs in _locals(first, second):
        rows = slice(start, start + ours.value.size)
        pair = r[rows], c[rows]
        # Across a gap the shapes of errors are those of bounds, and say nothing of a mean.
        findings.add(ours, theirs, pair, confidence, squares=not seen.across)
        if seen.across:
            finest = greatest(ours.alone.settled + theirs.alone.settled)
            findings.finest = max(findings.finest, finest)
            findings.scale = max(findings.scale, finite(pair[0]))
        if seen.apart:
            shown.spread.add(seen.row, ours, theirs, pair, seen.dtypes)
            shown.measured.add(seen.start + start, *pair)
        if seen.which == FLOAT64:
            findings.raise_to("difference", greatest(difference_of(pair[1], pair[0])))
        if exact is not None:
            findings.raise_to("candidate", greatest(difference_of(pair[1], exact[rows])))
            findings.raise_to("reference", greatest(difference_of(pair[0], exact[rows])))
        start = rows.stop
    return shown


def _locals(first: Layer, second: Layer | Beside) -> Iterator[tuple[Local, Local]]:
    """What either run added to its error, block by block."""
    for rows in first.blocks():
        ours = first.local(rows)
        if second is first:
            yield ours, ours
        elif isinstance(second, Beside):
            yield ours, second.local(rows, ours)
        else:
            yield ours, second.local(rows)
