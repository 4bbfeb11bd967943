"""A second run's layer with the first run's bounds: the same values, and no weaker a proof."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from network.taps import TapRow
from parity.oracle.beside import Beside, beside
from parity.oracle.confidence import arithmetic_of, confidence
from parity.oracle.context import Context
from parity.oracle.evaluate import evaluate
from parity.oracle.local import Layer, layer, layer_inputs, local_error
from parity.oracle.number import exactly
from parity.verdict import mean_square
from parity.verdict.findings import Findings
from parity.verdict.mean_square import MeanSquare, sharing_of
from parity.verdict.precision import OWN
from parity.verdict.shown import Seen, show
from parity_tests.parity.layers import KINDS

Make = Callable[[str], tuple[TapRow, list[np.ndarray], Context]]
SINGLE = np.float32
OFF = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0)
"""By how many roundings the second run's output is off, at most."""


@pytest.mark.parametrize("kind", KINDS)
def test_values_without_bounds_are_those_with_bounds(kind: str, make: Make) -> None:
    row, given, context = make(kind)
    parents = dict(zip(row.parents, map(exactly, given), strict=True))
    inputs = layer_inputs(row, row.program, parents, context)
    bounded = arithmetic_of(row.stage, "float32")
    with np.errstate(all="ignore"):
        whole, plain = (
            evaluate(row.program, inputs, arithmetic).number
            for arithmetic in (bounded, replace(bounded, bounded=False))
        )
    np.testing.assert_array_equal(plain.value, whole.value)


def two_runs(kind: str, make: Make, off: float, seed: int) -> Iterator[tuple]:
    """A right run and one on inputs that are a little off, one row of them gone; its output too."""
    row, given, context = make(kind)
    draw = np.random.default_rng(seed)
    sides = [given, [x * (1 + 1e-6 * draw.normal(size=x.shape)) for x in given]]
    if given[0].ndim == 2:
        sides[1][0][seed % len(given[0])] *= 1e-3
    for side, inputs in enumerate(sides):
        inputs = [x.astype(SINGLE).astype(np.float64) for x in inputs]
        parents = dict(zip(row.parents, map(exactly, inputs), strict=True))
        first = local_error(row, parents, context, np.zeros(row.shape), "float32").alone
        scale = np.where(first.unit > 0, first.unit, first.limit)
        noise = off * scale * draw.uniform(-1, 1, size=first.value.shape) if side else 0.0
        observed = (first.value + noise).astype(SINGLE).astype(np.float64)
        yield row, parents, context, observed


def findings(row: TapRow, context: Context, first: Layer, second: Layer | Beside) -> Findings:
    """Of both layers; what the runs have of the tap is the layers'."""
    tests = mean_square.tests_of(row.stage)
    seen = first.observed, (second if isinstance(second, Layer) else second.layer).observed
    pair = Seen(row, OWN, ("float32", "float32"), 0, seen, None, apart=False, across=False)
    found = Findings(MeanSquare(tests, sharing_of(row, context)))
    return show(pair, first, second, found, confidence(row.stage)).findings


SUMS = [kind for kind in KINDS if "projection" not in kind]


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("kind", SUMS)
def test_what_one_runs_bounds_prove_holds_with_both(kind: str, off: float, make: Make) -> None:
    for seed in range(4):
        with np.errstate(all="ignore"):
            first, second = two_runs(kind, make, off, seed)
            row, parents, context, observed = second
            ours = layer(row, first[1], context, first[3], "float32")
            near = beside(row, parents, context, observed, ours)
            whole = layer(row, parents, context, observed, "float32")
            if near is None:
                continue
            np.testing.assert_array_equal(near.layer.found.number.value, whole.found.number.value)
            if findings(row, context, ours, near).proved_by_one and near.serves:
                assert findings(row, context, ours, whole).within


def test_a_graph_convolutions_rounding_is_proved_by_one(make: Make) -> None:
    """That the shortcut is taken at all, and that it tells the same numbers to two digits."""
    with np.errstate(all="ignore"):
        first, second = two_runs("local convolution", make, 0.3, 1)
        row, parents, context, observed = second
        ours = layer(row, first[1], context, first[3], "float32")
        near = beside(row, parents, context, observed, ours)
        whole = layer(row, parents, context, observed, "float32")
        assert near is not None
        short, long = (findings(row, context, ours, each) for each in (near, whole))
    assert near.serves
    assert short.proved_by_one
    assert short.candidate == pytest.approx(long.candidate, rel=0.02)
    assert short.mean_square.root == pytest.approx(long.mean_square.root, rel=0.02)


def test_runs_far_apart_are_bounded_each_by_itself(make: Make) -> None:
    with np.errstate(all="ignore"):
        row, parents, context, observed = next(two_runs("local convolution", make, 0.0, 0))
        ours = layer(row, parents, context, observed, "float32")
        for factor, serves in ((1.0, True), (1.5, False), (np.nan, False)):
            other = {name: exactly(factor * each.value) for name, each in parents.items()}
            near = beside(row, other, context, observed, ours)
            assert near is not None
            findings(row, context, ours, near)
            assert near.serves == serves
