"""The precision that errors and values betray."""

import numpy as np
import pytest
import torch

from parity.diagnosis.precision import name_precision, representable
from parity.diagnosis.variant import narrowed

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.mark.parametrize("terms", [27, 384, 2304])
@pytest.mark.parametrize("kind", ["bfloat16", "TF32", "float32"])
def test_the_precision_of_a_product_is_named_from_its_errors(kind, terms, rng):
    x, w = (rng.normal(size=size).astype(np.float32) for size in ((200, terms), (terms, 50)))
    exact = x.astype(np.float64) @ w.astype(np.float64)
    units = np.sqrt(terms) * (np.abs(x).astype(np.float64) @ np.abs(w).astype(np.float64))
    given = (each.astype(np.float64) for each in (x, w))
    a, b = given if kind == "float32" else (narrowed(each, kind) for each in given)
    values = a.astype(np.float32) @ b.astype(np.float32)
    assert name_precision(values - exact, units, terms, values.astype(np.float64)) == kind


@pytest.mark.parametrize("kind", TYPES)
def test_rounding_is_that_of_torch(kind, rng):
    values = rng.normal(size=2000) * np.exp2(rng.integers(-20, 14, 2000))
    expected = torch.from_numpy(values).to(TYPES[kind]).double().numpy()
    np.testing.assert_array_equal(narrowed(values, kind), expected)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "TF32"])
def test_values_of_a_narrower_type_are_recognised(kind, rng):
    values = rng.normal(size=1000)
    assert representable(values) is None
    assert representable(narrowed(values, kind)) in (kind, "float16")
    assert representable(narrowed(values, kind)[:50]) is None


def test_without_an_error_nothing_is_named():
    assert name_precision(np.zeros(5), np.ones(5)) is None
    assert name_precision(np.ones(5), np.ones(5)) is None
