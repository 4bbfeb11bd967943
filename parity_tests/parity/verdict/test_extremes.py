"""Numbers far from 1, bounds that are infinite, values that hardly tell anything."""

from collections.abc import Callable
from itertools import product as product_of

import numpy as np
import pytest

from network import call
from network.program import Expression
from parity.verdict.result import Comparison, Status, Verdict
from parity_tests.network.single import judged

RANDOM = np.random.default_rng(0)
ROWS, COLUMNS = RANDOM.standard_normal((64, 32)), RANDOM.standard_normal((32, 8))


def product(x: Expression, *, w: Expression) -> Expression:
    return x @ w


def plain(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return x @ w


def reversed_sum(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return x[:, ::-1] @ w[::-1]


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        *product_of([1e-30, 1e-24, 1e-12, 1.0, 1e12, 1e17], ["float32", "float64"]),
        (1e20, "float64"),
    ],
)
class TestProductsOfAnySize:
    """Sizes of sums are computed in float32, which products beyond 1e38 and below 1e-38 are not."""

    def test_another_order_agrees(self, scale: float, dtype: str) -> None:
        found = judged(product, {"x": scale * ROWS}, {"w": scale * COLUMNS}, plain, reversed_sum,
                       dtype=dtype)  # fmt: skip
        assert found.verdict is Verdict.AGREE
        assert not [note for note in found.notes if "departs" in note]

    def test_another_function_differs(self, scale: float, dtype: str) -> None:
        found = judged(product, {"x": scale * ROWS}, {"w": scale * COLUMNS}, plain,
                       lambda x, w: 1.001 * (x @ w), dtype=dtype)  # fmt: skip
        assert found.verdict is Verdict.DIFFER


def test_rows_of_very_different_size_are_each_judged() -> None:
    scales = np.logspace(-30, 6, 64)[:, None]

    def last_row(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        found = x @ w
        found[3] *= 1.001
        return found

    rows = {"x": scales * ROWS}
    columns = {"w": COLUMNS}
    assert judged(product, rows, columns, plain, reversed_sum).verdict is Verdict.AGREE
    assert judged(product, rows, columns, plain, last_row).verdict is Verdict.DIFFER


CANCELLING = np.float32([[1.1, 1.3, 0.0]] * 8)
CANCELLING[:, 2] = -(CANCELLING[:, 0].astype(np.float64) + CANCELLING[:, 1]).astype(np.float32)
CANCELLING[1:, 2] = 1.0
SEVENTHS = np.full((3, 2), 0.7)


def inverse(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return 1.0 / (x @ w)


def logarithm(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.log(np.abs(x @ w))


@pytest.mark.parametrize(
    ("formula", "right"),
    [
        (lambda x, *, w: 1.0 / (x @ w), inverse),
        (lambda x, *, w: call("log", call("abs", x @ w)), logarithm),
    ],
    ids=["inverse", "logarithm"],
)
def test_what_has_no_bound_is_not_judged_right(
    formula: Callable[..., Expression], right: Callable[..., np.ndarray]
) -> None:
    """The first row of the product is nothing but rounding, and so is what is made of it."""

    def other(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        found = right(x, w)
        found[0] = -3.0
        return found

    given = {"x": CANCELLING}, {"w": SEVENTHS}
    found = judged(formula, *given, right, other, float64=False)
    assert found.verdict is Verdict.INVALID
    (tap,) = found.taps
    assert tap.status is Status.INVALID
    assert "2 elements without a bound on rounding differ and were not judged" in tap.note
    assert judged(formula, *given, right, right, float64=False).verdict is Verdict.AGREE
    # In float64 the row is a number: there another function is one.
    assert judged(formula, *given, right, other).verdict is Verdict.DIFFER


def test_an_output_of_nothing_but_nan_is_not_judged() -> None:
    def lost(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return np.full_like(x @ w, np.nan)

    found = judged(product, {"x": ROWS}, {"w": COLUMNS}, lost, lost)
    assert found.verdict is Verdict.INVALID


def sigmoid(x: Expression) -> Expression:
    return 1.0 / (1.0 + call("exp", 0.0 - x))


def by_tanh(x: np.ndarray) -> np.ndarray:
    half = x.dtype.type(0.5)
    return half + half * np.tanh(half * x)


def by_exp(x: np.ndarray) -> np.ndarray:
    one = x.dtype.type(1)
    return one / (one + np.exp(-x))


def narrow(x: np.ndarray) -> np.ndarray:
    bits = by_exp(x).astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def test_ones_beside_their_neighbours_are_no_bfloat16() -> None:
    """A gate that is open: in float32 one side gives 1, the other the number before it."""
    near = np.linspace(16.7, 17.3, 24)[None]
    for pair in ((by_exp, by_tanh), (by_tanh, by_exp)):
        found = judged(sigmoid, {"x": near}, {}, *pair)
        assert found.verdict is Verdict.AGREE, found.taps[0].note


def test_values_of_bfloat16_are_named() -> None:
    found = judged(sigmoid, {"x": np.linspace(-4.0, 4.0, 24)[None]}, {}, by_exp,
                   lambda x: narrow(x) if x.dtype == np.float32 else by_exp(x))  # fmt: skip
    assert found.verdict is Verdict.DIFFER
    assert "values are all bfloat16 ones" in found.taps[0].note


class TestIntegersOfSums:
    """A sum that comes to an integer, or next to it: without ``decide`` either side is right."""

    X = RANDOM.integers(1, 40, (3000, 3))
    W = np.array([[0.1], [0.2], [0.7]])

    @staticmethod
    def judged(candidate: Callable[..., np.ndarray]) -> Comparison:
        def from_left(x: np.ndarray, w: np.ndarray) -> np.ndarray:
            terms = x * w[:, 0]
            return np.floor((terms[:, 0] + terms[:, 1]) + terms[:, 2])[:, None]

        return judged(lambda x, *, w: call("floor", x @ w), {"x": TestIntegersOfSums.X},
                      {"w": TestIntegersOfSums.W}, from_left, candidate)  # fmt: skip

    def test_either_side_is_right(self) -> None:
        def from_right(x: np.ndarray, w: np.ndarray) -> np.ndarray:
            terms = x * w[:, 0]
            return np.floor(terms[:, 0] + (terms[:, 1] + terms[:, 2]))[:, None]

        found = self.judged(from_right)
        assert found.taps[0].max_abs == 1.0
        assert found.verdict is Verdict.AGREE

    def test_another_rounding_differs(self) -> None:
        found = self.judged(lambda x, w: np.round(x @ w))
        assert found.verdict is Verdict.DIFFER
        assert found.diagnosis is not None
        assert "round for floor" in found.diagnosis.explanation


def cancelling_sums() -> tuple[np.ndarray, np.ndarray]:
    """Rows whose products with a matrix are exactly 0, and are not where they are rounded."""
    a, b = (np.floor(RANDOM.uniform(1, 2, 40) * 2**12) / 2**12 for _ in range(2))
    x = np.stack([a, b, a + b, np.ones(40)], axis=1)
    w = np.zeros((4, 3))
    w[:3] = np.float32(RANDOM.uniform(1, 2, 3)) * np.array([[1.0], [1.0], [-1.0]])
    return x, w


def terms(x: np.ndarray, w: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    each = x[:, :, None] * w
    found = each[:, order[0]]
    for number in order[1:]:
        found = found + each[:, number]
    return found


def test_a_sum_of_sums_that_cancel_is_rounded_all_the_same() -> None:
    x, w = cancelling_sums()
    found = judged(
        lambda x, *, w: call("reduce_sum", x @ w, axis=1), {"x": x}, {"w": w},
        lambda x, w: terms(x, w, (0, 1, 2, 3)).sum(axis=1, keepdims=True),
        lambda x, w: terms(x, w, (2, 1, 0, 3))[:, ::-1].sum(axis=1, keepdims=True),
    )  # fmt: skip
    assert found.taps[0].max_abs > 0
    assert found.verdict is Verdict.AGREE


@pytest.mark.parametrize("first", [True, False], ids=["2·sum", "sum·2"])
def test_a_sum_of_one_element_times_two(first: bool) -> None:
    """The sum may be a power of two by chance: it was rounded all the same."""
    tried = 0
    for number in range(40):
        a, b = np.floor(np.random.default_rng(number).uniform(1, 2, 2) * 2**12) / 2**12
        x, w = np.array([[a, b, a + b, 1.0]]), np.array([[0.7], [0.7], [-0.7], [1.0]])
        found = judged(
            (lambda x, *, w: 2.0 * (x @ w)) if first else (lambda x, *, w: (x @ w) * 2.0),
            {"x": x}, {"w": w},
            lambda x, w: 2 * terms(x, w, (0, 1, 2, 3)),
            lambda x, w: 2 * terms(x, w, (3, 2, 1, 0)),
        )  # fmt: skip
        tried += found.taps[0].max_abs > 0
        assert found.verdict is Verdict.AGREE
        if tried == 2:
            break
    assert tried


@pytest.mark.parametrize(
    ("size", "stride", "kernel"),
    [(11, 2, (3, 3)), (12, 2, (1, 1)), (12, 4, (3, 3)), (12, 1, (3, 1)), (9, 2, (1, 5))],
)
def test_convolutions_of_any_size(size: int, stride: int, kernel: tuple[int, int]) -> None:
    import torch
    from torch.nn import functional

    images = RANDOM.uniform(0.0, 1.0, (2, size, size, 4))
    weight = RANDOM.standard_normal((*kernel, 4, 5))

    def same(length: int, side: int) -> tuple[int, int]:
        total = max((-(-length // stride) - 1) * stride + side - length, 0)
        return total // 2, total - total // 2

    def convolved(x: np.ndarray, weight: np.ndarray, early: int = 0) -> np.ndarray:
        rows, columns = (same(size, side) for side in kernel)
        rows = rows[0] + early, rows[1] - early
        image = functional.pad(torch.tensor(x).permute(0, 3, 1, 2), (*columns, *rows))
        made = functional.conv2d(image, torch.tensor(weight).permute(3, 2, 0, 1), stride=stride)
        return made.permute(0, 2, 3, 1).numpy()

    def formula(x: Expression, *, weight: Expression) -> Expression:
        return call("conv2d", x, weight, stride=stride)

    given = {"x": images}, {"weight": weight}
    assert judged(formula, *given, convolved, convolved).verdict is Verdict.AGREE
    if same(size, kernel[0])[1]:
        shifted = judged(formula, *given, convolved, lambda x, weight: convolved(x, weight, 1))
        assert shifted.verdict is Verdict.DIFFER
