"""Backward through layers of a few operations an element."""

import numpy as np
import scipy.sparse as sp

from network.taps import TapRow
from parity.oracle.backward.sums import HandedBack, Sum
from parity.oracle.context import Context

Arrays = list[np.ndarray]


def concatenation(
    _row: TapRow, parents: Arrays, _out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    """Each part gets its columns, which does not round."""
    width = parents[0].shape[1]
    return HandedBack((Sum(gradient[:, :width]), Sum(gradient[:, width:])))


def unpooling(
    _row: TapRow, parents: Arrays, _out: np.ndarray, gradient: np.ndarray, context: Context
) -> HandedBack:
    """A vertex gets its own gradient and half of each new vertex's on its edges."""
    (x,) = parents
    return HandedBack((unpooled(gradient, context.unpooling[0 if len(x) == 156 else 1], len(x)),))


def unpooled(gradient: np.ndarray, pairs: np.ndarray, vertices: int) -> Sum:
    """The gradient (V + E, C) at an unpooled mesh, back at its (V, C) parents."""
    ends, edges = pairs.T.ravel(), np.tile(np.arange(len(pairs)), 2)
    halves = sp.csr_array((np.full(len(ends), 0.5), (ends, edges)), shape=(vertices, len(pairs)))
    own, new = gradient[:vertices], gradient[vertices:]
    degree = int(np.bincount(ends, minlength=vertices).max())
    magnitude = np.abs(own) + halves @ np.abs(new)
    # A halving is exact; the ends of an edge may get theirs one after the other.
    return Sum(own + halves @ new, magnitude, degree + 1)


def halved_sum(
    _row: TapRow, _parents: Arrays, _out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    """A residual of the coarse stage: half to each, exactly."""
    return HandedBack((Sum(0.5 * gradient), Sum(0.5 * gradient)))


def plain_sum(
    _row: TapRow, _parents: Arrays, _out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    """A residual of the refine stage: the same to each."""
    return HandedBack((Sum(gradient), Sum(gradient)))


def hypotheses(
    _row: TapRow, _parents: Arrays, _out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    """A vertex gets the sum over its 43 hypotheses."""
    return HandedBack((Sum(gradient.sum(axis=1), np.abs(gradient).sum(axis=1), len(gradient[0])),))


def softmax(
    _row: TapRow, _parents: Arrays, out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    """s·(g − Σ s·g) over the hypotheses, s being the layer's output."""
    mean = (out * gradient).sum(axis=1, keepdims=True)
    size = (np.abs(out) * np.abs(gradient)).sum(axis=1, keepdims=True)
    count = out.shape[1]
    return HandedBack((Sum(out * (gradient - mean), out * (np.abs(gradient) + size), count + 4),))


def moved(
    _row: TapRow, parents: Arrays, _out: np.ndarray, gradient: np.ndarray, context: Context
) -> HandedBack:
    """A score gets its offset times the vertex's gradient, the old vertex the gradient itself."""
    score = parents[0]
    terms = context.offsets[None] * gradient[:, None]
    by_score = Sum(terms.sum(axis=2, keepdims=True), np.abs(terms).sum(axis=2, keepdims=True), 4)
    assert by_score.value.shape == score.shape
    return HandedBack((by_score, Sum(gradient)))
