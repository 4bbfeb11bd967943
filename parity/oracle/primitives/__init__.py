"""The rules of the primitives, one table of them; see ``docs/verdict.md``."""

from parity.oracle.primitives import (  # noqa: F401 - importing enters the rules into the table
    arithmetic,
    decisions,
    functions,
    indexing,
    interpolation,
    joining,
    movement,
    narrow,
    neighbours,
    piecewise,
    products,
    reductions,
)
from parity.oracle.primitives.rule import RULES, Border, Mistake, Primitive, State

__all__ = ["RULES", "Border", "Mistake", "Primitive", "State"]
