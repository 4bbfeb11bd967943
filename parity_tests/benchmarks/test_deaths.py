"""Whoever is killed in an evaluation: nothing is lost, and the table is the same to the bit."""

from pathlib import Path

import pytest

from benchmarks.deaths import DEATHS, Death, after
from parity_tests.evaluation.cheap import linked_dataset

ITEMS = 24


@pytest.mark.slow
@pytest.mark.parametrize("death", DEATHS)
def test_nothing_is_lost(tmp_path: Path, death: Death) -> None:
    linked_dataset(tmp_path / "data", ITEMS)
    found = after(
        death, tmp_path / "data", ITEMS, tmp_path, "parity_tests.evaluation.cheap:slow"
    )  # fmt: skip
    assert found.same
    assert ITEMS // 3 <= found.rows_at_death < ITEMS
    assert 0 <= found.again <= found.in_flight
    assert found.status == {"worker": 0, "client": -9, "scheduler": 2}[death]
    if death == "scheduler":
        assert found.said.startswith("p2m-parity: error: the scheduler of tcp://127.0.0.1:")
        assert found.said.endswith("is gone; expected the same command with --resume, once there "
                                   "is one again (docs/scale.md)")  # fmt: skip
    elif death == "worker":
        assert found.said == ""
