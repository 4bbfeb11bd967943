"""Rows and pixels by index, and their gradients added up where they came from."""

from collections.abc import Iterator, Sequence
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
