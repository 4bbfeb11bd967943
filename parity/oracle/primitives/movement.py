"""Indexing, joining and reshaping: no roundings, and gradients go back where values came from."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sp

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


@rule
class Gather(Movement):
    """Rows of the first operand by an index array; an index beyond them reads zeros."""

    name = "gather"
    term = "index order"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        for step in (1, -1):
            yield Mistake(
                f"indices of {{}} off by {step}",
                lambda x, step=step: call("gather", x[0], x[1] + float(step)),  # type: ignore[misc]
                of=1,
            )  # fmt: skip

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        index = others[0].value.astype(np.int64)
        inside = (index >= 0) & (index < len(array))
        found = array[np.where(inside, index, 0)]
        if not inside.all():
            found = np.where(inside.reshape(inside.shape + (1,) * (array.ndim - 1)), found, 0)
        return found

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [call("scatter", gradient, operands[1], operands[0]), None]


def added_up(
    state: State, gradient: Number, flat: np.ndarray, inside: np.ndarray, rows: int
) -> Number:
    """Σ of rows of ``gradient`` at their places: (rows, C), an open sum.

    Args:
        state: of the evaluation.
        gradient: any shape (…, C).
        flat: the row of each, of shape (…).
        inside: which of them there is a place for.
        rows: how many places there are.
    """
    gradient = state.arithmetic.summand(gradient)
    channels = gradient.value.shape[flat.ndim :]
    chosen = flat[inside].ravel()
    total = len(chosen)
    places = sp.csr_array((np.ones(total), (chosen, np.arange(total))), shape=(rows, total))
    most = int(np.bincount(chosen, minlength=1).max(initial=0))

    def summed(part: Any) -> Any:
        if part is None or nothing(part):
            return part
        wide = np.broadcast_to(part, gradient.value.shape)[inside].reshape(total, -1)
        return (places @ wide).reshape(rows, *channels)

    return Number(
        summed(gradient.value),
        summed(gradient.error),
        summed(gradient.magnitude),
        np.max(gradient.count) + max(most - 1, 0),
        undecided=summed(gradient.undecided),
    )


@rule
class Scatter(Primitive):
    """Rows added up at their places: gather's VJP, of the third operand's shape."""

    name = "scatter"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        gradient, index, like = operands
        flat = index.value.astype(np.int64)
        rows = len(like.value)
        return added_up(state, gradient, flat, (flat >= 0) & (flat < rows), rows)


@rule
class GatherPixels(Movement):
    """Values of a map (views, H, W, C) at pixels (N, views, 2): (N, views, C).

    Zeros are read beyond the map, and where a pixel is not a number; with ``outside="nearest"``
    the map's nearest pixel is read there. ``view`` is the view whose map all read, or None where
    each reads its own.
    """

    name = "gather_pixels"
    term = "interpolation"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        view = settings["view"]
        yield Mistake(
            "every view read from its own map" if view is not None else "every view read from one",
            lambda x: call(
                "gather_pixels", *x, **{**settings, "view": 0 if view is None else None}
            ),
            operand="view order",
        )
        yield Mistake(
            "pixels beyond a map moved onto its border",
            lambda x: call("gather_pixels", *x, **{**settings, "outside": "nearest"}),
            operand="border pixels",
        )
        yield Mistake(
            "row and column swapped",
            lambda x: call("gather_pixels", x[0], call("reversed", x[1], axis=-1), **settings),
            operand="index order",
        )

    def move(self, settings: Settings, array: np.ndarray, *others: Number) -> np.ndarray:
        pixels = others[0].value
        if settings.get("outside") == "nearest":
            pixels = np.clip(pixels, 0.0, np.array(array.shape[1:3]) - 1.0)
        flat, inside = pixel_places(array.shape, pixels, settings["view"])
        found = array.reshape(-1, array.shape[-1])[np.where(inside, flat, 0)]
        return found if inside.all() else np.where(inside[..., None], found, 0.0)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        back = call("scatter_pixels", gradient, operands[1], operands[0], view=settings["view"])
        return [back, None]


@rule
class ScatterPixels(Primitive):
    """Gradients added up at the pixels that were read, of the map's shape."""

    name = "scatter_pixels"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        gradient, pixels, like = operands
        shape = like.value.shape
        flat, inside = pixel_places(shape, pixels.value, settings["view"])
        found = added_up(state, gradient, flat, inside, int(np.prod(shape[:-1])))

        def shaped(part: Any) -> Any:
            return part if part is None or nothing(part) else part.reshape(shape)

        return Number(
            shaped(found.value),
            shaped(found.error),
            shaped(found.size),
            found.count,
            undecided=shaped(found.undecided),
        )


def pixel_places(
    shape: tuple[int, ...], pixels: np.ndarray, view: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Places in a flattened map of pixels (N, views, 2), and which of them it has."""
    _, height, width, _ = shape
    with np.errstate(invalid="ignore"):
        h, w = pixels[..., 0], pixels[..., 1]
        inside = (h >= 0) & (h < height) & (w >= 0) & (w < width)
    h, w = (np.where(inside, each, 0).astype(np.int64) for each in (h, w))
    own = np.arange(pixels.shape[1]) if view is None else np.full(pixels.shape[1], view)
    return (own * height + h) * width + w, inside
