"""Numbers of a layer that are solved for."""

import numpy as np
import pytest

from network import call
from network.program import Expression
from parity_tests.network.single import judged

OFFICIAL = float(np.float32(1e-6))
RANDOM = np.random.default_rng(0)
VALUES, VARIANCES = RANDOM.standard_normal((40, 12)), np.square(RANDOM.standard_normal(12))


def formula(x: Expression, *, v: Expression) -> Expression:
    return x * call("sqrt", v + OFFICIAL)


def with_epsilon(epsilon: float):
    return lambda x, v: x * np.sqrt(v + x.dtype.type(epsilon))


@pytest.mark.parametrize("epsilon", [1e-4, 1e-5, 1e-7, 1e-8, 1e-10, 1e-12])
@pytest.mark.parametrize("zeros", [0, 6, 12], ids=["no zeros", "some", "all"])
def test_an_epsilon_under_a_root_is_named(zeros: int, epsilon: float) -> None:
    """Where it stands alone a step towards a smaller one goes beyond 0, and no root is there."""
    variances = np.where(np.arange(12) < zeros, 0.0, VARIANCES)
    found = judged(formula, {"x": VALUES}, {"v": variances},
                   with_epsilon(OFFICIAL), with_epsilon(epsilon))  # fmt: skip
    assert found.diagnosis is not None
    assert (found.diagnosis.operand, found.diagnosis.confirmed) == ("epsilon", True)
    assert f"{epsilon:.6g} instead of 1e-06" in found.diagnosis.explanation
