"""Every tap of both stages, each its own test: torch against TensorFlow and the authors' graph."""

import importlib.util

import pytest

from network.taps import TAPS, TapRow
from parity.verdict.limits import LIMITS
from parity.verdict.result import Status, Verdict
from parity_tests.network.cases import Case, Pairs
from reports.text.message import message

if importlib.util.find_spec("tensorflow") is None:
    pytest.skip("TensorFlow is not installed", allow_module_level=True)

CASES = [
    Case("tf", "torch", "plane"),
    Case("tf", "torch", "sofa", zoom=2.2),
    Case("tf", "torch", "plane", dtype="float64"),
    Case("metagraph", "torch", "shapenet"),
    Case("metagraph", "tf", "shapenet"),
    Case("metagraph", "torch", "planes"),
    Case("metagraph", "tf", "planes"),
]
ROWS = [row for stage in TAPS for row in TAPS[stage]]
BY_CASE = [(case, row) for case in CASES for row in ROWS]


@pytest.mark.parametrize(
    ("case", "row"), BY_CASE, ids=[f"{case}-{row.stage}.{row.name}" for case, row in BY_CASE]
)
def test_tap(case: Case, row: TapRow, pairs: Pairs) -> None:
    result = pairs.tap(case, row.stage, row.name)
    report = message(pairs.comparison(case, row.stage), result)
    limit = LIMITS[row.stage, case.dtype]
    assert result.limit == limit
    assert result.max_rel is not None, report
    if result.status is Status.FLIP:
        # Excused only because, with the reference's pixel decisions, the limit holds everywhere.
        assert case.dtype == "float32", report
        assert result.pinned_max_rel is not None, report
        assert result.pinned_max_rel <= limit, report
    else:
        assert result.status is Status.AGREE, report
        assert result.max_rel <= limit, report


@pytest.mark.parametrize("stage", TAPS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_is_left_out(case: Case, stage: str, pairs: Pairs) -> None:
    comparison = pairs.comparison(case, stage)
    assert comparison.verdict is Verdict.AGREE
    assert comparison.compared == len(TAPS[stage])
    assert not comparison.missing
    assert not comparison.not_requested
    assert not comparison.unmatched


@pytest.mark.parametrize("stage", TAPS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_flips_are_ties_named_with_their_margin(case: Case, stage: str, pairs: Pairs) -> None:
    comparison = pairs.comparison(case, stage)
    assert comparison.flip_count == len(comparison.flips)
    for flip in comparison.flips:
        assert flip.margin <= flip.rounding, flip
        # A pixel is at most 223 and float32 holds it to 1e-5: a tie cannot be far from its border.
        assert flip.margin < 1e-2, flip
    flipped = {entry.tap for entry in comparison.taps if entry.status is Status.FLIP}
    assert not flipped or comparison.flips
