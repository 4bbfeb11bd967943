"""A run's layer evaluated beside that of another run on nearly the same inputs.

Of two right runs the inputs of a layer differ by rounding, and so do the bounds on what its own
rounding may do. The second evaluation then gives the value alone and takes the bounds of the first
for its own: they are estimates, good to the relative difference of the two. What a bound is to
prove must then hold with the first run's alone, as if the second had none
(``parity.verdict.findings.Findings.proved_by_one``).
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from network.taps import TapRow
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate
from parity.oracle.local import Alone, Layer, Local, difference_of, layer_inputs
from parity.oracle.number import Number, nothing

NEAR = 2.0**-6
"""How far apart two outputs may be in the mean square, relatively, for the bounds of one to do for
both. A few rows that were read from another pixel are more than that apart."""
TIGHT = 0.5
"""Where the first run's errors fill so much of their bound it cannot prove enough alone."""


class Beside:
    """A second run's layer with the bounds of the first run's, gone through row by row.

    Attributes:
        layer: the second run's, its value alone.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._worst, self._mixed = 0.0, False
        self._apart, self._size = 0.0, 0.0

    def local(self, rows: slice, first: Local) -> Local:
        """What the second run added to the error of its tap.

        Args:
            rows: some of the first layer's ``blocks``, each once.
            first: the first run's of the same rows.
        """
        found = self.layer.local(rows, first.alone)
        self._worst = max(self._worst, first.worst)
        self._mixed = self._mixed or _mixed(first.alone)
        self._apart += _squares(difference_of(found.value, first.value))
        self._size += _squares(first.value)
        return found

    @property
    def serves(self) -> bool:
        """Whether the first run's bounds do for the second, of the rows gone through.

        They do not where errors that always hold stand beside those of sums, where the first run's
        own errors fill too much of them, or where the outputs are not near each other.
        """
        # Written so that NaN is not near.
        near = self._apart <= NEAR * NEAR * self._size
        return bool(near and self._worst <= TIGHT and not self._mixed)


def beside(
    row: TapRow,
    parents: Mapping[str, Number],
    context: Context,
    observed: np.ndarray,
    first: Layer,
) -> Beside | None:
    """What ``observed`` has of its own, to be held against the bounds of ``first``.

    Args:
        row: the tap.
        parents: the run's own values of ``row.parents``, without bounds of their own.
        context: weights and fixed arrays.
        observed: the run's tap, float64.
        first: of the other run, in the same precision.

    Returns:
        None where the other run's bounds do not serve, as where a decision was open there.
    """
    found = first.found
    unknown = found.open_rows is not None and found.open_rows.any()
    if found.decided or unknown or not nothing(found.number.undecided):
        return None
    # Mostly the first few rows tell.
    if _mixed(first.alone(first.blocks()[0])):
        return None
    arithmetic = replace(first.arithmetic, bounded=False)
    inputs = layer_inputs(row, row.program, parents, context)
    value = evaluate(row.program, inputs, arithmetic, observed)
    return Beside(Layer(value, arithmetic, observed))


def _mixed(alone: Alone) -> bool:
    """Whether errors that always hold stand beside those of sums."""
    return alone.units is None and bool(alone.unit.any())


def _squares(values: np.ndarray) -> float:
    flat = values.ravel()
    # Not ``flat @ flat``: BLAS would start threads for a millisecond's work.
    return float(np.einsum("i,i->", flat, flat))
