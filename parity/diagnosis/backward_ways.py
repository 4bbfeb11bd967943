"""Ways back through single layers that are not the official ones, each in one operand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from network.taps import TapRow
from parity.oracle.backward import pointwise
from parity.oracle.backward.convolution import (
    graph_convolution,
    image_convolution,
    local_convolution,
)
from parity.oracle.backward.reading import through_projection
from parity.oracle.backward.statistics import shared_by_all, taken_by_first
from parity.oracle.backward.sums import HandedBack, Sum
from parity.oracle.backward.walk import Backward, backward_of
from parity.oracle.context import Context

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Way:
    """A way back that is not the official one.

    ``operand`` and ``explanation`` as ``parity.diagnosis.Diagnosis`` has them; ``back`` computes
    it.
    """

    operand: str
    explanation: str
    back: Backward


def other_ways(row: TapRow) -> Iterator[Way]:
    """Other ways back through a layer."""
    official = backward_of(row)
    if official in (image_convolution, local_convolution) or (
        official is graph_convolution and row.shape[-1] != 3
    ):
        yield from _rectifiers(official)
    if official is through_projection:
        yield from _projections()
    if official is pointwise.unpooling:
        yield Way("detach", "the new vertices hand nothing back", partial(_kept_rows, False))
        yield Way("detach", "the old vertices hand nothing back", partial(_kept_rows, True))
        yield Way("constant", "a new vertex's gradient is not halved", _doubled_new)
    if official is pointwise.softmax:
        yield Way("reduction", "the mean over the hypotheses is not taken off", _unshifted)


def _rectifiers(official: Backward) -> Iterator[Way]:
    def masked(mask: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Backward:
        def back(
            row: TapRow, parents: Arrays, out: np.ndarray, gradient: np.ndarray, context: Context
        ) -> HandedBack:
            return official(row, parents, mask(out, gradient).astype(float), gradient, context)

        return back

    yield Way("activation", "the ReLU passes every gradient", masked(lambda out, _: out >= 0))
    yield Way(
        "activation",
        "the ReLU passes gradients where its output is 0",
        masked(lambda out, _: out <= 0),
    )
    yield Way(
        "activation",
        "the ReLU passes positive gradients alone",
        masked(lambda out, gradient: (out > 0) & (gradient > 0)),
    )
    yield Way(
        "activation",
        "the ReLU passes positive gradients alone, whatever its output",
        masked(lambda _, gradient: gradient > 0),
    )


def _projections() -> Iterator[Way]:
    def of(columns: Callable[[np.ndarray], None]) -> Backward:
        def back(
            row: TapRow, parents: Arrays, out: np.ndarray, gradient: np.ndarray, context: Context
        ) -> HandedBack:
            changed = gradient.copy()
            columns(changed)
            return through_projection(row, parents, out, changed, context)

        return back

    def without_third(number: int) -> Callable[[np.ndarray], None]:
        def drop(gradient: np.ndarray) -> None:
            np.split(gradient[:, 3:], 3, axis=1)[number][...] = 0.0

        return drop

    def without_copy(gradient: np.ndarray) -> None:
        gradient[:, :3] = 0.0

    def without_features(gradient: np.ndarray) -> None:
        gradient[:, 3:] = 0.0

    yield Way("detach", "no gradient passes the pixel coordinates or maps",
              of(without_features))  # fmt: skip
    yield Way("detach", "no gradient passes the copied coordinates", of(without_copy))
    for number, name in enumerate(("maximum", "mean", "deviation")):
        yield Way("detach", f"no gradient passes the {name} over views",
                  of(without_third(number)))  # fmt: skip
    for words, share in (
        ("the maximum hands its gradient to every view", shared_by_all),
        ("of equal views the first gets the maximum's whole gradient", taken_by_first),
        ("of equal views the last gets the maximum's whole gradient",
         partial(taken_by_first, last=True)),
        ("of equal views each gets the maximum's whole gradient",
         partial(shared_by_all, equal=True)),
    ):  # fmt: skip
        yield Way("pooling statistic", words, partial(through_projection, sharing=share))


def _kept_rows(
    old: bool,
    row: TapRow,
    parents: Arrays,
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
) -> HandedBack:
    changed, vertices = gradient.copy(), len(parents[0])
    if old:
        changed[:vertices] = 0.0
    else:
        changed[vertices:] = 0.0
    return pointwise.unpooling(row, parents, out, changed, context)


def _doubled_new(
    row: TapRow, parents: Arrays, out: np.ndarray, gradient: np.ndarray, context: Context
) -> HandedBack:
    changed = gradient.copy()
    changed[len(parents[0]) :] *= 2.0
    return pointwise.unpooling(row, parents, out, changed, context)


def _unshifted(
    _row: TapRow, _parents: Arrays, out: np.ndarray, gradient: np.ndarray, _context: Context
) -> HandedBack:
    value = out * gradient
    return HandedBack((Sum(value, np.abs(value), 4),))
