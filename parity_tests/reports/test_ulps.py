"""Distances between floating-point numbers, against ``nextafter`` and whole numbers of Python."""

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.tables.ulps import OCTAVES, UlpCounts, octave_words, octaves, ulp_distance

TYPES = (np.float16, np.float32, np.float64)
each_type = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)


def distance(r: float, c: float, kind: type[Any]) -> int | None:
    apart, exists = ulp_distance(np.array([r], kind), np.array([c], kind))
    return int(apart[0]) if exists[0] else None


@each_type
@pytest.mark.parametrize("start", [0.0, -0.0, 1.0, -1.0, 2.0, 1 / 3, -6e-8, 6e4])
def test_steps_of_nextafter_are_counted(kind: type[Any], start: float) -> None:
    value = first = kind(start)
    for steps in range(1, 30):
        value = np.nextafter(value, kind(np.inf))
        assert distance(first, value, kind) == steps
        assert distance(value, first, kind) == steps


def test_every_neighbour_in_float16_is_one_away() -> None:
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16)  # from 0 to the greatest
    line = np.concatenate([-finite[:0:-1], finite])
    apart, exists = ulp_distance(line[:-1], line[1:])
    assert exists.all()
    assert (apart == 1).all()
    ends, _ = ulp_distance(line[:1], line[-1:])
    assert int(ends[0]) == len(line) - 1


@each_type
def test_zeros_are_one_place_and_the_smallest_are_two_apart(kind: type[Any]) -> None:
    tiny = np.nextafter(kind(0), kind(1))
    assert distance(0.0, -0.0, kind) == 0
    assert distance(tiny, -0.0, kind) == 1
    assert distance(tiny, -tiny, kind) == 2


@each_type
def test_infinity_is_next_to_the_greatest(kind: type[Any]) -> None:
    most = np.finfo(kind).max
    assert distance(most, math.inf, kind) == 1
    assert distance(-most, -math.inf, kind) == 1
    assert distance(math.inf, math.inf, kind) == 0


def test_the_farthest_in_float64_fits() -> None:
    # More than 2**63, less than 2**64: neither a signed integer nor a float64 holds it exactly.
    most = 2 * 0x7FEFFFFFFFFFFFFF
    assert distance(-np.finfo(np.float64).max, np.finfo(np.float64).max, np.float64) == most
    (octave,) = octaves(np.array([most], np.uint64))
    assert octave == most.bit_length() == 64


@each_type
def test_nan_is_nan_and_no_number(kind: type[Any]) -> None:
    assert distance(math.nan, math.nan, kind) == 0
    assert distance(-math.nan, math.nan, kind) == 0
    assert distance(math.nan, 1.0, kind) is None
    assert distance(1.0, math.nan, kind) is None


bits64 = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])


@settings(deadline=None)
@given(bits64, bits64)
def test_float64_against_whole_numbers(r: float, c: float) -> None:
    def place(value: float) -> int:
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        return int(bits) if bits < 2**63 else -(int(bits) - 2**63)

    alone = math.isnan(r) != math.isnan(c)
    expected = None if alone else 0 if math.isnan(r) else abs(place(r) - place(c))
    assert distance(r, c, np.float64) == expected


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_octaves_are_binary_digits(number: int) -> None:
    assert octaves(np.array([number], np.uint64))[0] == number.bit_length()
    small = number % 2**32
    assert octaves(np.array([small], np.uint32))[0] == small.bit_length()


@pytest.mark.parametrize("number", [0, 1, 2, 2**53 - 1, 2**53 + 1, 2**54 - 1, 2**63, 2**64 - 1])
def test_octaves_where_float64_would_round(number: int) -> None:
    assert octaves(np.array([number], np.uint64))[0] == number.bit_length()


@pytest.mark.parametrize(
    ("r", "c"),
    [
        (np.zeros(3, np.float32), np.zeros(3, np.float64)),
        (np.zeros(3, np.float32), np.zeros(1, np.float32)),
        (np.zeros(3, np.int32), np.zeros(3, np.int32)),
    ],
)
def test_what_has_no_distance_is_refused(r: Any, c: Any) -> None:
    with pytest.raises(ValueError, match=r"one type, one shape|no units"):
        ulp_distance(r, c)


def test_both_byte_orders_count_alike() -> None:
    r, c = np.array([1.0, 2.0], ">f4"), np.array([1.0, 2.0000002], ">f4")
    assert ulp_distance(r, c)[0].tolist() == [0, 1]


def test_counts_of_parts_are_those_of_the_whole() -> None:
    generator = np.random.default_rng(2)
    r = generator.normal(size=(50, 7)).astype(np.float32)
    c = (r * (1 + generator.normal(size=r.shape) * 1e-5)).astype(np.float32)
    c[:9] = r[:9]
    r[20, 0] = c[20, 0] = np.nan
    r[21, 0], r[22, 0], c[23, 0] = np.nan, np.inf, -np.inf
    r[24, 0] = c[24, 0] = np.inf
    counts = UlpCounts()
    for start in range(0, 50, 13):
        counts.add(r[start : start + 13], c[start : start + 13])
    assert counts.not_finite == 3
    assert counts.counts.sum() == r.size - 3
    finite = np.isfinite(r) & np.isfinite(c)
    distance_, _ = ulp_distance(r[finite], c[finite])
    expected = np.bincount([int(d).bit_length() for d in distance_], minlength=OCTAVES)
    expected[0] += 2  # NaN on both sides, infinite on both sides
    assert counts.counts.tolist() == expected.tolist()
    found = counts.to_json()
    assert found is not None
    assert found["counts"] == np.trim_zeros(expected, "b").tolist()


def test_sides_of_two_types_have_no_counts() -> None:
    counts = UlpCounts()
    counts.add(np.zeros(3, np.float32), np.zeros(3))
    assert counts.to_json() is None


def test_octaves_in_words() -> None:
    assert [octave_words(k) for k in (0, 1, 2, 3, 8)] == ["0", "1", "2 to 3", "4 to 7", "from 2^7"]
