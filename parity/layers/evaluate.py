"""Which layer computes which tap, and how far a run's tap is from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from parity.layers import pointwise
from parity.layers.context import Context
from parity.layers.convolution import graph_convolution, image_convolution, local_convolution
from parity.layers.reading import Decided, Read, projection
from parity.layers.rounding import Evaluated
from weight_conversion.taps import TapRow

Layer = Callable[[TapRow, list[np.ndarray], Context], Evaluated]


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
        """The greatest share."""
        return float(self.share().max(initial=0.0))


def layer_of(row: TapRow) -> Layer | None:
    """The function of a tap's layer; None for projections, which need to know the run's output."""
    name, kind = row.name, row.name.rsplit(".", 1)[-1]
    if name.startswith("cnn."):
        return image_convolution
    if name.startswith(("graph_proj", "graph_localproj")) and kind != "concat":
        return None
    if kind == "concat":
        return pointwise.concatenation
    if name.startswith("graph_pool"):
        return pointwise.unpooling
    if kind == "residual":
        return pointwise.halved_sum
    if kind.startswith("residual_"):
        return pointwise.plain_sum
    if name.startswith("graph_sample_hypothesis"):
        return pointwise.hypotheses
    if kind == "score":
        return pointwise.softmax
    if kind.startswith("localgconv_"):
        return local_convolution
    return graph_convolution if row.stage == "coarse" else pointwise.moved


def evaluate(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    context: Context,
    observed: np.ndarray,
    dtype: str,
) -> Evaluated:
    """The layer's exact output on ``parents``, float64; ``observed`` settles close decisions."""
    inputs = [np.asarray(parents[name], dtype=np.float64) for name in row.parents]
    layer = layer_of(row)
    with np.errstate(invalid="ignore", over="ignore"):
        if layer is None:
            return projection(row, inputs, context, observed, dtype)
        return layer(row, inputs, context)


def local_error(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    context: Context,
    observed: np.ndarray,
    dtype: str,
) -> Local:
    """What ``observed``, the tap of a run in ``dtype``, has of its own.

    Args:
        row: the tap.
        parents: the run's own values of ``row.parents``.
        context: weights, cameras and graphs, float32 values.
        observed: the run's tap.
        dtype: the precision that the run was asked for.
    """
    exact = evaluate(row, parents, context, np.asarray(observed, np.float64), dtype)
    seen = np.asarray(observed, dtype=np.float64).reshape(exact.value.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        error = seen - exact.value
        alike = (seen == exact.value) | (np.isnan(seen) & np.isnan(exact.value))
    error = np.where(alike, 0.0, np.where(np.isfinite(error), error, np.inf))
    limit = exact.limit(row.stage, dtype)
    if isinstance(exact, Read):
        return Local(exact.value, error, limit, exact.decided, exact.open_rows)
    return Local(exact.value, error, limit)
