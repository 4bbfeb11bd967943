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
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate
from parity.oracle.local import Local, difference_of, layer_inputs
from parity.oracle.number import Number

NEAR = 2.0**-6
"""How far apart two outputs may be in the mean square, relatively, for the bounds of one to do for
both. A few rows that were read from another pixel are more than that apart."""
TIGHT = 0.5
"""Where the first run's errors fill so much of their bound it cannot prove enough alone."""


def beside(
    row: TapRow,
    parents: Mapping[str, Number],
    context: Context,
    observed: np.ndarray,
    dtype: str,
    first: Local,
) -> Local | None:
    """What ``observed`` has of its own, with the bounds of ``first``.

    Args:
        row: the tap.
        parents: the run's own values of ``row.parents``, without bounds of their own.
        context: weights and fixed arrays.
        observed: the run's tap, float64.
        dtype: the precision that the run was asked for.
        first: of the other run in this precision.

    Returns:
        None where the other run's bounds do not serve: a decision was open there, errors that
        always hold stand beside those of sums, or the outputs are not near each other.
    """
    alone = first.alone
    if alone.decided or alone.open_rows or alone.limit is not alone.settled:
        return None
    if not first.worst <= TIGHT or (alone.units is None and alone.unit.any()):
        return None
    arithmetic = replace(arithmetic_of(context.stage, dtype), bounded=False)
    inputs = layer_inputs(row, row.program, parents, context)
    value = evaluate(row.program, inputs, arithmetic, observed).number.value
    apart = np.linalg.norm(difference_of(value, alone.value))
    # Written so that NaN is not near.
    if not apart <= NEAR * np.linalg.norm(alone.value):
        return None
    error = difference_of(observed.reshape(value.shape), value)
    return Local(replace(alone, value=value), error)
