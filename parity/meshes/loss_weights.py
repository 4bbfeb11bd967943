"""How the columns of a loss table add up to its row "All", and whether a given table's do.

A table's chamfer is multiplied by its weight already, as in the paper's Table 1; the other terms
are not. So All = Chamfer + w_normal · Normal + w_edge · Edge + w_laplace · Laplace.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inputs.cameras import OBJECT_TO_WORLD
from inputs.files import read_text, shown
from network.losses import LOSSES
from weight_conversion.errors import InputError

TERMS = ("chamfer", "edge", "normal", "laplace")
"""The terms of a table, in the order of the paper's Table 1."""

_BACKWARD = LOSSES["coarse"].backward
_DIAGONAL = OBJECT_TO_WORLD  # of every object, whose own diagonal is one unit, in the network's
_FAR = 0.25  # of the diagonal; the untouched ellipsoid is about 0.2 from an airplane
_TABLE = "a row of names, then rows chamfer, edge, normal, laplace, all (.csv)"


@dataclass(frozen=True)
class TableWeights:
    """What each term is multiplied by in "All"; 0 leaves a term out."""

    name: str
    chamfer: float
    edge: float
    normal: float
    laplace: float

    def of(self, term: str) -> float:
        return float(getattr(self, term))

    @property
    def formula(self) -> str:
        """All in words, "All = Chamfer + 359·Edge + 0.5·Normal"."""
        parts = ["Chamfer"]
        parts += [f"{self.of(t):g}·{t.capitalize()}" for t in TERMS[1:] if self.of(t)]
        return f"All = {' + '.join(parts)}"

    def total(self, values: Mapping[str, float | None]) -> float | None:
        """All from unweighted terms; None where a term that counts is missing."""
        return None if self.lacking(values) else self.partial(values)

    def lacking(self, values: Mapping[str, float | None]) -> tuple[str, ...]:
        """The terms that count and are missing."""
        return tuple(t for t in TERMS if self.of(t) and values.get(t) is None)

    def partial(self, values: Mapping[str, float | None]) -> float:
        """The weighted sum of the terms that are there."""
        return sum(self.of(term) * (values.get(term) or 0.0) for term in TERMS)


PRESETS = {
    # Table 1 leaves the Laplace term out; equation 7 has it.
    "paper": TableWeights("paper", 3000.0, 359.0, 0.5, 0.0),
    "equation": TableWeights("equation", 3000.0, 359.0, 0.5, 1500.0),
    **{
        stage: TableWeights(stage, each.chamfer, each.edge, each.normal, each.laplace)
        for stage, each in LOSSES.items()
    },
}
"""The paper's Table 1 and its equation 7, and one block's terms in the official graphs."""


def parse_weights(text: str) -> TableWeights:
    """A preset's name, or ``chamfer=3000,edge=359,normal=0.5``; terms not named are left out.

    Raises:
        InputError: neither, or a weight that is no finite number from 0 on, chamfer's above 0.
    """
    expected = f"one of {', '.join(PRESETS)}, or e.g. chamfer=3000,edge=359,normal=0.5"
    if text in PRESETS:
        return PRESETS[text]
    found: dict[str, float] = {}
    for part in text.split(","):
        term, equals, value = part.partition("=")
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if term not in TERMS or not equals or term in found or not 0 <= weight < math.inf:
            raise InputError("--all-weights", shown(part), expected)
        found[term] = weight
    if not found.get("chamfer"):
        raise InputError("--all-weights", "no weight for chamfer", expected)
    weights = {term: found.get(term, 0.0) for term in TERMS}
    return TableWeights(text, **weights)


@dataclass(frozen=True)
class Number:
    """A number as a table prints it: its value, and how far rounding may have moved it."""

    value: float
    half: float


@dataclass(frozen=True)
class Claim:
    """One column of a given table: its name, and its rows by term, ``all`` included."""

    name: str
    values: Mapping[str, Number]


@dataclass(frozen=True)
class Check:
    """What recomputing a column's "All" showed.

    Attributes:
        claim: the column.
        recomputed: All from the other rows; None where one that counts is missing.
        tolerance: how far the rounding of all numbers concerned may move it.
        consistent: whether All is what the rows give; None where that cannot be told.
        impossible: why a number cannot be what it claims.
        remarks: what is suspicious, or explains an inconsistency, or could not be checked.
    """

    claim: Claim
    recomputed: float | None
    tolerance: float
    consistent: bool | None
    impossible: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return self.consistent is not False and not self.impossible

    def to_json(self) -> dict[str, Any]:
        return {
            "column": self.claim.name,
            "values": {term: number.value for term, number in self.claim.values.items()},
            "recomputed": self.recomputed,
            "tolerance": self.tolerance,
            "consistent": self.consistent,
            "impossible": self.impossible,
            "remarks": self.remarks,
        }


def check_claim(claim: Claim, weights: TableWeights) -> Check:
    """Hold a column's "All" against its other rows."""
    impossible = [
        f"{term} is {number.value:g}, but no loss is negative"
        for term, number in claim.values.items()
        if number.value < 0
    ]
    normal = claim.values.get("normal")
    if normal is not None and normal.value - normal.half > 1:
        impossible.append(f"normal is {normal.value:g}, but a mean of |cos| is at most 1")
    remarks = _far_chamfer(claim, weights)
    recomputed, tolerance = _recomputed(claim, weights)
    stated = claim.values.get("all")
    consistent: bool | None = None
    missing = [t for t in TERMS if weights.of(t) and t not in claim.values]
    if missing:
        remarks.append(f"All cannot be checked: there is no row {', '.join(missing)}")
    elif stated is None:
        remarks.append("there is no row All to check")
    elif recomputed is not None:
        consistent = _fits(stated.value, recomputed, tolerance)
        if not consistent:
            remarks += _explanations(claim, weights, stated.value)
    return Check(claim, recomputed, tolerance, consistent, tuple(impossible), tuple(remarks))


def _recomputed(
    claim: Claim, weights: TableWeights, chamfer: float = 1.0
) -> tuple[float | None, float]:
    """All, and its tolerance; the chamfer row is multiplied by ``chamfer`` first."""
    factors = {t: chamfer if t == "chamfer" else weights.of(t) for t in TERMS if weights.of(t)}
    if any(term not in claim.values for term in factors):
        return None, 0.0
    numbers = [(factor, claim.values[term]) for term, factor in factors.items()]
    total = sum(factor * number.value for factor, number in numbers)
    tolerance = sum(factor * number.half for factor, number in numbers)
    return total, tolerance + (claim.values["all"].half if "all" in claim.values else 0.0)


def _fits(stated: float, recomputed: float, tolerance: float) -> bool:
    # The sum itself is rounded in float64, which matters where a table prints all digits.
    return abs(stated - recomputed) <= tolerance * (1 + 1e-9) + 1e-12 * abs(recomputed)


def _explanations(claim: Claim, weights: TableWeights, stated: float) -> list[str]:
    """What else the column's All may have been made of."""
    tried = [
        (f"it is {other.formula} (the weights of {name})", other, 1.0)
        for name, other in PRESETS.items()
        if other != weights
    ]
    tried.append(("the chamfer row is not multiplied by its weight yet", weights, weights.chamfer))
    bare = TableWeights("bare", 1.0, 1.0, 1.0, 0.0)
    tried.append(("it is the plain sum of the rows", bare, 1.0))
    tried.append(("it is the chamfer row alone", TableWeights("alone", 1.0, 0.0, 0.0, 0.0), 1.0))
    found = []
    for words, other, factor in tried:
        total, tolerance = _recomputed(claim, other, factor)
        if total is not None and _fits(stated, total, tolerance):
            found.append(f"All would fit if {words}")
    return found


def _far_chamfer(claim: Claim, weights: TableWeights) -> list[str]:
    chamfer = claim.values.get("chamfer")
    if chamfer is None or chamfer.value <= 0:
        return []
    distance = math.sqrt(chamfer.value / weights.chamfer / (1 + _BACKWARD))
    if distance < _FAR * _DIAGONAL:
        return []
    return [
        f"chamfer {chamfer.value:g} is a distance of {distance:.2g} (RMS), "
        f"{distance / _DIAGONAL:.0%} of an object's diagonal: the size of a frame mismatch, as a "
        "mesh that shows the object at all lies nearer"
    ]


def load_claims(path: Path) -> tuple[Claim, ...]:
    """The columns of a table: a CSV file with the rows of the paper's Table 1.

    The first cell of a row names its term: Chamfer (with or without its factor in brackets), Edge,
    Normal, Laplace, All. The rows before are the heading; of several, the cells above each other
    are joined, an empty one meaning the one to its left. Empty cells and dashes are missing values.

    Raises:
        InputError: unreadable, no such rows, a row twice, or a cell that is no number.
    """
    rows = _csv_rows(path)
    terms = [_term(row[0]) for row in rows]
    if not any(terms):
        raise InputError(path, "no row of a loss", _TABLE)
    start = next(number for number, term in enumerate(terms) if term)
    width = max(map(len, rows))
    names = _headings(rows[:start], width)
    values: list[dict[str, Number]] = [{} for _ in range(width - 1)]
    seen: set[str] = set()
    for row, term in zip(rows[start:], terms[start:], strict=True):
        if term is None:
            raise InputError(path, f"a row {shown(row[0])}", _TABLE)
        if term in seen:
            raise InputError(path, f"two rows {term}", "one a term")
        seen.add(term)
        for column, cell in enumerate(row[1:]):
            number = _number(path, cell)
            if number is not None:
                values[column][term] = number
    found = [Claim(name, cells) for name, cells in zip(names, values, strict=True) if cells]
    if not found:
        raise InputError(path, "no numbers", _TABLE)
    return tuple(found)


def _csv_rows(path: Path) -> list[list[str]]:
    text = read_text(path, _TABLE)
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]
    except csv.Error as error:
        raise InputError(path, str(error), _TABLE) from error
    rows = [row for row in rows if any(row)]
    if not rows or max(map(len, rows)) < 2:
        raise InputError(path, "no columns", _TABLE)
    return rows


def _term(cell: str) -> str | None:
    name = re.sub(r"[\[(].*", "", cell).strip().lower()
    return name if name in (*TERMS, "all") else None


def _headings(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    names: list[list[str]] = [[] for _ in range(width - 1)]
    for number, row in enumerate(rows):
        last = ""
        for column in range(1, width):
            cell = row[column] if column < len(row) else ""
            # The lowest heading names single columns; those above it span several.
            last = cell or (last if number < len(rows) - 1 else "")
            names[column - 1] += [last] if last else []
    return [" ".join(parts) or f"column {n}" for n, parts in enumerate(names, start=1)]


def _number(path: Path, cell: str) -> Number | None:
    if cell in ("", "-", "--", "—", "–"):
        return None
    match = re.fullmatch(r"[+-]?(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?", cell, re.ASCII)
    if match is None or not math.isfinite(float(cell)):
        raise InputError(path, f"{shown(cell)} is not a finite number", _TABLE)
    decimals = len(match[2] or "") - int(match[3] or 0)
    return Number(float(cell), 0.5 * 10.0**-decimals)
