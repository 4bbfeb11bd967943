"""Arrays put together and taken apart again."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import (
    Mistake,
    Movement,
    Primitive,
    Settings,
    Shape,
    State,
    rule,
)

MOST_PERMUTED = 4
"""Parts whose orders are all tried."""


class Joining(Primitive):
    """Several arrays made one."""

    def join(self, settings: Settings, arrays: list[np.ndarray]) -> np.ndarray:
        raise NotImplementedError

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        if any(each.size is not None for each in operands):
            counts = {int(np.max(each.count)) if each.size is not None else 0 for each in operands}
            if len(counts) > 1 or any(each.exact is not None for each in operands):
                # Sums of other lengths lie side by side: each is bounded by itself.
                operands = tuple(state.arithmetic.close(each) for each in operands)

        def joined(parts: list[Any]) -> Any:
            if all(nothing(part) for part in parts):
                return 0.0
            wide = [np.broadcast_to(p, n.value.shape) for p, n in zip(parts, operands, strict=True)]
            return self.join(settings, wide)

        sizes = [each.size for each in operands]
        return Number(
            self.join(settings, [each.value for each in operands]),
            joined([each.error for each in operands]),
            None if sizes[0] is None else self.join(settings, [s for s in sizes if s is not None]),
            max(int(np.max(each.count)) for each in operands),
            undecided=joined([each.undecided for each in operands]),
            summable=all(each.summable for each in operands),
        )


def _orders(name: str, settings: Settings, count: int, operand: str) -> Iterator[Mistake]:
    """The parts in another order."""
    for order in permutations(range(count)) if count <= MOST_PERMUTED else ():
        if order != tuple(range(count)):
            words = ", ".join(str(each + 1) for each in order)
            yield Mistake(
                f"the parts in the order {words}",
                lambda x, order=order: call(name, *(x[each] for each in order), **settings),  # type: ignore[misc]
                operand=operand,
            )  # fmt: skip


@rule
class Concatenate(Joining):
    """Along an axis that is there."""

    name = "concatenate"
    term = "channel order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        axis = settings["axis"]
        operand = "index order" if axis == 0 else "channel order"
        yield from _orders(self.name, settings, len(shapes), operand)
        for number in range(len(shapes)):
            yield Mistake(
                f"zeros for part {number + 1} of {len(shapes)}",
                lambda x, number=number: call(  # type: ignore[misc]
                    self.name, *x[:number], 0.0 * x[number], *x[number + 1 :], axis=axis
                ),
            )  # fmt: skip
        if axis == 0 and len(shapes) == 2:
            for number in (0, 1):
                yield Mistake(
                    f"part {number + 1} of 2 left out",
                    lambda x, number=number: x[1 - number],  # type: ignore[misc]
                    whole=True,
                )

    def join(self, settings: Settings, arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays, axis=settings["axis"])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [
            call("part", gradient, *operands, axis=settings["axis"], number=number)
            for number in range(len(operands))
        ]


@rule
class Part(Movement):
    """What one of the operands of a concatenation contributed."""

    name = "part"

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        axis = settings["axis"]
        sizes = [each.value.shape[axis] for each in others]
        start = sum(sizes[: settings["number"]])
        where = [slice(None)] * array.ndim
        where[axis] = slice(start, start + sizes[settings["number"]])
        return array[tuple(where)]


@rule
class Stack(Joining):
    """Along a new axis."""

    name = "stack"
    term = "index order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield from _orders(self.name, settings, len(shapes), self.term)

    def join(self, settings: Settings, arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays, axis=settings["axis"])

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        axis = settings["axis"]
        return [call("take", gradient, axis=axis, number=number) for number in range(len(operands))]


@rule
class Take(Movement):
    """One slice along an axis, which then is gone."""

    name = "take"

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        return np.take(array, settings["number"], axis=settings["axis"])
