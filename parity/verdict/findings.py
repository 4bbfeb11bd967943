"""What the parts of a tap show of two runs, added up: the numbers that ``judgement`` judges by."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from network.taps import TapRow
from parity.oracle.local import Local, all_finite, difference_of, share_of, sides_apart
from parity.verdict.mean_square import MeanSquare
from parity.verdict.measure import bits_of
from parity.verdict.precision import PRECISION


@dataclass(eq=False)
class Findings:
    """What the parts of a tap have shown of the two runs in one precision.

    Attributes:
        share: the greatest difference of local errors over what rounding admits.
        reference, candidate: the greatest local error of either side, in roundings.
        mean_square: of the differences of local errors, in roundings.
        beyond: elements beyond the limit.
        open_rows: rows about which nothing can be said.
        unbounded: elements that differ where rounding has no bound.
        flipped: rows that the two sides decided differently, both rightly.
        unheard: elements that are NaN on both sides in float64 alone.
        greatest: magnitudes of differences, by name.
        scale: the reference's greatest finite magnitude.
        finest: the greatest limit, decisions settled.
    """

    mean_square: MeanSquare
    share: float = 0.0
    reference: float = 0.0
    candidate: float = 0.0
    beyond: int = 0
    open_rows: int = 0
    unbounded: int = 0
    flipped: int = 0
    unheard: int = 0
    greatest: dict[str, float] = field(default_factory=dict)
    scale: float = 0.0
    finest: float = 0.0

    @property
    def within(self) -> bool:
        """Whether the two sides' layers agree to rounding; False for NaN."""
        return self.share <= 1 and self.mean_square.within

    @property
    def proved_by_one(self) -> bool:
        """Whether the bounds of one run alone show that the two agree to rounding, by far.

        Both had the same bounds: half of their sum, and half of their variance, is that of one.
        """
        squares = self.mean_square
        return self.share <= 0.5 and bool((squares.squares <= 0.25 * squares.counts).all())

    def raise_to(self, name: str, value: float) -> None:
        self.greatest[name] = max(self.greatest.get(name, 0.0), value)

    def join(self, other: "Findings") -> None:
        """Add another part of the same tap."""
        self.mean_square.join(other.mean_square)
        for name in ("share", "reference", "candidate", "scale", "finest"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for name in ("beyond", "open_rows", "unbounded", "flipped", "unheard"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, value in other.greatest.items():
            self.raise_to(name, value)

    def add(
        self,
        first: Local,
        second: Local,
        seen: tuple[np.ndarray, np.ndarray],
        confidence: float,
        squares: bool,
    ) -> None:
        """Add a part: the difference of the two local errors, held against both limits.

        Args:
            first: the reference's layer.
            second: the candidate's.
            seen: their taps.
            confidence: λ.
            squares: whether the root mean square says anything.
        """
        local, limit = sides_apart([first.error, second.error], seen), first.limit + second.limit
        share = share_of(local, limit)
        self.share = max(self.share, share) if not math.isnan(share) else math.inf
        if not share <= 1:
            self.beyond += int(np.count_nonzero(~(np.abs(local) <= limit) | np.isinf(local)))
        self.reference = max(self.reference, first.roundings(confidence))
        self.candidate = max(self.candidate, second.roundings(confidence))
        self.open_rows += max(first.open_rows, second.open_rows)
        # A sum's limit is as many of its units everywhere, and finite.
        if first.alone.units is None or second.alone.units is None:
            self.unbounded += unbounded(limit, seen)
        self.flipped += otherwise(first, second)
        self.raise_to("local", greatest(local))
        if squares:
            self.mean_square.add(local, first.alone, second.alone)


@dataclass(eq=False)
class Spread:
    """How far the runs in their own precision are apart, whatever made it."""

    identical: bool = True
    beyond: bool = False
    squares: float = 0.0
    away: float = 0.0
    inherited: float = 0.0
    most_inherited: float = 0.0
    bits: tuple[int, ...] = (0, 0)
    decisions: Counter[str] = field(default_factory=Counter)

    def join(self, other: "Spread") -> None:
        """Add another part of the same tap."""
        self.identical &= other.identical
        self.beyond |= other.beyond
        for name in ("squares", "away", "inherited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.most_inherited = max(self.most_inherited, other.most_inherited)
        self.bits = tuple(max(pair) for pair in zip(self.bits, other.bits, strict=True))
        self.decisions.update(other.decisions)

    def add(
        self,
        row: TapRow,
        first: Local,
        second: Local,
        seen: tuple[np.ndarray, np.ndarray],
        dtypes: tuple[str, str],
    ) -> None:
        """Add a part: how far the two runs are apart, and what of it they inherit.

        Args:
            row: the tap.
            first: the reference's layer.
            second: the candidate's.
            seen: their taps.
            dtypes: the precisions that were asked for.
        """
        r, c = (np.asarray(values, np.float64).reshape(first.value.shape) for values in seen)
        limit = first.limit + second.limit
        inherited, difference = difference_of(second.value, first.value), difference_of(c, r)
        apart = np.abs(difference)
        enough = PRECISION[dtypes[0]], PRECISION[dtypes[1]]
        self.bits = tuple(
            most if most >= full else max(most, bits_of(values, full))
            for most, full, values in zip(self.bits, enough, (r, c), strict=True)
        )
        self.identical = self.identical and not np.any(apart)
        self.beyond = self.beyond or not bool((apart <= limit).all())
        self.squares += squares_of(r)
        self.away += squares_of(difference)
        self.inherited += squares_of(inherited)
        self.most_inherited = max(self.most_inherited, greatest(inherited))
        pixels = otherwise(first, second)
        count_decisions(
            row, r, c, lambda some: limit[some] + np.abs(inherited[some]), pixels, self.decisions
        )


def unbounded(limit: np.ndarray, seen: tuple[np.ndarray, np.ndarray]) -> int:
    """How many elements have no finite limit and are not the same on both sides.

    They pass whatever they are: nobody has compared them. As where something is divided by what
    rounding may have made 0.
    """
    if all_finite(limit):
        return 0
    open_ones = ~np.isfinite(limit)
    r, c = (np.asarray(values, np.float64).reshape(limit.shape)[open_ones] for values in seen)
    return int(np.count_nonzero(difference_of(c, r)))


def told_of(unheard: int) -> str:
    """What is to be said of so many elements that are ``unheard``; empty if there are none."""
    if not unheard:
        return ""
    return f"{unheard} elements are NaN on both sides in float64 alone: nothing was compared there"


def otherwise(first: Local, second: Local) -> int:
    """Rows of a projection that the two runs decided differently."""
    ours = {each.row: each.choices for each in first.decided}
    theirs = {each.row: each.choices for each in second.decided}
    return sum(ours.get(row) != theirs.get(row) for row in ours.keys() | theirs.keys())


def count_decisions(
    row: TapRow,
    r: np.ndarray,
    c: np.ndarray,
    reach: Callable[[np.ndarray], np.ndarray],
    pixels: int,
    found: Counter[str],
) -> None:
    """Signs of ReLUs, and rows of pixels, that the two runs decided differently.

    A sign is a tie where both values are within ``reach``, what rounding and inheritance explain
    of some elements; pixels were found to be ties when the layer was evaluated, or the tap differs.
    """
    program = row.program
    if any(node.primitive == "decide" for node in program.nodes):
        found.update({"pixels": pixels, "ties": pixels})
    elif program.nodes[program.outputs["value"]].primitive == "relu":
        signs = (r > 0) != (c > 0)
        ties = np.maximum(r[signs], c[signs]) <= reach(signs)
        found.update({"signs": len(ties), "ties": int(ties.sum())})


def finite(values: np.ndarray) -> float:
    """The greatest finite magnitude."""
    magnitudes = np.abs(np.asarray(values, np.float64))
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def greatest(difference: np.ndarray) -> float:
    """The greatest magnitude."""
    return float(np.maximum(difference.max(initial=0.0), -difference.min(initial=0.0)))


def squares_of(values: np.ndarray) -> float:
    """The sum of the squares of the finite values."""
    flat = values.ravel()
    found = float(np.einsum("i,i->", flat, flat))
    if not math.isfinite(found):
        finite = flat[np.isfinite(flat)]
        found = float(np.einsum("i,i->", finite, finite))
    return found
