"""Which precision a run's arithmetic had, from its errors or its values."""

import math

import numpy as np

from parity.diagnosis.variant import NARROWER, narrowed

CAST = 0.43 * math.sqrt(2.0) * math.pi / 2.0
"""RMS error of a sum whose terms' two factors were each rounded once, over u·Σ|terms|/√n.

A relative rounding error, uniform within half a unit in the last place with the significand
log-uniform between 1 and 2, has RMS u·√((1 − ¼)/(6·ln 2)) = 0.43 u; a term has two of them; and n
products of normal numbers have √(Σ t²) = (π/2)·Σ|t|/√n.
"""


def name_precision(
    errors: np.ndarray, units: np.ndarray, terms: float = 1.0, values: np.ndarray | None = None
) -> str | None:
    """The type whose unit roundoff is nearest to the one that a float32 run's errors show.

    Two regimes are told apart by size alone: a cast of the factors of sums of ``terms`` products
    errs by ``CAST`` · u · Σ|terms| / √n, and u is solved for. Float32's own accumulation, which
    errs by more roundings than that, is 13 bits away from the next type. Float16 and TF32 have the
    same unit roundoff; ``values`` tells them apart: float16's results are float16 numbers.

    Args:
        errors: of a tap, absolute.
        units: a standard rounding of the same elements for unit roundoff 1, √n·Σ|terms|, as
            ``Evaluated.unit``.
        terms: n.
        values: the tap, where at hand.

    Returns:
        "bfloat16", "float16", "TF32", "float32", "float16 or TF32"; None where there is no error,
        or one greater than bfloat16's.
    """
    finite = np.isfinite(errors) & np.isfinite(units) & (units > 0)
    if not finite.any():
        return None
    size = float(np.sqrt(np.mean(np.square(errors[finite] / units[finite]))))
    roundoff = size * terms / CAST
    if roundoff == 0.0:
        return None
    bits = -math.log2(roundoff)
    # Borders lie half-way, in bits, between the types' 8, 11 and 24; as much beyond bfloat16's.
    if bits < 6.5:
        return None
    if bits < 9.5:
        return "bfloat16"
    if bits >= 17.5:
        return "float32"
    if values is None:
        return "float16 or TF32"
    return "float16" if representable(values) == "float16" else "TF32"


def representable(values: np.ndarray) -> str | None:
    """The narrowest of bfloat16, float16 and TF32 that holds all values; None if none does.

    Zeros and what is not finite count for nothing, and fewer than a hundred other values prove
    nothing.
    """
    counted = values[np.isfinite(values) & (values != 0)]
    if counted.size < 100:
        return None
    for kind in sorted(NARROWER, key=lambda name: -NARROWER[name]):
        if np.array_equal(narrowed(counted, kind), counted):
            return kind
    return None
