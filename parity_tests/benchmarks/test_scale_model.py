"""The simulation of many workers, where its answer is known."""

import pytest

from benchmarks.scale_model import Measured, simulate


def test_workers_that_wait_for_nobody_share_the_work() -> None:
    measured = Measured(10.0, 100.0, 0.0, 0, 1.0)
    assert simulate(measured, 100, 1).hours * 3600 == pytest.approx(100 + 100 * 10)
    found = simulate(measured, 100, 4)
    assert found.hours * 3600 == pytest.approx(100 + 25 * 10)
    assert found.workers_busy == pytest.approx(250 / 350)


def test_the_client_is_the_limit_of_many_workers() -> None:
    found = simulate(Measured(1.0, 0.0, 0.1, 0, 1.0), 2000, 256)
    assert found.hours * 3600 == pytest.approx(2000 * 0.1, rel=0.01)
    assert found.client_busy == pytest.approx(1.0, abs=0.01)
    assert found.workers_busy < 0.05


def test_the_link_is_the_limit_of_slow_storage() -> None:
    found = simulate(Measured(1.0, 0.0, 0.0, 1_000_000, 10e6), 2000, 256)
    assert found.hours * 3600 == pytest.approx(2000 * 0.1, rel=0.01)
    assert found.link_busy == pytest.approx(1.0, abs=0.01)
