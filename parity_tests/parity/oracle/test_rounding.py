"""Running error bounds hold for every operation, and for chains of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from parity.oracle.rounding import UNIT_ROUNDOFF, Bounded, dot, stack

U = UNIT_ROUNDOFF["float32"]
OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "sin": lambda a, _: a.sin() if isinstance(a, Bounded) else np.sin(a),
    "cos": lambda a, _: a.cos() if isinstance(a, Bounded) else np.cos(a),
    "sqrt": lambda a, b: (
        (a * a + b * b).sqrt() if isinstance(a, Bounded) else np.sqrt(a * a + b * b)
    ),
    "dot": lambda a, b: (
        dot([a, b, a], [b, a, a]) if isinstance(a, Bounded) else a * b + b * a + a * a
    ),
    "cancelling": lambda a, b: (a + b) - a,
    "chain": lambda a, b: ((a - b) / (a * b)) * (a + b) - a / b,
}


def draws(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    a, b = (
        generator.choice([-1, 1], 20_000) * 2 ** generator.uniform(-8, 8, 20_000) for _ in range(2)
    )
    return a.astype(np.float32), b.astype(np.float32)


@pytest.mark.parametrize("name", OPERATIONS)
def test_float32_never_errs_by_more_than_the_bound(name: str) -> None:
    a, b = draws()
    operation = OPERATIONS[name]
    bounded = operation(Bounded.exact(a, U), Bounded.exact(b, U))
    assert isinstance(bounded, Bounded)
    wide = operation(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(bounded.value, np.asarray(wide), rtol=1e-9, atol=1e-12)
    error = np.abs(np.asarray(operation(a, b), np.float64) - bounded.value)
    assert (error <= bounded.error).all()
    # A bound that is never half used is a bound on something else.
    rounded = bounded.error > 0
    assert (error[rounded] / bounded.error[rounded]).max() > (
        0.2 if name in ("sin", "cos", "chain") else 0.4
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_errors_of_operands_are_carried_on(name: str) -> None:
    a, b = draws(1)
    generator = np.random.default_rng(2)
    spread = 1e-4
    operation = OPERATIONS[name]
    off = [x.astype(np.float64) * (1 + spread * generator.uniform(-1, 1, x.shape)) for x in (a, b)]
    bounded = operation(
        *(Bounded(x.astype(np.float64), spread * np.abs(x.astype(np.float64)), U) for x in (a, b))
    )
    assert isinstance(bounded, Bounded)
    assert (np.abs(np.asarray(operation(*off)) - bounded.value) <= bounded.error).all()


def test_divisor_that_may_be_zero_bounds_nothing() -> None:
    one = Bounded.exact(np.ones(3), U)
    divisor = Bounded(np.array([1.0, 1e-3, 1e-3]), np.array([0.0, 1e-3, 2e-3]), U)
    quotient = one / divisor
    assert np.isfinite(quotient.error[0])
    assert quotient.error[1:].tolist() == [np.inf, np.inf]


def test_stacking_keeps_values_and_errors_together() -> None:
    parts = [Bounded(np.full(4, n), np.full(4, n / 10), U) for n in range(3)]
    joined = stack(parts)
    assert joined.value.shape == joined.error.shape == (4, 3)
    assert joined.error[0].tolist() == [0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("operation", "free"),
    [
        (lambda x, y: x + y, [True, True, False, False]),
        (lambda x, y: x - y, [True, True, False, False]),
        (lambda x, y: x * y, [True, True, False, False]),
        (lambda x, y: x / y, [True, True, False, False]),
    ],
)
def test_what_needs_no_rounding_has_none(operation: Callable, free: list[bool]) -> None:
    """Powers of two are exact; thirds, and sums of numbers far apart, are not."""
    x = Bounded.exact(np.array([0.5, -3.0, np.float32(1 / 3), np.float32(0.1)]), U)
    y = Bounded.exact(np.array([2.0, 0.25, np.float32(3.3), np.float32(7.7e3)]), U)
    found = operation(x, y)
    assert (found.error[:2] == 0).tolist() == free[:2]
    assert (found.error[2:] == 0).tolist() == free[2:]


def test_exact_in_float64_is_not_exact_in_float32() -> None:
    value = Bounded.exact(np.array([1.0]), U) + Bounded.exact(np.array([2.0**-30]), U)
    assert value.error[0] > 0
    wide = Bounded.exact(np.array([1.0]), 2.0**-53) + Bounded.exact(np.array([2.0**-30]), 2.0**-53)
    assert wide.error[0] == 0
