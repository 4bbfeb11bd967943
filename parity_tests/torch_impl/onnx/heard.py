"""What runs tell, kept, and held against each other."""

from collections.abc import Callable

import numpy as np

STAGES = ("coarse", "refine")
LIMIT = 3e-5
"""Greatest difference from torch, relative to a tap's greatest magnitude: three times the worst
measured."""


class Kept:
    """A listener that keeps what it hears, in order."""

    def __init__(self, wants: Callable[[str], bool] = lambda _: True) -> None:
        self.wants = wants
        self.taps: dict[str, np.ndarray] = {}
        self.order: list[str] = []

    def __call__(self, tap: str, value: np.ndarray) -> None:
        self.taps[tap] = value
        self.order.append(tap)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float32
    difference = np.abs(found.astype(np.float64) - expected)
    assert (difference <= LIMIT * np.abs(expected).max()).all(), difference.max()
