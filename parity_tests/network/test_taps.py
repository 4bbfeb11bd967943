"""Every tap of both stages, each its own test: torch against TensorFlow and the authors' graph."""

import importlib.util

import pytest

from network.taps import TAPS, TapRow
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
    right = {Status.AGREE, Status.ROUNDING, Status.INHERITED, Status.FLIP}
    assert result.status in right, report
    # Each side's layers are the official function's too, to a rounding or two.
    prefix = "float64" if case.dtype == "float64" else "local"
    for side in ("", "_reference"):
        assert getattr(result, f"{prefix}_roundings{side}") <= 2.0, report


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
def test_flips_are_ties(case: Case, stage: str, pairs: Pairs) -> None:
    for entry in pairs.comparison(case, stage).taps:
        if entry.status is Status.FLIP:
            assert 0 < entry.decisions["pixels"] == entry.decisions["ties"]
