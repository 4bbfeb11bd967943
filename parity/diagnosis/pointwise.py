"""Counterfactuals of the layers of few operations: sums, unpooling, hypotheses, scores, moves."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from parity.diagnosis.variant import (
    NARROWER,
    Part,
    Question,
    Variant,
    fitted,
    narrowed,
    narrowed_result,
    same_order,
    short,
)
from parity.oracle.layers import pointwise
from parity.oracle.layers.rounding import Evaluated

PointwiseLayer = Callable[..., Evaluated]
ROUNDINGS = 8.0
"""Charged for a value of a few operations, in roundings of the greatest operand."""
SEEN = 4096
"""Rows that factors are fitted on."""


def _few(value: np.ndarray, *operands: np.ndarray) -> Evaluated:
    """A value of a few operations; none of them errs by more than a rounding of its operands."""
    size = np.abs(value)
    for each in operands:
        size = size + np.abs(each)
    return Evaluated(value, np.zeros(value.shape, np.float32), ROUNDINGS * size)


def _nothing() -> Evaluated:
    return Evaluated(np.zeros(0), np.zeros(0, np.float32))


def _narrow(question: Question, layer: PointwiseLayer) -> Iterator[Variant]:
    """Inputs or result in a narrower type."""

    def of(kind: str, inputs: bool, result: bool, part: Part) -> Evaluated:
        given = [narrowed(each, kind) if inputs else each for each in question.inputs]
        found = layer(question.row, given, question.context)
        if result:
            found = narrowed_result(found, kind, question)
        fixed = None if found.fixed is None else part.of(found.fixed)
        return Evaluated(part.of(found.value), part.of(found.unit), fixed)

    for kind in NARROWER:
        for name, inputs, result in (("inputs", True, False), ("the result", False, True),
                                     ("inputs and result", True, True)):  # fmt: skip
            yield Variant("precision", f"{name} rounded to {kind}",
                          partial(of, kind, inputs, result))  # fmt: skip


def sums(question: Question) -> Iterator[Variant]:
    """A residual: other factors, or another tap in place of one."""
    halved = question.row.stage == "coarse"
    x, r = question.inputs
    half = 0.5 if halved else 1.0

    def weighed(a: float, first: np.ndarray, b: float, second: np.ndarray, part: Part) -> Evaluated:
        first, second = part.of(first), part.of(second)
        return _few(a * first + b * second, a * first, b * second)

    if question.observed.shape != x.shape:
        return
    yield Variant("residual", "no residual", partial(weighed, 1.0, x, 0.0, r))
    yield Variant("residual", "the residual alone", partial(weighed, 0.0, x, 1.0, r))
    seen = slice(0, SEEN)
    factors = fitted([x[seen], r[seen]], question.observed[seen])
    if factors is not None and tuple(factors) != (half, half):
        a, b = (float(each) for each in factors)
        yield Variant("residual", f"{a:.4g} of the layer and {b:.4g} of the residual",
                      partial(weighed, a, x, b, r))  # fmt: skip
    for name, other in question.others.items():
        if name not in (*question.row.parents, question.row.name):
            shape = np.shape(other)
            if shape == x.shape:
                wide = np.asarray(other, np.float64)
                yield Variant("residual", f"{name} for the residual",
                              partial(weighed, half, x, half, wide))  # fmt: skip
    yield from _narrow(question, pointwise.halved_sum if halved else pointwise.plain_sum)


def concatenations(question: Question) -> Iterator[Variant]:
    """Hidden features before the projected ones."""
    features, hidden = question.inputs

    def exact(value: np.ndarray, part: Part) -> Evaluated:
        value = part.of(value)
        return Evaluated(value, np.zeros(value.shape, np.float32))

    yield Variant("channel order", "hidden features before the others",
                  partial(exact, np.concatenate([hidden, features], axis=1)))  # fmt: skip
    for name, pair in (("features", (0 * features, hidden)), ("hidden", (features, 0 * hidden))):
        yield Variant("missing term", f"zeros for the {name} ones",
                      partial(exact, np.concatenate(pair, axis=1)))  # fmt: skip
    yield from _narrow(question, pointwise.concatenation)


def unpoolings(question: Question) -> Iterator[Variant]:
    """Other orders of vertices, other means of edges."""
    (x,) = question.inputs
    pairs = question.context.unpooling[0 if len(x) == 156 else 1]
    first, second = x[pairs[:, 0]], x[pairs[:, 1]]
    if question.observed.shape != (len(x) + len(pairs), x.shape[1]):
        return

    def joined(a: float, b: float, turned: bool, part: Part) -> Evaluated:
        means = a * first + b * second
        parts = [_few(x), _few(means, first, second)]
        if turned:
            parts.reverse()
        value = np.concatenate([each.value for each in parts])
        fixed = np.concatenate([each.fixed for each in parts if each.fixed is not None])
        unit = np.zeros(value.shape, np.float32)
        return Evaluated(part.of(value), part.of(unit), part.of(fixed))

    yield Variant("index order", "new vertices before their parents",
                  partial(joined, 0.5, 0.5, True))  # fmt: skip
    factors = fitted([first, second], question.observed[len(x) :])
    if factors is not None and tuple(factors) != (0.5, 0.5):
        a, b = (float(each) for each in factors)
        yield Variant("reduction", f"{a:.4g} and {b:.4g} of an edge's ends",
                      partial(joined, a, b, False))  # fmt: skip
    yield Variant("index order", "vertices in another order", partial(_rows, question))
    yield from _narrow(question, pointwise.unpooling)


def _rows(question: Question, part: Part) -> Evaluated:
    """Vertices in another order, found by looking for every observed one."""
    exact = pointwise.unpooling(question.row, question.inputs, question.context)
    limit = float(exact.limit(question.row.stage, question.dtype).max(initial=0.0))
    order = same_order(question.observed.T, exact.value.T, limit)
    # Vertices that occur twice are copies, and no other order.
    if order is None or len(set(order.tolist())) < len(order):
        return _nothing()
    fixed = np.zeros_like(exact.value) if exact.fixed is None else exact.fixed
    return Evaluated(*(part.of(each[order]) for each in (exact.value, exact.unit, fixed)))


def hypotheses(question: Question) -> Iterator[Variant]:
    """Other offsets than the official ones, read off the output."""
    (mesh,), official = question.inputs, question.context.offsets
    observed = question.observed
    if observed.ndim != 3 or observed.shape[0] != len(mesh) or observed.shape[2] != 3:
        return

    def at(offsets: np.ndarray, kept: float, part: Part) -> Evaluated:
        centres = kept * part.of_rows(mesh)[:, None]
        return _few(centres + offsets, centres, offsets)

    def without_vertex(part: Part) -> Evaluated:
        return at(official, 0.0, part)

    yield Variant("missing term", "the vertex left out", without_vertex)
    away = np.median(observed - mesh[:, None], axis=0)
    size = float(np.abs(official).max())
    scale = max(float(np.abs(mesh).max()), size)
    tolerance = ROUNDINGS * question.unit_roundoff * scale
    order = same_order(away.T, official.T, 4 * tolerance)
    if order is not None and not np.array_equal(order, np.arange(len(official))):
        missing = sorted(set(range(len(official))) - set(order.tolist()))
        name = f"without {missing}" if missing else "in another order"
        yield Variant("hypothesis order", f"hypotheses {name}", partial(at, official[order], 1.0))
    if away.shape == official.shape:
        factor = fitted([official], away)
        if factor is not None and factor[0] not in (0.0, 1.0):
            yield Variant("constant", f"offsets times {factor[0]:.4g}",
                          partial(at, factor[0] * official, 1.0))  # fmt: skip
        columns = same_order(away, official, 4 * tolerance)
        if columns is not None:
            yield Variant("index order", f"coordinates in the order {columns.tolist()}",
                          partial(at, official[:, columns], 1.0))  # fmt: skip
    yield from _narrow(question, pointwise.hypotheses)


def scores(question: Question) -> Iterator[Variant]:
    """Other ways from logits (V, 43, 1) to weights."""
    (x,), row, context = question.inputs, question.row, question.context
    if question.observed.shape != x.shape:
        return

    def over(power: Callable[[np.ndarray], np.ndarray], axis: int, part: Part) -> Evaluated:
        logits = x if axis == 0 else part.of_rows(x)
        values = power(logits)
        total = values.sum(axis=axis, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = values / np.maximum(total, 1e-12)
        value = part.of_rows(value) if axis == 0 else value
        away = float(np.ptp(x)) + x.shape[axis] + ROUNDINGS
        return Evaluated(value, np.zeros_like(value), away * np.abs(value))

    def elementwise(function: Callable[[np.ndarray], np.ndarray], part: Part) -> Evaluated:
        value = function(part.of_rows(x))
        return _few(value, np.abs(value) * (1.0 + np.abs(part.of_rows(x))))

    def tempered(factor: float, part: Part) -> Evaluated:
        found = pointwise.softmax(row, [factor * part.of_rows(x)], context)
        extra = (2.0 * abs(factor) * np.abs(part.of_rows(x)).max(initial=0.0)) * found.value
        return replace(found, fixed=extra if found.fixed is None else found.fixed + extra)

    yield Variant("reduction", "a softmax over vertices",
                  partial(over, lambda v: np.exp(v - v.max(axis=0)), 0))  # fmt: skip
    yield Variant("reduction", "logits divided by their sum", partial(over, lambda v: v, 1))
    yield Variant("reduction", "all weight on the greatest logit", partial(over, best_alone, 1))
    yield Variant("reduction", "equal weights", partial(over, np.ones_like, 1))
    yield Variant("reduction", "a sigmoid of each logit",
                  partial(elementwise, lambda v: 1.0 / (1.0 + np.exp(-v))))  # fmt: skip
    yield Variant("reduction", "exponentials, not divided by their sum",
                  partial(elementwise, np.exp))  # fmt: skip
    yield Variant("missing term", "the logits themselves", partial(elementwise, lambda v: v))
    yield Variant("reduction", "the score's logarithm", partial(_log_softmax, x))
    seen = question.observed[:SEEN]
    if (seen > 0).all():
        logs, logits = np.log(seen), x[:SEEN]
        found = fitted([logits - logits.mean(axis=1, keepdims=True)],
                       logs - logs.mean(axis=1, keepdims=True))  # fmt: skip
        if found is not None and found[0] not in (0.0, 1.0):
            yield Variant("constant", f"logits times {found[0]:.4g}",
                          partial(tempered, short(float(found[0]))))  # fmt: skip
    yield from _narrow(question, pointwise.softmax)


def _log_softmax(x: np.ndarray, part: Part) -> Evaluated:
    away = part.of_rows(x) - part.of_rows(x).max(axis=1, keepdims=True)
    value = away - np.log(np.exp(away).sum(axis=1, keepdims=True))
    return _few(value, away, np.full_like(away, float(x.shape[1])))


def best_alone(logits: np.ndarray) -> np.ndarray:
    """1 at the first greatest of (V, 43, 1), 0 elsewhere."""
    found = np.zeros_like(logits)
    np.put_along_axis(found, logits.argmax(axis=1)[:, None], 1.0, axis=1)
    return found


def moves(question: Question) -> Iterator[Variant]:
    """Other ways from weights and offsets to the moved mesh (V, 3)."""
    (score, mesh), offsets = question.inputs, question.context.offsets
    if question.observed.shape != mesh.shape or score.shape[1] != len(offsets):
        return

    def moved(
        used: np.ndarray, points: np.ndarray, factors: tuple[float, float], part: Part
    ) -> Evaluated:
        a, b = factors
        way = (part.of_rows(used) * points).sum(axis=1)
        size = (np.abs(part.of_rows(used)) * np.abs(points)).sum(axis=1)
        value = a * way + b * part.of_rows(mesh)
        fixed = (len(points) + 2.0) * (abs(a) * size + np.abs(b * part.of_rows(mesh)))
        return Evaluated(value, np.zeros_like(value), fixed)

    whole = (1.0, 1.0)
    yield Variant("reduction", "the best hypothesis alone",
                  partial(moved, best_alone(score), offsets, whole))  # fmt: skip
    orders = {"reversed": offsets[::-1], "turned by one": np.roll(offsets, -1, 0),
              "turned back by one": np.roll(offsets, 1, 0)}  # fmt: skip
    for name, points in orders.items():
        yield Variant("hypothesis order", f"offsets {name}", partial(moved, score, points, whole))
    way = (score * offsets).sum(axis=1)
    factors = fitted([way, mesh], question.observed)
    if factors is not None and tuple(factors) != whole:
        a, b = (float(each) for each in factors)
        operand = "missing term" if 0.0 in (a, b) else "constant"
        yield Variant(operand, f"{a:.4g} of the weighted offsets and {b:.4g} of the vertex",
                      partial(moved, score, offsets, (a, b)))  # fmt: skip
    yield from _narrow(question, pointwise.moved)
