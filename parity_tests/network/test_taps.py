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
    Case("tf", "torch", "sofa", zoom=2.2),
    Case("tf", "torch", "plane", dtype="float64"),
    Case("metagraph", "torch", "planes"),
    Case("metagraph", "tf", "shapenet"),
]
"""Each backend twice, each item once. As every layer is held against the official function's own, a
pair that is not here is right where these are; the slow form has all of them."""
MORE = [
    Case("tf", "torch", "plane"),
    Case("metagraph", "torch", "shapenet"),
    Case("metagraph", "tf", "planes"),
]
RIGHT = {Status.AGREE, Status.ROUNDING, Status.INHERITED, Status.FLIP}


def marks(case: Case, stage: str) -> tuple[pytest.MarkDecorator, ...]:
    """The small form of the refine stage is few of its vertices, which it does not mix."""
    return (pytest.mark.slow,) if stage == "refine" or case in MORE else ()


BY_STAGE = pytest.mark.parametrize(
    ("case", "stage"),
    [
        pytest.param(case, stage, id=f"{case}-{stage}", marks=marks(case, stage))
        for case in [*CASES, *MORE]
        for stage in TAPS
    ],
)


def named(case: Case, row: TapRow, *marks: pytest.MarkDecorator) -> object:
    return pytest.param(case, row, id=f"{case}-{row.stage}.{row.name}", marks=marks)


@pytest.mark.parametrize(
    ("case", "row"),
    [
        named(case, row, *marks(case, stage))
        for case in [*CASES, *MORE]
        for stage in TAPS
        for row in TAPS[stage]
    ],
)
def test_tap(case: Case, row: TapRow, pairs: Pairs) -> None:
    result = pairs.tap(case, row.stage, row.name)
    report = message(pairs.comparison(case, row.stage), result)
    assert result.status in RIGHT, report
    # Each side's layers are the official function's too, to a rounding or two.
    prefix = "float64" if case.dtype == "float64" else "local"
    for side in ("", "_reference"):
        assert getattr(result, f"{prefix}_roundings{side}") <= 2.0, report


@pytest.mark.parametrize(
    ("case", "row"),
    [named(case, row, *marks(case, "few")) for case in [*CASES, *MORE] for row in TAPS["refine"]],
)
def test_tap_of_few_vertices(case: Case, row: TapRow, pairs: Pairs) -> None:
    result = pairs.few(case)[row.name]
    assert result.status in RIGHT, result
    prefix = "float64" if case.dtype == "float64" else "local"
    for side in ("", "_reference"):
        assert getattr(result, f"{prefix}_roundings{side}") <= 2.0, result
    if result.status is Status.FLIP:
        assert 0 < result.decisions["pixels"] == result.decisions["ties"]


@BY_STAGE
def test_nothing_is_left_out(case: Case, stage: str, pairs: Pairs) -> None:
    comparison = pairs.comparison(case, stage)
    assert comparison.verdict is Verdict.AGREE
    assert comparison.compared == len(TAPS[stage])
    assert not comparison.missing
    assert not comparison.not_requested
    assert not comparison.unmatched


@BY_STAGE
def test_flips_are_ties(case: Case, stage: str, pairs: Pairs) -> None:
    for entry in pairs.comparison(case, stage).taps:
        if entry.status is Status.FLIP:
            assert 0 < entry.decisions["pixels"] == entry.decisions["ties"]
