"""Floating-point types by the bits of their significands, and the two that are judged."""

OWN, FLOAT64 = "own", "float64"
"""The precision that a run was asked for, and the other."""

PRECISION = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of the significand, by which one precision is lower than another."""

TELLING = 5
"""Bits that values of a narrower type need at least: of 20 random ones in bfloat16 one needs 8 but
for a chance in a million; ones, halves and sixes need less."""


def precision_named(bits: int) -> str:
    """The floating-point type with a significand of so many bits, in words where none has."""
    named = {number: dtype for dtype, number in PRECISION.items()}
    return named.get(bits, f"{bits}-bit floating point" if bits else "integer")


def narrower(own: int, other: int, asked: str) -> str:
    """The type that values need no more than, where that is lower than asked for; else "".

    ``own`` and ``other`` are the bits of significand that the values need, and those of the other
    side: numbers such as ones are short on both. Where a function saturates one side may have 1
    and the other its neighbour: values of a few bits are no sign of a type.
    """
    fits = [
        dtype for dtype, held in PRECISION.items()
        if TELLING <= own <= held < min(other, PRECISION[asked])
    ]  # fmt: skip
    return min(fits, key=lambda dtype: PRECISION[dtype]) if fits else ""
