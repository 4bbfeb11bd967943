"""How alike two activations are, and two names: what a proposal of a map goes by."""

import re

import numpy as np

from parity.traces.port_map import TRANSPOSED

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
"""How far an element may be off, of itself and of the root mean square: enough to tell layers apart
that have nothing in common; nothing is judged by it."""
AGREEING = 0.9
"""Share of the elements that must: a pixel's decision changes a row."""


def same(value: np.ndarray, given: np.ndarray, tolerance: float) -> bool:
    """Whether two activations are the same but for a few elements; never where nothing varies."""
    given = given.reshape(value.shape) if given.size == value.size else given
    if given.shape != value.shape:
        return False
    scale = np.sqrt(np.nanmean(np.square(value)))
    if not np.isfinite(scale) or constant(value):
        return False
    close = np.abs(given - value) <= tolerance * (np.abs(value) + scale)
    close |= np.isnan(given) & np.isnan(value)
    return all(float(np.mean(each)) > AGREEING for each in (close, close[value != 0]))


def constant(value: np.ndarray) -> bool:
    """Whether an activation is one number throughout."""
    return bool(np.nanstd(value) <= 1e-9 * np.nanmax(np.abs(value)))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two activations; 0 where one of them does not vary."""
    a, b = (each.ravel() - each.mean() for each in (a, b.reshape(a.shape)))
    size = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / size) if size and np.isfinite(size) else 0.0


def named(name: str, wanted: str) -> bool:
    """Whether a dotted name is, or ends in, another one, whatever stands between the words."""
    return f"_{_plain(name.removesuffix(TRANSPOSED))}".endswith(f"_{_plain(wanted)}")


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name)
