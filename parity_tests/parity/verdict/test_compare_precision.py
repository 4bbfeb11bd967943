"""Lower precision than was asked for is a difference with that cause, wherever it hides."""

from typing import Any

import h5py
import numpy as np
import pytest

from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity_tests.parity.conftest import LAST, Build, seven, values


def entry(comparison: Comparison) -> TapResult:
    return comparison.taps[-1]


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Rounded towards zero to 8 bits of significand, still float32."""
    return (array.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


TYPES: list[tuple[str, Any, str]] = [
    ("float32", "float16", "float16"),
    ("float32", "int32", "int32"),
    ("float32", "uint16", "uint16"),
    ("float32", "int64", "int64"),
    ("float64", "float32", "float32"),
    ("float64", "float16", "float16"),
]


@pytest.mark.parametrize(("asked", "held", "named"), TYPES)
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_lower_type_is_a_difference_even_where_the_numbers_agree(
    build: Build, asked: str, held: str, named: str, side: str
) -> None:
    whole = np.round(4 * values(LAST, (156, 3)))  # exact in every type but unsigned ones
    whole = np.abs(whole)
    arrays = {"reference": whole.astype(asked), "candidate": whole.astype(asked)}
    arrays[side] = whole.astype(held)
    comparison = compare(
        *(build(name, {LAST: array}, attributes={"dtype": asked}) for name, array in arrays.items())
    )
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == LAST
    assert entry(comparison).note.startswith(f"the {side} is {named} where {asked} was asked for")
    assert (entry(comparison).max_abs, entry(comparison).mismatched) == (0, 0)


@pytest.mark.parametrize(("bits", "named"), [(8, "bfloat16"), (11, "float16")])
def test_type_that_reads_as_float32_does_not_pass_for_it(
    build: Build, bits: int, named: str
) -> None:
    whole = bfloat16(values(LAST, (156, 3)))

    def edit(file: h5py.File) -> None:
        del file[f"taps/{LAST}"]
        kind = h5py.h5t.IEEE_F32LE.copy()
        # Sign, exponent position and size, significand position and size within 32 bits.
        kind.set_fields(31, 23, 8, 24 - bits, bits - 1)
        space = h5py.h5s.create_simple(whole.shape)
        created = h5py.h5d.create(file["taps"].id, LAST.encode(), kind, space)
        created.write(h5py.h5s.ALL, h5py.h5s.ALL, whole)
        assert file[f"taps/{LAST}"].dtype == np.float32

    comparison = compare(
        build("reference", {LAST: whole}), build("candidate", {LAST: whole}, edit=edit)
    )
    assert entry(comparison).status is Status.DIFFER
    assert entry(comparison).note.startswith(
        f"the candidate is {named} where float32 was asked for"
    )


@pytest.mark.parametrize("held", [">f4", ">f8", "<f8"])
def test_byte_order_and_wider_types_are_no_difference(build: Build, held: str) -> None:
    second = {name: value.astype(held) for name, value in seven().items()}
    assert compare(build("reference"), build("candidate", second)).verdict is Verdict.AGREE


CASTS = {
    "float16": ("float32", lambda a: a.astype(np.float16).astype(np.float32)),
    "bfloat16": ("float32", bfloat16),
    "float32": ("float64", lambda a: a.astype(np.float32).astype(np.float64)),
}


@pytest.mark.parametrize("named", CASTS)
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_numbers_of_lower_precision_in_a_wide_type_are_named(
    build: Build, named: str, side: str
) -> None:
    asked, cast = CASTS[named]
    arrays = {
        name: values(LAST, (156, 3), "float64").astype(asked) for name in ("reference", "candidate")
    }
    arrays[side] = cast(arrays[side])
    comparison = compare(
        *(build(name, {LAST: array}, attributes={"dtype": asked}) for name, array in arrays.items())
    )
    assert entry(comparison).status is Status.DIFFER
    assert f"the {side}'s values are all {named} ones, {asked} was asked for" in (
        entry(comparison).note
    )


@pytest.mark.parametrize(
    "candidate",
    [
        np.zeros((156, 3)),
        np.ones((156, 3)),
        np.full((156, 3), np.nan),
        values(LAST, (156, 3)) * 1.01,
    ],
    ids=["zeros", "ones", "nan", "ordinary"],
)
def test_no_precision_is_blamed_for_other_faults(build: Build, candidate: np.ndarray) -> None:
    comparison = compare(
        build("reference", {LAST: values(LAST, (156, 3))}),
        build("candidate", {LAST: candidate.astype(np.float32)}),
    )
    assert entry(comparison).status is Status.DIFFER
    assert "asked for" not in entry(comparison).note


def test_no_precision_is_blamed_where_both_sides_have_short_numbers(build: Build) -> None:
    first = bfloat16(values(LAST, (156, 3)))
    comparison = compare(build("reference", {LAST: first}), build("candidate", {LAST: -first}))
    assert "asked for" not in entry(comparison).note


def test_no_precision_is_blamed_for_being_what_was_asked_for(build: Build) -> None:
    wide = values(LAST, (156, 3), "float64")
    comparison = compare(
        build("reference", {LAST: wide.astype(np.float32)}),
        build("candidate", {LAST: wide * 1.01}, attributes={"dtype": "float64"}),
    )
    assert entry(comparison).status is Status.DIFFER
    assert "asked for" not in entry(comparison).note


@pytest.mark.parametrize("shape", [(3, 3), (1,), (2466, 3)], ids=str)
def test_lower_type_in_a_shape_of_its_own_is_a_difference(
    build: Build, shape: tuple[int, ...]
) -> None:
    comparison = compare(
        build("reference", {LAST: np.ones(shape, np.float32)}),
        build("candidate", {LAST: np.ones(shape, np.float16)}),
    )
    assert entry(comparison).status is Status.DIFFER
    assert entry(comparison).note.startswith("the candidate is float16 where float32 was asked for")
