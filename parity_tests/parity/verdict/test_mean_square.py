"""The root mean square of errors in roundings, where some of the units are no numbers."""

import numpy as np
import pytest

from parity.oracle.local import Alone
from parity.verdict.mean_square import MeanSquare


def alone(unit: np.ndarray, value: float = 1.0, fixed: float = 0.0) -> Alone:
    limit = np.full(unit.shape, 8.0)
    return Alone(np.full(unit.shape, value), limit, limit, unit, np.full(unit.shape, fixed))


@pytest.mark.parametrize("other", [np.nan, np.inf], ids=str)
def test_elements_without_a_unit_are_left_out(other: float) -> None:
    """A channel that is NaN on one side and has no bound on the other says nothing."""
    ours, theirs = np.ones((40, 3)), np.ones((40, 3))
    ours[:, 1], theirs[:, 1] = np.inf, other
    fixed = np.nan if np.isnan(other) else np.inf
    found = MeanSquare(tests=100, sharing=1)
    found.add(
        np.zeros((40, 3)),
        Alone(np.ones((40, 3)), ours, ours, ours, np.where(ours == np.inf, np.inf, 0.0)),
        Alone(np.ones((40, 3)), theirs, theirs, theirs, np.where(theirs == 1.0, 0.0, fixed)),
    )
    assert list(found.counts) == [40, 0, 40]
    assert (found.root, found.within, found.channel) == (0.0, True, None)


def test_errors_of_two_units_are_beyond() -> None:
    found = MeanSquare(tests=100, sharing=1)
    found.add(np.full((400, 3), 2.0), alone(np.ones((400, 3))))
    assert found.root == pytest.approx(2.0)
    assert not found.within
    assert "errors of 2 roundings in the root mean square" in found.said()
