"""Reading between four corners of a map."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, rule

INTERPOLATION = 8.0
"""Roundings of a weighted corner: two subtractions, the weight's product, the feature's, four
additions."""
CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))


class Cell:
    """Where a place lies between the corners around it: weights and slopes, (N, views, C)."""

    def __init__(self, place: Number, first: np.ndarray, last: np.ndarray) -> None:
        at = place.value
        below, above = at - first, last - at
        self.h = above[..., 0:1], below[..., 0:1]
        self.w = above[..., 1:2], below[..., 1:2]
        error = np.broadcast_to(place.error, at.shape)
        # Where floor and ceil are the same integer nothing depends on the coordinate.
        self.same = first == last
        self.error = error[..., 0:1], error[..., 1:2]
        loose = np.broadcast_to(place.undecided, at.shape)
        self.undecided = loose[..., 0:1], loose[..., 1:2]

    def weight(self, corner: tuple[int, int]) -> np.ndarray:
        return self.h[corner[0]] * self.w[corner[1]]

    def empty(self) -> np.ndarray:
        """Where all weights are 0 for certain."""
        return np.asarray(self.same.any(axis=-1, keepdims=True))


def _weighted(
    cell: Sequence[Expression], corners: Sequence[Expression], kept: Iterable[int]
) -> Expression:
    """Σ weight·corner of some corners."""
    terms = [
        call("bilinear_weight", *cell, corner=CORNERS[number]) * corners[number] for number in kept
    ]
    return sum(terms[1:], terms[0])


@rule
class Bilinear(Primitive):
    """Σ weight·corner of the four corners around places (N, views, 2): (N, views, C).

    Operands: places, floors, ceils, corners at (h0, w0), (h1, w0), (h0, w1), (h1, w1). A weight is
    the product of two distances, so that all are 0 on an integer. An error of the place counts by
    the slope of what is read, not by each corner's size.
    """

    name = "bilinear"
    term = "interpolation"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        names = ("upper left", "lower left", "upper right", "lower right")
        yield Mistake(
            "row weights on columns and column weights on rows",
            lambda x: _weighted(
                [call("reversed", each, axis=-1) for each in x[:3]], x[3:], range(4)
            ),
            operand="index order",
        )
        for left, name in enumerate(names):
            kept = [number for number in range(4) if number != left]
            yield Mistake(f"the {name} corner left out",
                          lambda x, kept=kept: _weighted(x[:3], x[3:], kept))  # type: ignore[misc] # fmt: skip
            yield Mistake(f"the {name} corner alone",
                          lambda x, left=left: x[3 + left])  # type: ignore[misc] # fmt: skip

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        place = state.arithmetic.close(operands[0])
        corners = [state.arithmetic.close(each) for each in operands[3:]]
        with np.errstate(invalid="ignore"):
            cell = Cell(place, operands[1].value, operands[2].value)
            weights = [cell.weight(corner) for corner in CORNERS]
            f00, f10, f01, f11 = (each.value for each in corners)
            terms = [w * f for w, f in zip(weights, (f00, f10, f01, f11), strict=True)]
            value = ((terms[0] + terms[1]) + terms[2]) + terms[3]
            if not state.arithmetic.bounded:
                return Number(value)
            (ah, bh), (aw, bw) = cell.h, cell.w
            left, right = f10 - f00, f11 - f01
            along_h = np.abs(aw * left + bw * right)
            along_w = np.abs(ah * (f01 - f00) + bh * (f11 - f10))
            crossed = np.abs(right - left)
            eh, ew = cell.error
            error: Any = along_h * eh + along_w * ew + crossed * (eh * ew)
            size = sum(np.abs(term) for term in terms)
            error = error + (INTERPOLATION * state.arithmetic.roundoff) * size
            undecided: Any = 0.0
            if not nothing(place.undecided):
                uh, uw = cell.undecided
                undecided = (along_h + crossed * ew) * uh + (along_w + crossed * eh) * uw
                undecided = undecided + crossed * uh * uw
            error = np.where(cell.empty(), 0.0, error)
            for weight, corner in zip(weights, corners, strict=True):
                if not nothing(corner.error):
                    error = error + np.abs(weight) * corner.error
                if not nothing(corner.undecided):
                    undecided = undecided + np.abs(weight) * corner.undecided
        return Number(value, error, undecided=undecided)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        place, first, last = operands[:3]
        slopes = [
            call(
                "reduce_sum",
                gradient * call("bilinear_slope", *operands, along=axis),
                axis=-1,
                keep=False,
            )
            for axis in (0, 1)
        ]
        return [
            call("stack", *slopes, axis=-1),
            None,
            None,
            *(
                gradient * call("bilinear_weight", place, first, last, corner=corner)
                for corner in CORNERS
            ),
        ]


@rule
class BilinearWeight(Primitive):
    """The weight of one corner, (N, views, 1)."""

    name = "bilinear_weight"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        place = state.arithmetic.close(operands[0])
        with np.errstate(invalid="ignore"):
            cell = Cell(place, operands[1].value, operands[2].value)
            i, j = settings["corner"]
            h, w = np.abs(cell.h[i]), np.abs(cell.w[j])
            eh, ew = (e + state.arithmetic.roundoff * d
                      for e, d in zip(cell.error, (h, w), strict=True))  # fmt: skip
            error = h * ew + w * eh + eh * ew + state.arithmetic.roundoff * h * w
            return Number(cell.weight((i, j)), np.where(cell.empty(), 0.0, error))


@rule
class BilinearSlope(Primitive):
    """How what is read changes along h (0) or w (1): (N, views, C)."""

    name = "bilinear_slope"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        place = state.arithmetic.close(operands[0])
        corners = [state.arithmetic.close(each) for each in operands[3:]]
        with np.errstate(invalid="ignore"):
            cell = Cell(place, operands[1].value, operands[2].value)
            f00, f10, f01, f11 = (each.value for each in corners)
            if settings["along"] == 0:
                (a, b), other = cell.w, cell.error[1]
                steps = (f10 - f00, f11 - f01)
                sizes = (np.abs(f10) + np.abs(f00), np.abs(f11) + np.abs(f01))
            else:
                (a, b), other = cell.h, cell.error[0]
                steps = (f01 - f00, f11 - f10)
                sizes = (np.abs(f01) + np.abs(f00), np.abs(f11) + np.abs(f10))
            value = a * steps[0] + b * steps[1]
            size = np.abs(a) * sizes[0] + np.abs(b) * sizes[1]
            crossed = np.abs(f00 - f10 - f01 + f11)
            error = crossed * other + (INTERPOLATION * state.arithmetic.roundoff) * size
            return Number(value, error)
