"""Which layer computes which tap, and how far a run's tap is from it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from network.kinds import Kind, kind_of
from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.layers import pointwise
from parity.oracle.layers.carried import Layer, carried
from parity.oracle.layers.convolution import graph_convolution, image_convolution, local_convolution
from parity.oracle.layers.reading import Decided, Read, projection
from parity.oracle.layers.rounding import Evaluated


@dataclass(frozen=True, eq=False)
class Local:
    """What a layer itself added to the error of its tap, its recorded inputs taken as right.

    Attributes:
        value: the layer's exact output on the run's own inputs.
        error: the run's output minus it; 0 where both are the same infinity or NaN, infinite where
            only one is.
        limit: what rounding may make of ``error`` (see ``layers.rounding``).
        decided: rows of a projection that were decided otherwise than nominally.
        open_rows: rows of a projection about which nothing can be said.
    """

    value: np.ndarray
    error: np.ndarray
    limit: np.ndarray
    decided: tuple[Decided, ...] = ()
    open_rows: int = 0

    def share(self) -> np.ndarray:
        """|error| over ``limit``: more than 1 is no rounding, nor is any error where it is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.abs(self.error) / self.limit
        return np.where(self.error == 0, 0.0, np.where(np.isnan(share), np.inf, share))

    @property
    def worst(self) -> float:
        """The greatest |error| over its limit: more than 1 is no rounding."""
        return share_of(self.error, self.limit)


def share_of(error: np.ndarray, limit: np.ndarray) -> float:
    """The greatest |error| over its limit: 0 where it is 0 whatever the limit, infinite for NaN."""
    error = np.abs(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = error / limit
        if (error <= limit).all():
            # What is not a number here is 0 over 0, or infinite over infinite.
            return float(np.fmax.reduce(ratio, axis=None, initial=0.0))
    ratio = np.where(error == 0, 0.0, ratio)
    return float(np.where(np.isnan(ratio), np.inf, ratio).max())


def difference_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The float64 difference a − b: 0 for the same infinity or NaN on both sides, else infinite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        away = a - b
    if np.isfinite(away).all():
        return away
    alike = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(alike, 0.0, np.where(np.isfinite(away), away, np.inf))


_LAYERS: dict[Kind, Layer] = {
    Kind.IMAGE_CONVOLUTION: image_convolution,
    Kind.CONCATENATION: pointwise.concatenation,
    Kind.UNPOOLING: pointwise.unpooling,
    Kind.GRAPH_CONVOLUTION: graph_convolution,
    Kind.HALVED_SUM: pointwise.halved_sum,
    Kind.HYPOTHESES: pointwise.hypotheses,
    Kind.LOCAL_CONVOLUTION: local_convolution,
    Kind.PLAIN_SUM: pointwise.plain_sum,
    Kind.SOFTMAX: pointwise.softmax,
    Kind.MOVED: pointwise.moved,
}


def layer_of(row: TapRow) -> Layer | None:
    """The function of a tap's layer; None for projections, which need to know the run's output."""
    return _LAYERS.get(kind_of(row))


def evaluate(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    context: Context,
    observed: np.ndarray | None,
    dtype: str,
    errors: Mapping[str, np.ndarray] | None = None,
) -> tuple[Evaluated, np.ndarray]:
    """The layer's exact output on ``parents``, float64, and how far a run's may be from it.

    Args:
        row: the tap.
        parents: the run's own values of ``row.parents``.
        context: weights, cameras and graphs, float32 values.
        observed: the run's tap, which settles close decisions; None where it is not known, and the
            bound of such a row then takes in all that is admissible.
        dtype: the precision that the run was asked for.
        errors: bounds, by input, on how far the run's own inputs may be from those given.
    """
    inputs = [np.asarray(parents[name], dtype=np.float64) for name in row.parents]
    errors = errors or {}
    layer = layer_of(row)
    with np.errstate(invalid="ignore", over="ignore"):
        if layer is None:
            off = [errors.get(name) for name in row.parents]
            exact: Evaluated = projection(row, inputs, context, observed, dtype, errors=off)
        else:
            exact = layer(row, inputs, context)
        limit = exact.limit(row.stage, dtype)
        if errors and layer is not None:
            whole = [
                errors.get(name, np.zeros_like(each))
                for name, each in zip(row.parents, inputs, strict=True)
            ]
            limit = limit + carried(layer, row, whole, exact, context, dtype)
            # What has no bound is infinite times a weight of 0.
            limit = np.where(np.isnan(limit), np.inf, limit)
    return exact, limit


def local_error(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    context: Context,
    observed: np.ndarray,
    dtype: str,
    errors: Mapping[str, np.ndarray] | None = None,
) -> Local:
    """What ``observed``, the tap of a run in ``dtype``, has of its own; see ``evaluate``."""
    observed = np.asarray(observed, np.float64)
    exact, limit = evaluate(row, parents, context, observed, dtype, errors)
    error = difference_of(observed.reshape(exact.value.shape), exact.value)
    if isinstance(exact, Read):
        return Local(exact.value, error, limit, exact.decided, exact.open_rows)
    return Local(exact.value, error, limit)
