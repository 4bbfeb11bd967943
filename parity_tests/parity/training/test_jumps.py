"""A loss that jumps is told once, a falling or wavering one never."""

from collections.abc import Sequence

import pytest

from parity.training.jumps import FACTOR, STEPS, Jumps

FALLING = [1000.0 / step for step in range(1, 200)]


def told(totals: Sequence[float]) -> list[tuple[int, str]]:
    jumps = Jumps()
    found = [(step, jumps.look(step, total)) for step, total in enumerate(totals, start=1)]
    return [each for each in found if each[1]]


@pytest.mark.parametrize(
    "totals",
    [
        FALLING,
        [5.0, 9.0] * 100,
        [*FALLING, FALLING[-1] * FACTOR],  # just not beyond
        [1.0, 100.0] * (STEPS // 2),  # a run that has only begun
        # As far up, but slowly.
        [1.0 * 1.1**step for step in range(200)],
    ],
)
def test_nothing_is_told(totals: Sequence[float]) -> None:
    assert told(totals) == []


def test_a_jump_is_told_once() -> None:
    ((step, line),) = told([*FALLING, 80.0, 9000.0, *FALLING, 1e6])
    assert step == len(FALLING) + 1
    assert line.startswith("step 200: the total is 80 and was 5.025 at step 199: the learning rate")
