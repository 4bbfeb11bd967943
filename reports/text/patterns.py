"""What a difference looks like, in words: a hint at its cause, read from the numbers of one tap.

Shares are of the difference's sum of squares. Nothing here judges anything.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOSTLY = 0.9
"""Share from which on a pattern is worth a sentence."""
ALIKE = 1e-4
"""Relative size of a remainder below which two things are called the same."""
_FEW = 0.5  # of all rows or channels: fewer are worth counting


@dataclass
class Sums:
    """What ``describe`` needs of a pass over both sides of a tap, as (rows, channels).

    ``rows`` and ``channels`` hold sums of the signed difference; the squares are of the difference,
    of both sides, and of their product. Elements that are not finite are left out.
    """

    rows: NDArray[np.float64]
    channels: NDArray[np.float64]
    delta: float = 0.0
    reference: float = 0.0
    candidate: float = 0.0
    product: float = 0.0

    def add(self, start: int, r: NDArray[Any], c: NDArray[Any]) -> None:
        """Take in rows from ``start`` on of both sides, (n, channels) each."""
        finite = np.isfinite(r) & np.isfinite(c)
        if not finite.all():
            r, c = np.where(finite, r, 0), np.where(finite, c, 0)
        delta = c - r
        self.rows[start : start + len(r)] += delta.sum(axis=1, dtype=np.float64)
        self.channels += delta.sum(axis=0, dtype=np.float64)
        self.delta += _dot(delta, delta)
        self.reference += _dot(r, r)
        self.candidate += _dot(c, c)
        self.product += _dot(r, c)


def _dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    # Not ``a @ b``: BLAS would start threads for a millisecond's work.
    return float(np.einsum("ij,ij->", a, b, dtype=np.float64))


def describe(
    sums: Sums,
    greatest: NDArray[Any],
    overview: NDArray[Any],
    shape: tuple[int, ...],
    tolerance: float,
    scale: float,
) -> list[str]:
    """Sentences about a tap's difference.

    Args:
        sums: of the whole tap.
        greatest: (rows,) each row's greatest |Δ|; NaN where it was not recorded.
        overview: (bands, channels) greatest |Δ|.
        shape: the tap's.
        tolerance: differences up to this are none.
        scale: the reference's greatest magnitude.
    """
    if not sums.delta or not (greatest > tolerance).any():
        return []
    found = [_where(greatest, overview, shape, tolerance, scale)]
    found += _scaled(sums)
    channels = len(sums.channels)
    rows = len(sums.rows)
    by_channel = float((sums.channels**2).sum()) / rows / sums.delta
    by_row = float((sums.rows**2).sum()) / channels / sums.delta
    if rows > 1 and by_channel > MOSTLY:
        found.append(
            f"{by_channel:.0%} of it is the same in all rows of a channel, as a bias or a factor "
            "of the channel makes it"
        )
    if channels > 1 and by_row > MOSTLY:
        found.append(f"{by_row:.0%} of it is the same in all channels of a row")
    if len(shape) == 4 and shape[1] > 8 and shape[2] > 8:
        found += _border(greatest.reshape(shape[:3]), tolerance)
    return found


def _where(
    greatest: NDArray[Any],
    overview: NDArray[Any],
    shape: tuple[int, ...],
    tolerance: float,
    scale: float,
) -> str:
    noun = {4: "pixels", 2: "rows"}.get(len(shape), "rows")
    rows, channels = (
        (int(np.count_nonzero(values > tolerance)), int(np.count_nonzero(~np.isnan(values))))
        for values in (greatest, overview.max(axis=0))
    )
    text = f"{rows[0]:,} of {rows[1]:,} {noun} and {channels[0]:,} of {channels[1]:,} channels"
    share = f"{tolerance / scale:.0e} of the greatest magnitude" if scale else f"{tolerance:.0e}"
    text += f" hold differences beyond {share}"
    if rows[0] < _FEW * rows[1] and channels[0] > _FEW * channels[1]:
        text += f": few {noun}, there in most channels, as a wrong place or border makes it"
    if channels[0] < _FEW * channels[1] and rows[0] > _FEW * rows[1]:
        text += f": few channels, there in most {noun}"
    return text


def _scaled(sums: Sums) -> Sequence[str]:
    """Whether the candidate is the reference times one number."""
    if not sums.reference or not sums.candidate:
        side = "reference" if not sums.reference else "candidate"
        return [f"the {side} is zero everywhere"]
    factor = sums.product / sums.reference
    left = math.sqrt(max(0.0, sums.candidate - factor * sums.product) / sums.candidate)
    if left < ALIKE and abs(factor - 1) > ALIKE:
        return [f"the candidate is {factor:.6g} times the reference, to within {left:.1e} of it"]
    return []


def _border(greatest: NDArray[Any], tolerance: float) -> Sequence[str]:
    """Whether a map's (views, H, W) differences lie at its border, or are greatest there."""
    beyond = greatest > tolerance
    height, width = beyond.shape[1:]
    inner = beyond[:, 1:-1, 1:-1]
    if not inner.any():
        sides = [
            name
            for name, part in (
                ("top", beyond[:, 0]),
                ("bottom", beyond[:, -1]),
                ("left", beyond[:, :, 0]),
                ("right", beyond[:, :, -1]),
            )
            if np.count_nonzero(part) > part.size // 2
        ]
        return [f"only pixels of the border differ ({', '.join(sides) or 'single ones'})"]
    edges = np.concatenate(
        [greatest[:, 0], greatest[:, -1], greatest[:, :, 0], greatest[:, :, -1]], axis=1
    )
    middle = greatest[:, height // 8 : -(height // 8), width // 8 : -(width // 8)]
    outside, inside = float(np.median(edges)), float(np.median(middle))
    if outside > tolerance and outside > 3 * inside:
        return ["the border differs more than the rest, as another padding makes it"]
    return []
