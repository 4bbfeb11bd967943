"""Layers of a few operations an element: sums, means, copies, the softmax, the moved vertex."""

import math

import numpy as np

from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.layers.rounding import Evaluated
from parity.oracle.rounding import FUNCTION_ROUNDINGS


def concatenation(_row: TapRow, parents: list[np.ndarray], _context: Context) -> Evaluated:
    """Features and hidden features side by side: a copy, which does not round."""
    value = np.concatenate(parents, axis=1)
    return Evaluated(value, np.zeros(value.shape, np.float32))


def unpooling(_row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """Parents first, copied, then the mean of each edge's ends, rounded once."""
    (x,) = parents
    pairs = context.unpooling[0 if len(x) == 156 else 1]
    means = 0.5 * (x[pairs[:, 0]] + x[pairs[:, 1]])
    unit = np.concatenate([np.zeros_like(x), np.abs(means)])
    # The ends may be halved before they are added, which is exact but for the smallest numbers.
    return Evaluated(np.concatenate([x, means]), unit, unit)


def halved_sum(_row: TapRow, parents: list[np.ndarray], _context: Context) -> Evaluated:
    """A residual of the coarse stage, (x + r)·0.5."""
    value = 0.5 * (parents[0] + parents[1])
    return _rounded_once(value)


def plain_sum(_row: TapRow, parents: list[np.ndarray], _context: Context) -> Evaluated:
    """A residual of the refine stage, x + r."""
    return _rounded_once(parents[0] + parents[1])


def hypotheses(_row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """Every vertex with the 43 offsets added: (V, 43, 3)."""
    return _rounded_once(parents[0][:, None] + context.offsets)


def softmax(_row: TapRow, parents: list[np.ndarray], _context: Context) -> Evaluated:
    """exp(x − max) over its sum, (V, 43, 1).

    The exponent is rounded once, which changes the exponential by |x − max| roundings of itself;
    the function's own error comes on top, the sum's (42 additions) and the division's. The
    denominator errs likewise by the mean of its terms' errors. All are first-order bounds that hold
    always, not only probably.
    """
    (x,) = parents
    away = x - x.max(axis=1, keepdims=True)
    power = np.exp(away)
    total = power.sum(axis=1, keepdims=True)
    value = power / total
    own = np.abs(away) + FUNCTION_ROUNDINGS
    shared = (value * own).sum(axis=1, keepdims=True) + x.shape[1]
    return Evaluated(value, np.zeros_like(value), value * (own + shared + 1.0))


def moved(_row: TapRow, parents: list[np.ndarray], context: Context) -> Evaluated:
    """Σ score·offset + old vertex: (V, 3)."""
    score, mesh = parents
    value = (score * context.offsets).sum(axis=1) + mesh
    magnitude = (np.abs(score) * np.abs(context.offsets)).sum(axis=1) + np.abs(mesh)
    return Evaluated(value, magnitude * math.sqrt(score.shape[1] + 2))


def _rounded_once(value: np.ndarray) -> Evaluated:
    # One rounding is at most u of the result: no probability is needed.
    return Evaluated(value, np.zeros(value.shape, np.float32), np.abs(value))
