"""Planted faults in the values of one tap: each is seen, where it is, with the right numbers."""

import math
from collections.abc import Callable

import h5py
import numpy as np
import pytest

from parity.oracle.local import share_of
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Status, TapResult, Verdict
from parity_tests.parity.conftest import LAST, Build, seven, values

Fault = Callable[[np.ndarray, np.ndarray], None]
"""Changes reference and candidate, which are equal, in place."""


def result(comparison: Comparison, tap: str = LAST) -> TapResult:
    return next(entry for entry in comparison.entries if entry.tap == tap)


def with_fault(build: Build, fault: Fault, dtype: str = "float32") -> Comparison:
    first, second = seven(dtype), seven(dtype)
    fault(first[LAST], second[LAST])
    attributes = {"dtype": dtype}
    return compare(
        build("reference", first, attributes=attributes),
        build("candidate", second, attributes=attributes),
    )


def nan_in_candidate(_: np.ndarray, c: np.ndarray) -> None:
    c[88, 1] = np.nan


def nan_in_reference(r: np.ndarray, _: np.ndarray) -> None:
    r[88, 1] = np.nan


def nan_elsewhere(r: np.ndarray, c: np.ndarray) -> None:
    r[88, 1] = c[88, 2] = np.nan


def all_nan_in_candidate(_: np.ndarray, c: np.ndarray) -> None:
    c[:] = np.nan


def infinite_in_candidate(_: np.ndarray, c: np.ndarray) -> None:
    c[88, 1] = np.inf


def infinities_of_other_sign(r: np.ndarray, c: np.ndarray) -> None:
    r[88, 1], c[88, 1] = np.inf, -np.inf


def nan_against_infinity(r: np.ndarray, c: np.ndarray) -> None:
    r[88, 1], c[88, 1] = np.inf, np.nan


def wrong_beside_an_infinity_of_both(r: np.ndarray, c: np.ndarray) -> None:
    r[88, 1] = c[88, 1] = np.inf
    c[9, 0] += 1


def rows_permuted(_: np.ndarray, c: np.ndarray) -> None:
    c[:] = np.roll(c, 1, axis=0)


def two_rows_exchanged(_: np.ndarray, c: np.ndarray) -> None:
    c[[3, 4]] = c[[4, 3]]


def columns_exchanged(_: np.ndarray, c: np.ndarray) -> None:
    c[:, [0, 1]] = c[:, [1, 0]]


def last_element(_: np.ndarray, c: np.ndarray) -> None:
    c[-1, -1] += np.float32(1e-3)


def first_element(_: np.ndarray, c: np.ndarray) -> None:
    c[0, 0] += np.float32(1e-3)


def sign(_: np.ndarray, c: np.ndarray) -> None:
    np.negative(c, out=c)


def scaled(_: np.ndarray, c: np.ndarray) -> None:
    c *= np.float32(1.001)


def zeros_in_candidate(_: np.ndarray, c: np.ndarray) -> None:
    c[:] = 0


SEEN = (
    nan_in_candidate, nan_in_reference, nan_elsewhere, all_nan_in_candidate, infinite_in_candidate,
    infinities_of_other_sign, nan_against_infinity, wrong_beside_an_infinity_of_both, rows_permuted,
    two_rows_exchanged, columns_exchanged, last_element, first_element, sign, scaled,
    zeros_in_candidate,
)  # fmt: skip


@pytest.mark.parametrize("fault", SEEN, ids=lambda fault: fault.__name__)
def test_fault_in_a_tap_is_a_difference_there(build: Build, fault: Fault) -> None:
    comparison = with_fault(build, fault)
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == LAST
    assert [entry.tap for entry in comparison.taps if entry.status is Status.DIFFER] == [LAST]
    assert comparison.compared == 7


@pytest.mark.parametrize("fault", SEEN, ids=lambda fault: fault.__name__)
def test_fault_in_a_gradient_is_a_difference_there(build: Build, fault: Fault) -> None:
    first, second = values("g", (156, 3)), values("g", (156, 3))
    fault(first, second)
    key = "meshnetmvp2m/conv:0"
    comparison = compare(
        build("reference", gradients={key: first}), build("candidate", gradients={key: second})
    )
    assert comparison.verdict is Verdict.DIFFER
    assert comparison.first_divergence == f"gradients/{key}"


def nothing(_: np.ndarray, __: np.ndarray) -> None:
    pass


def rounding(_: np.ndarray, c: np.ndarray) -> None:
    c *= np.float32(1 + 2e-7)


def nan_in_the_same_places(r: np.ndarray, c: np.ndarray) -> None:
    r[3, 1] = c[3, 1] = r[9, 0] = c[9, 0] = np.nan


def same_infinities(r: np.ndarray, c: np.ndarray) -> None:
    r[3] = c[3] = (np.inf, -np.inf, 0)


def nothing_but_nan(r: np.ndarray, c: np.ndarray) -> None:
    r[:] = c[:] = np.nan


def zeros_on_both_sides(r: np.ndarray, c: np.ndarray) -> None:
    r[:] = c[:] = 0


def negative_zeros(r: np.ndarray, c: np.ndarray) -> None:
    r[:], c[:] = 0.0, -0.0


@pytest.mark.parametrize(
    "harmless",
    [
        nothing, rounding, nan_in_the_same_places, same_infinities, nothing_but_nan,
        zeros_on_both_sides, negative_zeros,
    ],
    ids=lambda fault: fault.__name__,
)  # fmt: skip
def test_harmless_change_agrees(build: Build, harmless: Fault) -> None:
    comparison = with_fault(build, harmless)
    assert comparison.verdict is Verdict.AGREE
    assert comparison.first_divergence is None
    expected = Status.ROUNDING if harmless is rounding else Status.AGREE
    assert result(comparison).status is expected
    assert {entry.status for entry in comparison.taps} <= {Status.AGREE, expected}


def test_one_number_off_is_told_with_its_place(build: Build) -> None:
    entry = result(with_fault(build, last_element))
    assert entry.at == (155, 2)
    assert entry.reference is not None and entry.candidate is not None
    assert entry.candidate - entry.reference == entry.max_abs == pytest.approx(1e-3, rel=1e-3)
    assert entry.mismatched == 1
    assert entry.size == 156 * 3
    scale = float(np.abs(seven()[LAST]).max())
    assert entry.scale == scale
    assert entry.max_rel == pytest.approx(1e-3 / scale, rel=1e-3)
    rms = 1e-3 / np.linalg.norm(seven()[LAST].astype(float))
    assert entry.rms_rel == pytest.approx(rms, rel=1e-3)


def test_lone_nan_is_told_with_its_place_and_count(build: Build) -> None:
    entry = result(with_fault(build, nan_in_candidate))
    assert math.isnan(entry.max_abs or 0)
    assert entry.at == (88, 1)
    assert entry.mismatched == 1
    assert entry.reference == seven()[LAST][88, 1]
    assert math.isnan(entry.candidate or 0)
    assert entry.note.endswith("1 elements NaN or infinite on one side")


def test_nan_on_both_sides_is_told(build: Build) -> None:
    entry = result(with_fault(build, nan_in_the_same_places))
    assert entry.note.endswith("2 elements NaN on both sides")
    assert entry.max_abs == 0


def test_where_all_is_nan_nothing_was_compared(build: Build) -> None:
    """One tap of many may hold nothing else on both sides; all of them prove nothing."""
    one = with_fault(build, nothing_but_nan)
    assert any("1 entries are NaN throughout on both sides" in note for note in one.notes)
    nothing = {name: np.full_like(values, np.nan) for name, values in seven().items()}
    found = compare(build("reference", nothing), build("candidate", nothing))
    assert found.verdict is Verdict.INVALID
    assert any(f"{len(nothing)} entries are NaN" in note for note in found.notes)


def test_difference_beside_common_nan_is_still_seen(build: Build) -> None:
    def fault(r: np.ndarray, c: np.ndarray) -> None:
        nan_in_the_same_places(r, c)
        last_element(r, c)

    entry = result(with_fault(build, fault))
    assert entry.status is Status.DIFFER
    assert entry.at == (155, 2)
    assert entry.mismatched == 1


def test_lone_nan_beside_a_difference_counts_both(build: Build) -> None:
    def fault(r: np.ndarray, c: np.ndarray) -> None:
        nan_in_candidate(r, c)
        last_element(r, c)

    entry = result(with_fault(build, fault))
    assert entry.mismatched == 2
    assert entry.at == (88, 1)


def test_overflowing_difference_is_a_difference(build: Build) -> None:
    def fault(r: np.ndarray, c: np.ndarray) -> None:
        r[0, 0], c[0, 0] = 1e308, -1e308

    entry = result(with_fault(build, fault, "float64"))
    assert entry.status is Status.DIFFER
    assert entry.max_abs == math.inf
    assert entry.rms_rel == math.inf


def test_extreme_scales_are_judged_like_others(build: Build) -> None:
    def fault(r: np.ndarray, c: np.ndarray) -> None:
        r *= 1e200
        c *= 1e200 * (1 + 1e-6)

    entry = result(with_fault(build, fault, "float64"))
    assert entry.status is Status.DIFFER
    assert entry.rms_rel == pytest.approx(1e-6, rel=1e-4)


def test_float64_is_held_to_more_than_float32(build: Build) -> None:
    def fault(_: np.ndarray, c: np.ndarray) -> None:
        c *= 1 + 1e-9

    assert with_fault(build, fault, "float64").verdict is Verdict.DIFFER


@pytest.mark.parametrize(
    ("delta", "within"),
    [(2.0**-10, True), (2.0**-10 + 2.0**-23, False), (math.nan, False), (math.inf, False)],
)
def test_the_bound_itself_is_admitted(delta: float, within: bool) -> None:
    error, limit = np.array([0.0, delta]), np.array([0.0, 2.0**-10])
    assert (share_of(error, limit) <= 1) is within


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ((), ()),
        ((1,), (0,)),
        ((7,), (6,)),
        ((3, 4), (2, 1)),
        ((2, 3, 4), (1, 0, 3)),
        ((5, 1), (4, 0)),
    ],
    ids=str,
)
def test_place_is_an_index_of_the_shape(
    build: Build, shape: tuple[int, ...], place: tuple[int, ...]
) -> None:
    first = np.ones(shape, np.float32)
    second = first.copy()
    second[place] = 3
    entry = result(
        compare(
            build("reference", gradients={"k": first}), build("candidate", gradients={"k": second})
        ),
        "gradients/k",
    )
    assert entry.at == place
    assert (entry.reference, entry.candidate, entry.max_abs) == (1, 3, 2)


SHAPES = [
    ((3, 1), (3,)),
    ((3,), (3, 1)),
    ((1, 3), (3,)),
    ((1,), ()),
    ((), (1,)),
    ((4, 2), (2, 4)),
    ((8,), (2, 4)),
    ((1, 4), (3, 4)),
    ((0,), (3,)),
    ((3,), (0,)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES, ids=str)
@pytest.mark.parametrize("group", ["taps", "gradients", "losses"])
def test_no_shape_is_stretched_to_another(
    build: Build, group: str, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    paths = []
    for side, shape in (("reference", first), ("candidate", second)):
        array = {"k": np.ones(shape, np.float32)}
        taps = {**seven(), **array} if group == "taps" else None
        paths.append(build(side, taps, **({group: array} if group != "taps" else {})))
    name = "k" if group == "taps" else f"{group}/k"
    comparison = compare(*paths)
    entry = result(comparison, name)
    assert entry.status is Status.DIFFER
    assert entry.note == f"shape {second} in the candidate, {first} in the reference"
    assert entry.max_abs is None
    assert comparison.verdict is Verdict.DIFFER


def test_transposed_square_is_a_difference(build: Build) -> None:
    square = values("square", (9, 9))
    comparison = compare(
        build("reference", gradients={"k": square}),
        build("candidate", gradients={"k": np.ascontiguousarray(square.T)}),
    )
    assert result(comparison, "gradients/k").status is Status.DIFFER


def test_tap_without_numbers_is_invalid(build: Build) -> None:
    taps = {**seven(), "more": np.zeros((0, 3), np.float32)}
    comparison = compare(build("reference", taps), build("candidate", taps))
    assert result(comparison, "more").status is Status.INVALID
    assert result(comparison, "more").note == "holds no numbers"
    assert comparison.verdict is Verdict.INVALID
    assert comparison.compared == 7


@pytest.mark.parametrize(
    ("second", "status"), [(1.0, Status.INVALID), (2.0, Status.DIFFER)], ids=["same", "different"]
)
def test_shape_that_the_network_does_not_have_never_agrees(
    build: Build, second: float, status: Status
) -> None:
    comparison = compare(
        build("reference", {LAST: np.ones((3, 3), np.float32)}),
        build("candidate", {LAST: np.full((3, 3), second, np.float32)}),
    )
    assert result(comparison).status is status
    assert result(comparison).note == "both have shape (3, 3), the network (156, 3)"
    assert comparison.verdict.value == status.value


def test_first_divergence_is_first_in_the_computation(build: Build) -> None:
    # The files' own order and the attribute both say otherwise.
    def mislabel(file: h5py.File) -> None:
        for place, tap in enumerate(reversed(list(file["taps"]))):
            file["taps"][tap].attrs["order"] = place

    second = seven()
    for array in second.values():
        array[0, 0] += 1
    comparison = compare(
        build("reference", edit=mislabel),
        build("candidate", second, edit=mislabel),
        taps="graph*",
    )
    assert comparison.first_divergence == "graph_conv_blk1_10_layer_10"
    orders = [entry.tap for entry in comparison.taps]
    assert orders.index("graph_conv_blk1_11_layer_11.residual") == (
        orders.index("graph_conv_blk1_11_layer_11") + 1
    )


def test_losses_come_after_taps_and_before_gradients(build: Build) -> None:
    comparison = compare(
        build("reference", losses={"total": 1.0}, gradients={"mesh": np.ones(3)}),
        build("candidate", losses={"total": 2.0}, gradients={"mesh": np.zeros(3)}),
    )
    assert comparison.first_divergence == "losses/total"
    assert [entry.tap for entry in comparison.entries][-2:] == ["losses/total", "gradients/mesh"]
    loss = comparison.losses[0]
    assert (loss.shape, loss.at, loss.reference, loss.candidate) == ((), (), 1.0, 2.0)
