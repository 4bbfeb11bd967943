"""What the parts of a tap have shown so far, and what follows from it."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from network.taps import TapRow
from parity.oracle.layers.evaluate import Local, layer_of
from parity.verdict.result import Status


@dataclass(eq=False)
class Found:
    """What the parts of a tap have shown so far; see ``parity.verdict.judgement.TapJudge``."""

    function: float = 0.0
    precision: float = 0.0
    flipped: int = 0
    open_rows: int = 0
    finest: float = 0.0
    scale: float = 0.0
    beyond_true: int = 0
    beyond_own: int = 0
    bits: tuple[int, ...] = (0, 0)
    identical: bool = True
    beyond: bool = False
    squares: float = 0.0
    away: float = 0.0
    inherited: float = 0.0
    decisions: Counter[str] = field(default_factory=Counter)
    top: dict[str, float] = field(default_factory=dict)

    def raise_to(self, name: str, value: float) -> None:
        self.top[name] = max(self.top.get(name, 0.0), value)


def status_of(found: Found, origin: str | None, narrow: bool) -> tuple[Status, str]:
    """The status and the cause of a tap that inherits from ``origin``."""
    # Written so that NaN differs.
    if not found.function <= 1:
        return Status.DIFFER, "function"
    if narrow or not found.precision <= 1:
        return Status.DIFFER, "precision"
    if found.flipped:
        return Status.FLIP, ""
    if found.identical:
        return Status.AGREE, ""
    return (Status.INHERITED if origin is not None and found.beyond else Status.ROUNDING), ""


def otherwise(first: Local, second: Local) -> int:
    """Rows of a projection that the two runs decided differently."""
    ours = {each.row: each.choices for each in first.decided}
    theirs = {each.row: each.choices for each in second.decided}
    return sum(ours.get(row) != theirs.get(row) for row in ours.keys() | theirs.keys())


def count_decisions(
    row: TapRow, r: np.ndarray, c: np.ndarray, reach: np.ndarray, pixels: int, found: Found
) -> None:
    """Signs of ReLUs, and rows of pixels, that the two runs decided differently.

    A sign is a tie where both values are within what rounding and inheritance explain; pixels were
    found to be ties when the layer was evaluated, or the tap differs.
    """
    if layer_of(row) is None:
        found.decisions.update({"pixels": pixels, "ties": pixels})
    elif row.name.startswith("cnn.") or ".localgconv" in row.name:
        signs = (r > 0) != (c > 0)
        ties = signs & (np.maximum(r, c) <= reach)
        found.decisions.update({"signs": int(signs.sum()), "ties": int(ties.sum())})


def finite(values: np.ndarray) -> float:
    """The greatest finite magnitude."""
    magnitudes = np.abs(np.asarray(values, np.float64))
    return float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def greatest(difference: np.ndarray) -> float:
    """The greatest magnitude."""
    return float(np.abs(difference).max(initial=0.0))


def squares_of(values: np.ndarray) -> float:
    """The sum of the squares of the finite values."""
    flat = values.ravel()
    finite = flat if np.isfinite(flat).all() else flat[np.isfinite(flat)]
    return float(np.einsum("i,i->", finite, finite))
