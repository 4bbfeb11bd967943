"""The rules of the primitives, one table of them; see ``docs/verdict.md``."""

from parity.oracle.primitives import (  # noqa: F401 - importing enters the rules into the table
    arithmetic,
    decisions,
    elementwise,
    interpolation,
    movement,
    narrow,
    neighbours,
    products,
    reductions,
)
from parity.oracle.primitives.rule import RULES, Border, Mistake, Primitive, State

__all__ = ["RULES", "Border", "Mistake", "Primitive", "State"]
