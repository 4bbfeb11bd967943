"""How far a layer can spread the errors of its inputs, element by element.

- A convolution by |W| (and |S_k|), sums and means by themselves: these are linear, and a ReLU makes
  no difference greater.
- The softmax by s_i·(exp(e_i + max_j e_j) − 1), for exponents off by at most e.
- A projection by its running bound, coordinates and maps off by their own errors; see ``reading``.

These hold always. They are far from sharp: each layer loosens them by the factor between |W|·e and
|W·e|.
"""

import math
from collections.abc import Callable

import numpy as np

from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.layers import pointwise
from parity.oracle.layers.convolution import (
    convolved,
    graph_convolution,
    image_convolution,
    local_convolution,
    spread_over,
)
from parity.oracle.layers.rounding import LONGEST_SUM, UNIT_ROUNDOFF, Evaluated, spread

Layer = Callable[[TapRow, list[np.ndarray], Context], Evaluated]
Errors = list[np.ndarray]
Carry = Callable[[TapRow, Errors, Evaluated, Context], np.ndarray]


def carried(
    layer: Layer, row: TapRow, errors: Errors, exact: Evaluated, context: Context, dtype: str
) -> np.ndarray:
    """How far inputs off by ``errors`` may have put a layer's output, of ``exact.value``'s shape.

    Args:
        layer: any but a projection.
        row: its tap.
        errors: a bound for each input, of the input's shape.
        exact: the layer's output on the inputs as given.
        context: weights and graphs.
        dtype: the run's precision.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        found = _CARRY[layer](row, errors, exact, context)
    # The layer's own rounding grows with its inputs, at most as its output does.
    longest = math.sqrt(max(LONGEST_SUM[row.stage], 25 * 256 + 2))
    u = UNIT_ROUNDOFF[dtype] + UNIT_ROUNDOFF["float64"]
    return found.reshape(exact.value.shape) * (1.0 + spread(row.stage) * u * longest)


def _image_convolution(row: TapRow, errors: Errors, _exact: Evaluated, ctx: Context) -> np.ndarray:
    kernel = np.abs(ctx.variables(row)["weight"])
    return convolved(errors[0], kernel, errors[0].shape[1] // row.shape[1])


def _convolution(row: TapRow, errors: Errors, _exact: Evaluated, ctx: Context) -> np.ndarray:
    (error,) = errors
    if row.stage == "refine" and error.ndim == 2:
        error = error.reshape(-1, row.shape[1], error.shape[-1])
    return spread_over(row, error, ctx)


def _halved_sum(_row: TapRow, errors: Errors, _exact: Evaluated, _ctx: Context) -> np.ndarray:
    return 0.5 * (errors[0] + errors[1])


def _plain_sum(_row: TapRow, errors: Errors, _exact: Evaluated, _ctx: Context) -> np.ndarray:
    return np.asarray(errors[0] + errors[1])


def _concatenation(_row: TapRow, errors: Errors, _exact: Evaluated, _ctx: Context) -> np.ndarray:
    return np.concatenate(errors, axis=1)


def _unpooling(row: TapRow, errors: Errors, _exact: Evaluated, ctx: Context) -> np.ndarray:
    return pointwise.unpooling(row, errors, ctx).value


def _hypotheses(_row: TapRow, errors: Errors, exact: Evaluated, _ctx: Context) -> np.ndarray:
    return np.broadcast_to(errors[0][:, None], exact.value.shape)


def _softmax(_row: TapRow, errors: Errors, exact: Evaluated, _ctx: Context) -> np.ndarray:
    (error,) = errors
    return exact.value * np.expm1(error + error.max(axis=1, keepdims=True))


def _moved(_row: TapRow, errors: Errors, _exact: Evaluated, ctx: Context) -> np.ndarray:
    score, mesh = errors
    return np.asarray((score * np.abs(ctx.offsets)).sum(axis=1) + mesh)


_CARRY: dict[Layer, Carry] = {
    image_convolution: _image_convolution,
    graph_convolution: _convolution,
    local_convolution: _convolution,
    pointwise.halved_sum: _halved_sum,
    pointwise.plain_sum: _plain_sum,
    pointwise.concatenation: _concatenation,
    pointwise.unpooling: _unpooling,
    pointwise.hypotheses: _hypotheses,
    pointwise.softmax: _softmax,
    pointwise.moved: _moved,
}
