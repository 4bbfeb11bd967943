"""What a rule is, and the table of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from network.program import Expression
from parity.oracle.number import Arithmetic, Number
from weight_conversion.errors import InputError

Settings = Mapping[str, Any]


@dataclass(eq=False)
class State:
    """What an evaluation knows beside its numbers.

    Attributes:
        arithmetic: of the precision in question.
        forced: what coordinates are taken to be where a decision is settled: (value, exactly).
        borders: what was found of decisions that rounding may take either way.
        decides: whether the program settles sides of borders by ``decide``.
    """

    arithmetic: Arithmetic
    forced: Mapping[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    borders: "dict[int, Border]" = field(default_factory=dict)
    decides: bool = False
    node: int = 0
    """The node that is being evaluated."""


@dataclass(frozen=True, eq=False)
class Border:
    """Coordinates of one ``decide`` that lie within their error of a border.

    Attributes:
        value, error: of all coordinates; ``low`` and ``high`` bound where they can be.
        near: which of them may fall on either side.
        unbounded: which of them have no useful bound.
        every, at_border: the settings.
    """

    value: np.ndarray
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    near: np.ndarray
    unbounded: np.ndarray
    every: float
    at_border: bool


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Mistake:
    """Something that people get wrong in an operation.

    Attributes:
        change: what is done instead, to be read after "with"; ``{}`` stands for the operand that
            it concerns.
        write: the operation as it is then, of its operands.
        operand: what a diagnosis calls it, where neither the node's role nor the rule's ``term``
            is meant.
        of: which operand it concerns; where that is a variable or a constant, it has the name.
        whole: whether a row of the result may depend on other rows than it should.
        rare: whether it counts only where no usual mistake gives the same.
    """

    change: str
    write: Callable[[Sequence[Expression]], Expression]
    operand: str = ""
    of: int | None = None
    whole: bool = False
    rare: bool = False


HandBack = Callable[[Sequence[Expression], Expression, Expression], Sequence[Expression | None]]
"""What an operation hands back, of its operands, its output and the gradient there."""
WrongVjp = tuple[str, str, HandBack]
"""What a diagnosis calls a wrong backward pass, what is said of it, and it."""


class Primitive:
    """One operation: its value with bounds, its VJP as a program, what people get wrong in it.

    Attributes:
        name: in programs.
        term: what a diagnosis calls a mistake in it, unless its node has a role.
        absence: what it calls it where the operation is left out of a sum; empty for no own name.
    """

    name: str = ""
    term: str = "operation"
    absence: str = ""

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        """The result of numbers, with what rounding and their errors may make of it."""
        raise NotImplementedError

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        """What ``gradient`` at the output is at each operand; None where nothing is handed back."""
        raise NotImplementedError(f"{self.name} hands back no gradient")

    def wrong_vjps(self, settings: Settings) -> Iterator[WrongVjp]:
        """What a port may hand back in place of ``vjp``."""
        yield from ()

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        """What a port may compute in its place, the most usual first.

        Args:
            settings: the node's.
            shapes: of the operands.
        """
        yield from ()


class _Rules(dict[str, "Primitive"]):
    """Rules by name."""

    def __missing__(self, name: str) -> "Primitive":
        raise InputError("primitive", repr(name), f"one of {', '.join(sorted(self))}")


RULES: dict[str, Primitive] = _Rules()
"""The rules by their primitives' names."""


def rule(found: type[Primitive]) -> type[Primitive]:
    """Enter a rule into the table."""
    RULES[found.name] = found()
    return found


class Movement(Primitive):
    """An operation that moves, copies or drops elements: linear, and nothing is rounded."""

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        """The operation on one array; ``others`` are its further operands."""
        raise NotImplementedError

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        first, *others = operands

        def moved(part: Any) -> Any:
            if part is None or isinstance(part, float):
                return part
            if np.ndim(part) == 0:
                return part
            return self.move(settings, np.broadcast_to(part, first.value.shape), *others)

        return Number(
            moved(first.value),
            moved(first.error),
            moved(first.size),
            moved(first.count),
            moved(first.exact),
            moved(first.undecided),
            first.summable,
        )
