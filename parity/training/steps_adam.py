"""One variable's Adam step held against TensorFlow 1's formula, from a run's own numbers.

With m and v the running means of the gradient g and of its square, step t does

    m = m' + (g - m') (1 - beta1),   v = v' + (g^2 - v') (1 - beta2)
    w = w' - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)

(Kingma and Ba, "Adam", 2015, end of section 2; TensorFlow's ``ApplyAdam``.) A state before and a
state after a step say what gradient the first line must have had; the other two can then be checked
without knowing any gradient, and without another run to compare with: what differs here is the
optimiser's, never a trajectory's. The formulas are evaluated in float64 on the run's numbers; what
the run's own precision may do to them is bounded element by element.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BETA_1, BETA_2, EPSILON = (float(np.float32(value)) for value in (0.9, 0.999, 1e-8))
"""The graph's constants: float32 values, in float64 as well."""


@dataclass(frozen=True)
class Before:
    """A variable before a step: value, moments, and what the step is taken with.

    ``unit`` is the unit roundoff of the run's precision, ``tiny`` its smallest normal number.
    """

    w: Array
    m: Array
    v: Array
    number: int
    rate: float
    unit: float
    tiny: float


@dataclass(frozen=True)
class Checked:
    """What a step should have left, and by how much rounding may have moved it.

    ``gradient`` is what the first moment implies, within ``gradient_bound``.
    """

    gradient: Array
    gradient_bound: Array
    v: Array
    v_bound: Array
    w: Array
    w_bound: Array


def before(
    variable: tuple[NDArray[np.generic], ...], number: int, rate: float, dtype: str
) -> Before:
    """A variable with its moments as they are before step ``number``, counted from 1."""
    w, m, v = (each.astype(np.float64) for each in variable)
    info = np.finfo(dtype)
    return Before(w, m, v, number, float(np.float32(rate)), float(info.eps) / 2, float(info.tiny))


def implied_gradient(old_m: Array, m: Array) -> Array:
    """The gradient that leads from one first moment to the next."""
    return old_m + (m - old_m) / (1 - BETA_1)


def check(old: Before, m: Array, v: Array) -> Checked:
    """What the step should have left, given the moments that it did leave."""
    u = old.unit
    gradient = implied_gradient(old.m, m)
    # m is a sum rounded once, of a product and a difference rounded once each.
    off = u * (np.abs(m) / (1 - BETA_1) + 3 * np.abs(gradient - old.m)) + old.tiny
    square = gradient * gradient
    new_v = old.v + (square - old.v) * (1 - BETA_2)
    v_bound = (1 - BETA_2) * (2 * np.abs(gradient) + off) * off
    v_bound += u * (2 * new_v + 4 * (1 - BETA_2) * np.maximum(square, old.v)) + old.tiny
    change = _rate(old) * m / (np.sqrt(np.maximum(v, 0.0)) + EPSILON)
    w = old.w - change
    w_bound = u * (2 * np.abs(w) + _change_bound(old.number) * np.abs(change)) + old.tiny
    return Checked(gradient, off, new_v, v_bound, w, w_bound)


def _rate(old: Before) -> float:
    second, first = 1 - BETA_2**old.number, 1 - BETA_1**old.number
    return float(old.rate * np.sqrt(second) / first)


def _change_bound(number: int) -> float:
    """Roundings of a change, in units of roundoff: those of 1 - beta^t weigh most.

    beta^t is t roundings off, which count beta^t / (1 - beta^t) times as much in the difference.
    """
    amplified = sum(number * beta**number / (1 - beta**number) for beta in (BETA_1, BETA_2))
    return float(8 + 2 * amplified)


def within(value: Array, expected: Array, bound: Array) -> bool:
    """Whether every element lies within its bound; NaN does not."""
    return bool((np.abs(value - expected) <= bound).all())


def explain_weights(old: Before, m: Array, v: Array, w: Array) -> str:
    """What a value that the formula does not give comes from, if it is something well known.

    The nearest of some other formulas, each with the graph's constants and with those that were
    never rounded to float32: one that gives the step within rounding, or else to a part in ten
    thousand.
    """
    root = np.sqrt(np.maximum(v, 0.0))
    expected = check(old, m, v)
    found: dict[str, tuple[bool, bool, float]] = {}
    for beta_1, beta_2, rate, where in (
        (BETA_1, BETA_2, old.rate, ""),
        (0.9, 0.999, float(f"{old.rate:.6g}"), " (and constants that are no float32 values)"),
    ):
        first, second = 1 - beta_1**old.number, 1 - beta_2**old.number
        official = rate * np.sqrt(second) / first
        others = {
            "": official * m / (root + EPSILON),
            "without bias correction": rate * m / (root + EPSILON),
            "epsilon inside the bias correction, as in torch.optim.Adam": (
                rate / first * m / (root / np.sqrt(second) + EPSILON)
            ),
            "bias correction as in step 1": (
                rate * np.sqrt(1 - beta_2) / (1 - beta_1) * m / (root + EPSILON)
            ),
            "without epsilon": official * m / np.where(root > 0, root, 1.0),
        }
        for words, change in others.items():
            off = np.abs(w - (old.w - change))
            if (off <= expected.w_bound + 1e-4 * np.abs(change)).all():
                name = words + where if words else "constants that are no float32 values"
                strict = bool((off <= expected.w_bound).all())
                found[name] = (not strict, bool(where), float(off.sum()))
    if found:
        return min(found, key=lambda name: found[name])
    return proportional(expected.w - w, old.w, "weight decay beside the moments, as in AdamW: {}·w")


def explain_second(old: Before, m: Array, v: Array) -> str:
    """What a second moment that the formula does not give comes from."""
    fresh = Before(
        old.w, np.zeros_like(m), np.zeros_like(v), old.number, old.rate, old.unit, old.tiny
    )
    lost = check(fresh, m, v)
    if old.number > 1 and within(v, lost.v, lost.v_bound):
        return "the moments before the step were lost"
    return ""


def proportional(difference: Array, w: Array, words: str) -> str:
    """``words`` with the factor, if a difference is a multiple of the variable, else nothing.

    A difference that is rounding alone has a share of 1/n in the variable's direction, with n
    elements; half of it is beyond chance from a few dozen on.
    """
    inner, squares = float(np.vdot(difference, w)), float(np.vdot(w, w))
    norm = float(np.vdot(difference, difference))
    if difference.size < 32 or not squares or not norm or inner * inner < 0.5 * squares * norm:
        return ""
    return words.format(f"{inner / squares:.3g}")
