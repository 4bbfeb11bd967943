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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BETA_1, BETA_2, EPSILON = (float(np.float32(value)) for value in (0.9, 0.999, 1e-8))
"""The graph's constants: float32 values, in float64 as well."""
SMALLEST = 0.25
"""The share of a variable's elements that epsilon is read from."""
RESEMBLES = 1e-4
"""How near, relatively, a gradient must come to a known change of the true one: threads add up in
any order."""


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
    # m is a sum rounded once, of a product and a difference rounded once each; or, written as
    # beta1 m' + (1 - beta1) g, of two products, the first of which is nearly all of m'.
    apart = 3 * np.abs(gradient - old.m) + BETA_1 / (1 - BETA_1) * np.abs(old.m) + np.abs(gradient)
    off = u * (np.abs(m) / (1 - BETA_1) + apart) + old.tiny
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


@dataclass(frozen=True)
class Cause:
    """What a step that the formula does not give comes from; ``operand`` is the term for it."""

    operand: str
    words: str


def explain_weights(old: Before, m: Array, v: Array, w: Array) -> Cause | None:
    """What a value that the formula does not give comes from, if it is something well known.

    The nearest of some other formulas, each with the graph's constants and with those that were
    never rounded to float32: one that gives the step within rounding, or else to a part in ten
    thousand.
    """
    root = np.sqrt(np.maximum(v, 0.0))
    expected = check(old, m, v)
    found: dict[Cause, tuple[bool, bool, float]] = {}
    for beta_1, beta_2, rate, where in (
        (BETA_1, BETA_2, old.rate, ""),
        (0.9, 0.999, float(f"{old.rate:.6g}"), " (and constants that are no float32 values)"),
    ):
        for cause, change in _formulas(old, m, root, w, (beta_1, beta_2), rate):
            off = np.abs(w - (old.w - change))
            if (off <= expected.w_bound + 1e-4 * np.abs(change)).all():
                words = cause.words + where
                if not cause.words:
                    words = "constants that are no float32 values"
                strict = bool((off <= expected.w_bound).all())
                name = Cause(cause.operand, words)
                found[name] = (not strict, bool(where), float(off.sum()))
    if found:
        return min(found, key=lambda name: found[name])
    words = proportional(
        expected.w - w, old.w, "weight decay beside the moments, as in AdamW: {}·w"
    )
    return Cause("decay term", words) if words else None


def _formulas(
    old: Before, m: Array, root: Array, w: Array, betas: tuple[float, float], rate: float
) -> Iterator[tuple[Cause, Array]]:
    """Changes of a variable by other formulas, and by other constants in the right one."""
    first, second = (1 - beta**old.number for beta in betas)
    official = rate * np.sqrt(second) / first
    yield Cause("constant", ""), official * m / (root + EPSILON)
    yield (
        Cause("bias correction", "without bias correction"), rate * m / (root + EPSILON),
    )  # fmt: skip
    yield (
        Cause("epsilon", "epsilon inside the bias correction, as in torch.optim.Adam"),
        rate / first * m / (root / np.sqrt(second) + EPSILON),
    )
    for words, number in (("as in step 1", 1), ("of the next step", old.number + 1)):
        if number != old.number:
            corrected = rate * np.sqrt(1 - betas[1] ** number) / (1 - betas[0] ** number)
            cause = Cause("bias correction", f"bias correction {words}")
            yield cause, corrected * m / (root + EPSILON)
    yield Cause("epsilon", "without epsilon"), official * m / np.where(root > 0, root, 1.0)
    change = old.w - w
    told = (change != 0) & (m != 0) & np.isfinite(change) & np.isfinite(root)
    if told.any():
        epsilon = _epsilon(official * m[told], change[told], root[told], old.unit * np.abs(w[told]))
        if epsilon > 0:
            yield Cause("epsilon", f"epsilon {epsilon:.4g}"), official * m / (root + epsilon)
        right = official * m / (root + EPSILON)
        factor = float(np.vdot(change[told], right[told]) / np.vdot(right[told], right[told]))
        other = _short(factor * rate)
        cause = Cause("learning rate", f"a learning rate of {other:.4g} instead of {rate:.4g}")
        yield cause, other / rate * right


def explain_second(old: Before, m: Array, v: Array) -> Cause | None:
    """What a second moment that the formula does not give comes from."""
    fresh = Before(
        old.w, np.zeros_like(m), np.zeros_like(v), old.number, old.rate, old.unit, old.tiny
    )
    lost = check(fresh, m, v)
    if old.number > 1 and within(v, lost.v, lost.v_bound):
        return Cause("optimiser state", "the moments before the step were lost")
    expected = check(old, m, v)
    toward = expected.gradient**2 - old.v
    told = np.isfinite(v) & (np.abs(toward) > 0.5 * np.abs(toward).max(initial=0.0))
    if not told.any():
        return None
    share = float(np.median((v[told] - old.v[told]) / toward[told]))
    beta = _short(1 - share)
    bound = expected.v_bound * max(1.0, share / (1 - BETA_2)) + 1e-6 * np.abs(v)
    if 0 < share < 1 and within(v, old.v + toward * (1 - beta), bound):
        if abs(beta - BETA_2) < 1e-6:
            return Cause("constant", "constants that are no float32 values")
        return Cause("constant", f"β₂ is {beta:.6g} instead of 0.999")
    return None


def explain_gradient(old: Before, m: Array, gradient: Array, true: Array) -> Cause | None:
    """Why a step was taken with another gradient than the true one, if it is something known."""
    fresh = implied_gradient(np.zeros_like(m), m)
    if old.number > 1 and norm(fresh - true) < 0.1 * norm(gradient - true):
        return Cause("optimiser state", "the moments before the step were lost")
    words = proportional(
        gradient - true, old.w, "weight decay coupled into the gradient: {}·w beside the loss"
    )
    if words:
        return Cause("decay term", words)
    most, size = float(np.abs(gradient).max(initial=0.0)), norm(true)
    if not size or not np.isfinite(size):
        return None
    close = RESEMBLES * norm(gradient)
    if (
        most < (1 - 10 * RESEMBLES) * np.abs(true).max()
        and norm(gradient - np.clip(true, -most, most)) <= close
    ):
        return Cause("gradient clipping", f"gradients limited to ±{_short(most):.4g}")
    factor = float(np.vdot(gradient, true)) / size**2
    if abs(factor - 1) > 10 * RESEMBLES and norm(gradient - factor * true) <= close:
        operand = "gradient clipping" if 0 < factor < 1 else "constant"
        hint = ", as where their norm is limited" if 0 < factor < 1 else ""
        return Cause(operand, f"gradients {factor:.4g} times those of the loss{hint}")
    return None


def _epsilon(numerator: Array, change: Array, root: Array, off: Array) -> float:
    """The ε of changes that are numerator / (root + ε), each off by ``off`` at most."""
    each = numerator / change - root
    epsilon = float(np.median(each[root <= np.quantile(root, SMALLEST)]))
    error = np.square(root + epsilon) * off / np.abs(numerator)
    best = error <= np.quantile(error, SMALLEST)
    epsilon = float(np.median(each[best]))
    for digits in range(4):
        near = float(f"{epsilon:.{digits}e}")
        if abs(near - epsilon) <= max(RESEMBLES * abs(epsilon), float(np.median(error[best]))):
            return near
    return epsilon


def _short(number: float) -> float:
    """The number of four digits that it is, but for rounding."""
    near = float(f"{number:.3e}")
    return near if abs(near - number) <= 1e-4 * abs(number) else number


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


def norm(values: Array) -> float:
    """√Σx², without BLAS, which would start threads for a millisecond's work."""
    return float(np.sqrt(np.einsum("i,i->", values.ravel(), values.ravel())))
