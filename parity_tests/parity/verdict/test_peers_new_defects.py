"""Defects of other tools that were seen since 2026-11, each planted in a recorded run.

``DEFECTS`` lists them; ``docs/peers.md`` says the same in a table. The change is made to one tap of
a copy of a torch run, in both of its precisions; each test shows first that the defective
comparison would have passed it.
"""

import inspect
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import parity
from commands.compare import command
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity.traces import layout
from parity.traces.backends import BackendChoice
from parity.traces.record import record
from parity.traces.sources import read_sources
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from weight_conversion import WeightSet

DEFECTS = {
    "max(|a − b| < ε): one element that agrees is enough": "test_one_element_that_agrees",
    "a correlation coefficient, blind to scale and offset": "test_scale_and_offset",
    "NaN and infinity set to 0 on each side alone": "test_what_is_no_number_is_not_zero",
    "|x − y|² / (|x|² + |y|²) ≤ 1e-3 over a tensor": "test_four_percent_everywhere",
    "an L1 norm as a hash": "test_what_an_l1_norm_cannot_tell",
    "tolerances raised until a checkpoint passes": "test_within_a_tolerance_raised_by_hand",
    "a tolerance to raise at all": "test_there_is_no_tolerance_to_raise",
    "every tensor allowed a relative error of 10 %": "test_ten_percent_in_the_norm",
}

TAP = "graph_conv_blk1_14_layer_14"
"""A layer without a ReLU, so that no change is undone by one: the first block's mesh (156, 3)."""
Change = Callable[[np.ndarray], np.ndarray]
Plant = Callable[[Change], Comparison]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("recorded") / "reference.h5"
    inputs = read_sources(demo_item_path("plane")).of("coarse")
    weights = WeightSet("coarse", seeded_weights("coarse"), None, "seed 0")
    record(BackendChoice("torch"), inputs, weights, path, taps=TAP)
    yield path
    path.unlink()


@pytest.fixture
def plant(recorded: Path, tmp_path: Path) -> Iterator[Plant]:
    """``plant(change)`` compares the run with a copy in which ``change`` was made to the tap."""
    path = tmp_path / "candidate.h5"

    def planted(change: Change) -> Comparison:
        shutil.copy(recorded, path)
        with h5py.File(path, "r+") as file:
            for group in (layout.TAPS, layout.FLOAT64):
                dataset = file[group][TAP]
                dataset[...] = change(dataset[()].astype(np.float64))
        return compare(recorded, path, taps=TAP)

    yield planted
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def reference(recorded: Path) -> np.ndarray:
    with h5py.File(recorded) as file:
        found: np.ndarray = file[layout.TAPS][TAP][()]
    return found.astype(np.float64)


def differing(found: Comparison) -> TapResult:
    """The tap's entry, once it is sure that the verdict rests on it and names another function."""
    (entry,) = found.taps
    assert (found.verdict, found.first_divergence) == (Verdict.DIFFER, TAP)
    assert (entry.status, entry.cause) == (Status.DIFFER, "function")
    return entry


def test_a_copy_agrees(plant: Plant) -> None:
    """What is seen below is what is planted there, and nothing else."""
    found = plant(lambda x: x)
    assert (found.verdict, found.taps[0].status) == (Verdict.AGREE, Status.AGREE)
    assert found.basis == "float64"


def test_one_element_that_agrees(plant: Plant, reference: np.ndarray) -> None:
    def change(x: np.ndarray) -> np.ndarray:
        kept = x.copy()
        x += 1
        x[7, 2] = kept[7, 2]
        return x

    assert np.max(np.abs(change(reference.copy()) - reference) < 1e-5)
    entry = differing(plant(change))
    assert entry.mismatched == entry.size - 1
    assert entry.at != (7, 2)


@pytest.mark.parametrize(("scale", "offset"), [(2, 0), (1, 0.5), (1.5, -3)])
def test_scale_and_offset(plant: Plant, reference: np.ndarray, scale: float, offset: float) -> None:
    coefficient = np.corrcoef(reference.ravel(), (scale * reference + offset).ravel())[0, 1]
    assert coefficient == pytest.approx(1)
    entry = differing(plant(lambda x: scale * x + offset))
    assert entry.float64_roundings is not None and entry.roundings_limit is not None
    assert entry.float64_roundings > entry.roundings_limit


@pytest.mark.parametrize("found", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_not_zero(plant: Plant, reference: np.ndarray, found: float) -> None:
    """At the element that is nearest to 0, so that 0 in its place changes next to nothing."""
    place = np.unravel_index(np.argmin(np.abs(reference)), reference.shape)

    def change(x: np.ndarray) -> np.ndarray:
        x[place] = found
        return x

    cleaned = np.nan_to_num(change(reference.copy()), nan=0, posinf=0, neginf=0)
    assert np.corrcoef(reference.ravel(), cleaned.ravel())[0, 1] > 1 - 1e-6
    (entry,) = plant(change).taps
    assert entry.status is Status.DIFFER
    assert entry.at == place
    assert "1 elements NaN or infinite on one side" in entry.note


def test_four_percent_everywhere(plant: Plant, reference: np.ndarray) -> None:
    x, y = reference, 1.045 * reference
    assert np.square(x - y).sum() / (np.square(x).sum() + np.square(y).sum()) <= 1e-3
    entry = differing(plant(lambda x: 1.045 * x))
    assert entry.rms_rel == pytest.approx(0.045, rel=1e-3)


@pytest.mark.parametrize(
    "change",
    [lambda x: np.roll(x, 1, axis=0), lambda x: -x, lambda x: np.abs(x)],
    ids=["permuted", "negated", "without its signs"],
)
def test_what_an_l1_norm_cannot_tell(plant: Plant, reference: np.ndarray, change: Change) -> None:
    assert np.abs(change(reference)).sum() == pytest.approx(np.abs(reference).sum())
    differing(plant(change))


@pytest.mark.parametrize("tolerance", [0.004, 4e-2])
def test_within_a_tolerance_raised_by_hand(
    plant: Plant, reference: np.ndarray, tolerance: float
) -> None:
    changed = reference + 0.9 * tolerance
    assert np.allclose(changed, reference, rtol=tolerance, atol=tolerance)
    entry = differing(plant(lambda x: x + 0.9 * tolerance))
    assert entry.max_abs == pytest.approx(0.9 * tolerance, rel=1e-3)


def test_there_is_no_tolerance_to_raise() -> None:
    """Neither from Python nor on the command line: what is admitted is derived."""
    named = {
        *inspect.signature(parity.compare).parameters,
        *inspect.signature(parity.run_pair).parameters,
        *(option for each in command.params for option in each.opts),
    }
    assert {"taps", "--taps"} <= named
    assert not [name for name in named if "tol" in name or "limit" in name or "threshold" in name]


def test_ten_percent_in_the_norm(plant: Plant, reference: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(size=reference.shape)
    noise *= 0.09 * np.linalg.norm(reference) / np.linalg.norm(noise)
    assert np.linalg.norm(noise) <= 0.1 * np.linalg.norm(reference)
    entry = differing(plant(lambda x: x + noise))
    assert entry.rms_rel == pytest.approx(0.09, rel=1e-3)


@pytest.mark.parametrize("test", DEFECTS.values())
def test_every_defect_has_its_test(test: str) -> None:
    assert callable(globals()[test])
    page = Path(__file__).parents[3] / "docs" / "peers.md"
    assert f"`{test}`" in page.read_text("utf-8")
