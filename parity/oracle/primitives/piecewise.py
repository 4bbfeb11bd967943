"""Functions of single elements that are exact and make no difference greater.

A ReLU, a clip, a magnitude keep the bounds of their operand.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from network.program import Expression, call
from parity.oracle.number import Number, nothing
from parity.oracle.primitives.rule import Mistake, Primitive, Settings, Shape, State, WrongVjp, rule

HALF_ROOT, TANH_SCALE = float(np.sqrt(0.5)), float(np.sqrt(2.0 / np.pi))
TINY = 1e-3
"""A number that is added, or a limit below, of this size or less is there for what would be 0."""
POWERS = range(-16, -2)
"""Powers of ten that stand in place of such a limit."""
LEAKS = (0.01, 0.1, 0.2, 0.3)
"""Slopes that leaky ReLUs have by default in the usual libraries."""


def _leaky(slope: float, x: Expression) -> Expression:
    return call("relu", x) - slope * call("relu", -x)


def _logistic(x: Expression) -> Expression:
    return 1.0 / (1.0 + call("exp", -x))


ACTIVATIONS: dict[str, Callable[[Expression], Expression]] = {
    **{f"a ReLU that leaks {slope}": partial(_leaky, slope) for slope in LEAKS},
    "a GELU": lambda x: 0.5 * x * (1.0 + call("erf", x * HALF_ROOT)),
    "a GELU by tanh": lambda x: (
        0.5 * x * (1.0 + call("tanh", TANH_SCALE * (x + 0.044715 * x * x * x)))
    ),
    "a GELU by a sigmoid": lambda x: x * _logistic(1.702 * x),
    "a SiLU": lambda x: x * _logistic(x),
    "an ELU": lambda x: call("relu", x) + (call("exp", -call("relu", -x)) - 1.0),
    "a softplus": lambda x: call("log", 1.0 + call("exp", x)),
    "a sigmoid": _logistic,
    "a tanh": lambda x: call("tanh", x),
}
"""Activations that stand where a ReLU should, by what is said of them."""


@rule
class Relu(Primitive):
    """max(x, 0): |max(a, 0) − max(b, 0)| ≤ |a − b|."""

    name = "relu"
    term = "activation"

    def wrong_vjps(self, settings: Settings) -> Iterator[WrongVjp]:
        for words, mask in {
            "the ReLU passes every gradient": lambda _, g: 1.0 + 0.0 * g,
            "the ReLU passes gradients where its output is 0": lambda y, _: (
                1.0 - call("positive", y)
            ),
            "the ReLU passes positive gradients alone": lambda y, g: (
                call("positive", y) * call("positive", g)
            ),
            "the ReLU passes positive gradients alone, whatever its output": lambda _, g: call(
                "positive", g
            ),
        }.items():
            yield self.term, words, lambda _, y, g, mask=mask: [g * mask(y, g)]  # type: ignore[misc]

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("no ReLU", lambda x: x[0])
        for change, function in ACTIVATIONS.items():
            yield Mistake(change, lambda x, function=function: function(x[0]))  # type: ignore[misc]

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = operands
        return replace(x, value=np.maximum(x.value, 0.0), exact=None, summable=False)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("positive", output)]


@rule
class Positive(Primitive):
    """1 where x > 0, else 0."""

    name = "positive"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        return Number((x.value > 0).astype(np.float64), undecided=_within(x, 0.0))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None]


def _within(x: Number, *borders: float) -> Any:
    """1 where a value may lie on either side of a border, which is 0.0 where none can."""
    if nothing(x.error) and nothing(x.undecided):
        return 0.0
    error = np.broadcast_to(x.error + x.undecided, x.value.shape)
    near = np.zeros(x.value.shape, bool)
    for border in borders:
        near |= (np.abs(x.value - border) <= error) & (error > 0)
    return near.astype(np.float64)


@rule
class Absolute(Primitive):
    """|x|."""

    name = "abs"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("no absolute value", lambda x: x[0])

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        (x,) = operands
        return replace(x, value=np.abs(x.value), summable=False)

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("sign", operands[0])]


@rule
class Sign(Primitive):
    """−1, 0 or 1."""

    name = "sign"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        within = _within(x, 0.0)
        return Number(np.sign(x.value), undecided=within if nothing(within) else 2.0 * within)


@rule
class Clip(Primitive):
    """Limited to [low, high]; what is beyond for certain is exactly the limit."""

    name = "clip"
    term = "constant"

    def mistakes(self, settings: Settings, shapes: Sequence[Shape]) -> Iterator[Mistake]:
        yield Mistake("no limits", lambda x: x[0])
        for number in sorted({0.0, (settings.get("high", -1.0) + 1.0) / 2.0}):
            yield Mistake(
                f"{number:g} for what is no number",
                lambda x, number=number: call(  # type: ignore[misc]
                    "clip", call("replace_nan", x[0], number=number), **settings
                ),
                operand="not a number",
            )
        for side, step in (("high", 1.0), ("high", -1.0), ("low", 1.0)):
            if side in settings:
                other = {**settings, side: settings[side] + step}
                words = f"the limit {other[side]:g} instead of {settings[side]:g}"
                yield Mistake(words, lambda x, other=other: call("clip", x[0], **other))  # type: ignore[misc]
        if 0.0 < settings.get("low", 0.0) <= TINY:
            for power in POWERS:
                low = 10.0**power
                if not np.isclose(low, settings["low"], rtol=1e-6, atol=0.0):
                    yield Mistake(
                        f"the limit 1e{power} instead of {settings['low']:.3g}",
                        lambda x, low=low: call("clip", x[0], **{**settings, "low": low}),  # type: ignore[misc]
                    )
        for kept, left in (("high", "low"), ("low", "high")):
            if kept in settings and left in settings:
                limit = {kept: settings[kept]}
                yield Mistake(
                    f"no limit below {settings[left]:g}" if left == "low"
                    else f"no limit above {settings[left]:g}",
                    lambda x, limit=limit: call("clip", x[0], **limit),  # type: ignore[misc]
                )  # fmt: skip

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        low, high = settings.get("low", -np.inf), settings.get("high", np.inf)
        value = np.clip(x.value, low, high)

        def off(bound: Any) -> Any:
            if nothing(bound):
                return bound
            below, above = (np.clip(x.value + way * bound, low, high) for way in (-1.0, 1.0))
            moved = np.maximum(np.abs(below - value), np.abs(above - value))
            # Inside, the bound itself: nothing is taken from it by cancellation.
            return np.where(
                (moved > 0) & (bound < np.inf),
                np.minimum(
                    bound, np.maximum(moved, np.where((below > low) & (above < high), bound, moved))
                ),
                moved,
            )

        return Number(value, off(x.error), undecided=off(x.undecided))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient * call("inside", operands[0], **settings)]


@rule
class ReplaceNan(Primitive):
    """A number where there is none; the others stay."""

    name = "replace_nan"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        lost = np.isnan(x.value)

        def kept(bound: Any) -> Any:
            return bound if nothing(bound) else np.where(lost, 0.0, bound)

        value = np.where(lost, settings["number"], x.value)
        return Number(value, kept(x.error), undecided=kept(x.undecided))

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [gradient]


@rule
class Inside(Primitive):
    """1 where low ≤ x ≤ high, else 0."""

    name = "inside"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        x = state.arithmetic.close(operands[0])
        low, high = settings.get("low", -np.inf), settings.get("high", np.inf)
        passes = ((x.value >= low) & (x.value <= high)).astype(np.float64)
        return Number(passes, undecided=_within(x, *(b for b in (low, high) if np.isfinite(b))))


@rule
class Detach(Primitive):
    """The value, through which no gradient passes."""

    name = "detach"

    def number(self, state: State, settings: Settings, *operands: Number) -> Number:
        return operands[0]

    def vjp(
        self,
        settings: Settings,
        operands: Sequence[Expression],
        output: Expression,
        gradient: Expression,
    ) -> Sequence[Expression | None]:
        return [None]
