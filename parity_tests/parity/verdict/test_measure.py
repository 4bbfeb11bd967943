"""The measuring itself, against NumPy on whole arrays, at every size of slab."""

import math
from pathlib import Path

import numpy as np
import pytest

from parity.traces.trace import TraceReader, open_trace
from parity.verdict import measure
from parity.verdict.measure import FEW, Difference, Measured, bits_of, difference, relative
from parity_tests.parity.conftest import Build
from weight_conversion.errors import InputError

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, 1e-40)


def planted(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays that mostly agree, with special numbers at some places of either or both."""
    generator = np.random.default_rng(seed)
    first = generator.normal(size=shape)
    second = first + 1e-6 * generator.normal(size=shape)
    for _ in range(seed % 4):
        place = tuple(generator.integers(side) for side in shape)
        value = generator.choice(SPECIAL)
        if generator.random() < 0.7:
            first[place] = value
        if generator.random() < 0.7:
            second[place] = value
    return first, second


def plainly(r: np.ndarray, c: np.ndarray) -> dict[str, object]:
    """What ``difference`` should find, the slow way."""
    worst, at, aliens, nans = -1.0, (), [], 0
    for place in np.ndindex(r.shape):
        a, b = float(r[place]), float(c[place])
        if math.isnan(a) and math.isnan(b):
            nans += 1
        if a == b or (math.isnan(a) and math.isnan(b)):
            delta = 0.0
        elif math.isfinite(a) and math.isfinite(b):
            delta = abs(b - a)
        else:
            aliens.append(place)
            continue
        if delta > worst:
            worst, at = delta, place
    finite = np.isfinite(r) & np.isfinite(c)
    over = np.linalg.norm(r[finite])
    return {
        "at": aliens[0] if aliens else at,
        "max_abs": math.nan if aliens else worst,
        "unmatched": len(aliens),
        "not_a_number": nans,
        "scale": float(np.abs(r[finite]).max(initial=0)),
        "rms_rel": float(np.linalg.norm(c[finite] - r[finite]) / over) if over else 0.0,
    }


class Pair:
    def __init__(self, first: Path, second: Path) -> None:
        self.paths = first, second

    def __enter__(self) -> tuple[TraceReader, TraceReader]:
        self.contexts = [open_trace(path) for path in self.paths]
        first, second = (context.__enter__() for context in self.contexts)
        return first, second

    def __exit__(self, *error: object) -> None:
        for context in self.contexts:
            context.__exit__(None, None, None)


def pair(build: Build, first: np.ndarray, second: np.ndarray) -> Pair:
    return Pair(build("reference", {"x": first}), build("candidate", {"x": second}))


def measured(
    build: Build, first: np.ndarray, second: np.ndarray, without: np.ndarray | None = None
) -> Difference:
    with pair(build, first, second) as (reference, candidate):
        return difference(reference, candidate, "taps", "x", without)


@pytest.mark.parametrize("slab", [1, 3, 7, 10**6])
@pytest.mark.parametrize("seed", range(16))
def test_measures_what_numpy_does(
    build: Build, monkeypatch: pytest.MonkeyPatch, seed: int, slab: int
) -> None:
    monkeypatch.setattr(measure, "SLAB", slab)
    first, second = planted(seed, (4, 3, 5))
    found = vars(measured(build, first, second))
    for key, expected in plainly(first, second).items():
        if isinstance(expected, float):
            assert found[key] == pytest.approx(expected, rel=1e-12, nan_ok=True), key
        else:
            assert found[key] == expected, key
    place = found["at"]
    np.testing.assert_equal((found["reference"], found["candidate"]), (first[place], second[place]))


@pytest.mark.parametrize("cuts", [(1,), (7, 8), (1, 20, 59)])
@pytest.mark.parametrize("seed", range(16))
def test_parts_that_are_joined_are_the_whole(seed: int, cuts: tuple[int, ...]) -> None:
    first, second = (values.ravel() for values in planted(seed, (4, 3, 5)))
    whole, joined = Measured(), Measured()
    whole.add(0, first, second)
    starts = (0, *cuts)
    parts = zip(starts, np.split(first, cuts), np.split(second, cuts), strict=True)
    for start, r, c in parts:
        part = Measured()
        part.add(start, r, c)
        joined.join(part)
    found, expected = (vars(each.difference((4, 3, 5))) for each in (joined, whole))
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-12, err_msg=key)


def test_left_out_rows_do_not_count(build: Build) -> None:
    first = np.ones((6, 2))
    second = first.copy()
    second[2], second[3, 1], second[5, 0] = np.nan, 9, 1.5
    mask = np.array([False, True, False])  # rows 2 and 3 of the six
    assert math.isnan(measured(build, first, second).max_abs)
    found = measured(build, first, second, without=mask)
    assert (found.max_abs, found.at, found.unmatched) == (0.5, (5, 0), 0)
    assert measured(build, first, second, without=np.ones(1, bool)).max_abs == 0


@pytest.mark.parametrize("slab", [1, 2, 3, 5])
def test_left_out_rows_are_the_same_in_every_slab(
    build: Build, monkeypatch: pytest.MonkeyPatch, slab: int
) -> None:
    monkeypatch.setattr(measure, "SLAB", slab)
    first = np.zeros((4, 3))
    second = np.arange(12.0).reshape(4, 3)
    mask = np.array([False, False, False, True])
    assert measured(build, first, second, without=mask).max_abs == 8


def test_other_shapes_are_refused_rather_than_stretched(build: Build) -> None:
    with pytest.raises(InputError, match=r"/taps/x has shape \(1,\); expected \(3,\)"):
        measured(build, np.ones(3), np.ones(1))


@pytest.mark.parametrize(
    ("numbers", "bits"),
    [
        ([0.0, -0.0], 0),
        ([np.nan, np.inf], 0),
        ([1.0, 2.0, -4.0], 1),
        ([3.0], 2),
        ([1.0, np.nan, 1.5, np.inf], 2),
        ([float(np.float16(1.1 + 2**-10))], 11),
        ([float(np.float16(0.1))], 10),
        ([float(np.float32(0.1))], 24),
        ([1 + 2.0**-23], 24),
        ([0.1, 1 / 3], 53),
        ([1.0, float(np.float32(9.6e-41)), 2.0**-126], 1),  # the second is subnormal in float32
        ([1 + 2.0**-52, 1.0], 53),
    ],
    ids=str,
)
def test_bits_that_numbers_need(numbers: list[float], bits: int) -> None:
    assert bits_of(np.array(numbers)) == bits
    late = np.concatenate([np.ones(2 * FEW), numbers])
    assert bits_of(late) == max(bits, 1)
    assert bits_of(late, enough=1) == 1


@pytest.mark.parametrize(
    ("max_abs", "scale", "expected"),
    [(0, 0, 0), (1, 0, math.inf), (1, 2, 0.5), (math.nan, 0, math.nan), (math.nan, 1, math.nan)],
)
def test_relative_difference_survives_zero(max_abs: float, scale: float, expected: float) -> None:
    assert relative(max_abs, scale) == pytest.approx(expected, nan_ok=True)
