"""Indexing, transposing, reversing: no roundings; gradients go back where values came from."""

from collections.abc import Iterator, Sequence

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number
from parity.oracle.primitives.rule import (
    Mistake,
    Movement,
    Settings,
    Shape,
    rule,
)

MOST_INDICES = 8
"""Indices tried in place of one."""


@rule
class Index(Movement):
    """NumPy's basic indexing."""

    name = "index"
    term = "index order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        where, (shape,) = settings["where"], shapes
        if Ellipsis in where or any(each is None for each in where):
            return
        for axis, chosen in enumerate(where):
            if isinstance(chosen, int):
                for other in range(min(shape[axis], MOST_INDICES)):
                    if other != chosen % shape[axis]:
                        there = (*where[:axis], other, *where[axis + 1 :])
                        yield Mistake(
                            f"index {other} of axis {axis} instead of {chosen}",
                            lambda x, there=there: x[0][there],  # type: ignore[misc]
                            rare=True,

                        )  # fmt: skip

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        return np.asarray(array[settings["where"]])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [call("place", gradient, operands[0], where=settings["where"])]


@rule
class Place(Movement):
    """Zeros of the second operand's shape, with the first where an index points to."""

    name = "place"

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        found = np.zeros(others[0].value.shape, array.dtype)
        found[settings["where"]] = array
        return found


@rule
class Transpose(Movement):
    """Axes in another order."""

    name = "transpose"
    term = "index order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        (shape,) = shapes
        if tuple(shape[axis] for axis in settings["axes"]) == shape:
            yield Mistake("no transposition", lambda x: x[0])

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        return np.transpose(array, settings["axes"])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [call("transpose", gradient, axes=tuple(np.argsort(settings["axes"]).tolist()))]


@rule
class Reversed(Movement):
    """An axis in the other direction."""

    name = "reversed"

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        return np.flip(array, settings["axis"])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [call("reversed", gradient, **settings)]
