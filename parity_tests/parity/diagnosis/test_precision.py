"""Rounding to narrower types, and values that have them."""

import numpy as np
import pytest
import torch

from parity.diagnosis.hints import representable
from parity.oracle.primitives.narrow import narrowed

TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


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
