"""Results written down, and rounding them to a narrower type, as many ports do and no layer."""

from collections.abc import Iterator, Sequence

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, rule

NARROWER = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "TF32": 2.0**-11}
"""Unit roundoffs of the types that precision is lost to."""


def narrowed(value: np.ndarray, kind: str) -> np.ndarray:
    """Float64 numbers rounded to a narrower type and widened again.

    TF32 keeps a float32's exponent and ten bits, halves away from zero; the others round to the
    nearest, halves to even. What is too great for float16 becomes infinite.
    """
    if kind == "float16":
        with np.errstate(over="ignore"):
            # By way of float32, as frameworks do it.
            return value.astype(np.float32).astype(np.float16).astype(np.float64)
    bits = value.astype(np.float32).view(np.uint32)
    if kind == "TF32":
        bits = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    else:
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        bits = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    found = bits.view(np.float32).astype(np.float64)
    return np.where(np.isfinite(value), found, value)


@rule
class Narrow(Primitive):
    """A value rounded to a narrower type.

    A computed number is rounded like the exact one unless a border between two narrow numbers lies
    within its error, and only there the bound has room for the one beside.
    """

    name = "narrow"
    term = "precision"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = (state.arithmetic.close(each) for each in operands)
        kind, error = settings["kind"], np.zeros(x.value.shape) + x.error
        with np.errstate(invalid="ignore"):
            room = narrowed(x.value + error, kind) - narrowed(x.value - error, kind)
            return Number(narrowed(x.value, kind), np.abs(room), undecided=x.undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient]


@rule
class Materialise(Primitive):
    """The value, as an intermediate result that is written down before anything goes on from it.

    Its sum is closed here, so that what follows is not charged with its roundings once more. A
    program says so where every implementation computes the intermediate result.
    """

    name = "materialise"
    term = "precision"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        for kind in NARROWER:
            yield Mistake(
                f"an intermediate result rounded to {kind}",
                lambda x, kind=kind: call("narrow", x[0], kind=kind),  # type: ignore[misc]
                operand="precision",
            )

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return state.arithmetic.close(operands[0])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient]
