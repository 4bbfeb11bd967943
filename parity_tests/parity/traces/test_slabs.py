"""Traces whose files are divided otherwise, as other programs and earlier versions write them."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from network.registry import registered
from parity.traces.backends import BackendChoice
from parity.traces.record import record
from parity.traces.trace import open_trace
from parity.verdict.compare import compare
from parity.verdict.measure import difference
from parity.verdict.pair import PairPaths
from parity.verdict.result import Verdict
from parity_tests.network import vertexwise
from reports.page.samples import tap_sample

TAP = "summed"
WRONG = 41
"""A row that differs."""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairPaths]:
    paths = PairPaths.in_folder(tmp_path_factory.mktemp("slabs"))
    choice = BackendChoice("parity_tests.network.vertexwise:factory")
    with registered(vertexwise.NETWORK):
        for path in (paths.reference, paths.candidate):
            record(choice, vertexwise.inputs(), vertexwise.weights(), path)
        yield paths


def divided(path: Path, chunks: tuple[int, ...] | None) -> None:
    """Write a tap again, in other chunks or in none, with one row off."""
    with h5py.File(path, "r+") as file:
        attributes, values = dict(file["taps"][TAP].attrs), file["taps"][TAP][()]
        values[WRONG] = vertexwise_row() * np.float32(1.5)
        del file["taps"][TAP]
        dataset = file["taps"].create_dataset(TAP, data=values, chunks=chunks)
        for name, value in attributes.items():
            dataset.attrs[name] = value


def vertexwise_row() -> np.ndarray:
    return np.linspace(1, 2, vertexwise.WIDTH, dtype=np.float32)


@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
@pytest.mark.parametrize("chunks", [None, (1, vertexwise.WIDTH), (7, 4), (300, 1)])
def test_the_same_elements_are_held_against_each_other(
    sides: PairPaths, chunks: tuple[int, ...] | None, side: str
) -> None:
    chosen = [sides.reference, sides.candidate]
    for path in chosen if side == "both" else [getattr(sides, side)]:
        divided(path, chunks)
    if side != "both":
        whole = next(path for path in chosen if path != getattr(sides, side))
        with h5py.File(whole, "r+") as file:
            file["taps"][TAP][WRONG] = vertexwise_row()
    else:
        with h5py.File(sides.candidate, "r+") as file:
            file["taps"][TAP][WRONG] = vertexwise_row()
    found = compare(sides.reference, sides.candidate)
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, TAP)
    with open_trace(sides.reference) as first, open_trace(sides.candidate) as second:
        measured = difference(first, second, "taps", TAP)
        sample = tap_sample(first, second, found.taps[-1], vertices=vertexwise.VERTICES)
    assert measured.at == (WRONG, vertexwise.WIDTH - 1)
    assert measured.max_abs == pytest.approx(1.0)
    assert sample is not None
    assert {each["at"][0] for each in sample["worst"]} == {WRONG}
    assert "1 of 300 rows" in " ".join(sample["patterns"])
