"""All from its rows, and tables that contradict themselves."""

from pathlib import Path

import pytest

from parity.meshes.loss_weights import (
    PRESETS,
    Claim,
    Number,
    check_claim,
    load_claims,
    parse_weights,
)
from weight_conversion.errors import InputError

PAPER = PRESETS["paper"]
TABLE_1 = """Loss,Sofa,,Plane,
,Ours,Original,Ours,Original
Chamfer,0.6197,1.3168,0.2127,224.5983
Edge,0.0014,0.0002,0.0003,0.0001
Normal,0.2558,0.2601,0.3119,0.2644
All,1.2642,1.5169,0.4793,224.7690
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def claim(**values: str) -> Claim:
    numbers = {}
    for term, text in values.items():
        decimals = len(text.partition(".")[2])
        numbers[term] = Number(float(text), 0.5 * 10.0**-decimals)
    return Claim("column", numbers)


def test_table_1_is_read(tmp_path: Path) -> None:
    claims = load_claims(written(tmp_path, TABLE_1))
    names = ["Sofa Ours", "Sofa Original", "Plane Ours", "Plane Original"]
    assert [each.name for each in claims] == names
    edge = claims[1].values["edge"]
    assert (edge.value, edge.half) == (0.0002, pytest.approx(5e-5))
    assert claims[3].values["all"].value == 224.769


@pytest.mark.parametrize(
    ("column", "recomputed"),
    [(0, 1.2502), (1, 1.51865), (2, 0.47635), (3, 224.7664)],
    ids=["sofa-ours", "sofa-original", "plane-ours", "plane-original"],
)
def test_table_1_adds_up(tmp_path: Path, column: int, recomputed: float) -> None:
    check = check_claim(load_claims(written(tmp_path, TABLE_1))[column], PAPER)
    assert check.recomputed == pytest.approx(recomputed)
    assert check.consistent is True
    assert check.sound
    # Rounding of edge 359 times, of normal half, of chamfer and All once each.
    assert check.tolerance == pytest.approx(5e-5 * (359 + 0.5 + 2))
    told = "the size of a frame mismatch" in " ".join(check.remarks)
    assert told is (column == 3)


@pytest.mark.parametrize(("total", "fits"), [("1.2682", True), ("1.2683", False)])
def test_rounding_is_all_that_is_forgiven(total: str, fits: bool) -> None:
    column = claim(chamfer="0.6197", edge="0.0014", normal="0.2558", all=total)
    assert check_claim(column, PAPER).consistent is fits


@pytest.mark.parametrize(
    ("total", "explanation"),
    [
        ("0.8769", "it is the plain sum of the rows"),
        ("0.6197", "it is the chamfer row alone"),
        ("1859.73", "the chamfer row is not multiplied by its weight yet"),
    ],
)
def test_explanation_of_another_all(total: str, explanation: str) -> None:
    check = check_claim(claim(chamfer="0.6197", edge="0.0014", normal="0.2558", all=total), PAPER)
    assert check.consistent is False
    assert not check.sound
    assert f"All would fit if {explanation}" in check.remarks


def test_weights_of_another_stage_are_recognised() -> None:
    column = claim(
        chamfer="0.61970", edge="0.00140", normal="0.25580", laplace="0.000010", all="1.46260"
    )
    check = check_claim(column, PAPER)
    assert check.consistent is False
    assert any("(the weights of refine)" in remark for remark in check.remarks)
    assert check_claim(column, PRESETS["refine"]).consistent is True


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"edge": "-0.1"}, "edge is -0.1, but no loss is negative"),
        ({"normal": "1.2"}, "normal is 1.2, but a mean of |cos| is at most 1"),
    ],
)
def test_impossible_numbers(values: dict[str, str], words: str) -> None:
    check = check_claim(claim(chamfer="0.5", **values), PAPER)
    assert words in check.impossible
    assert not check.sound
    assert check.consistent is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"chamfer": "0.5", "edge": "0.1", "all": "1"}, "there is no row normal"),
        ({"chamfer": "0.5", "edge": "0.1", "normal": "0.2"}, "no row All to check"),
    ],
    ids=["normal", "all"],
)
def test_what_cannot_be_checked_is_said(values: dict[str, str], words: str) -> None:
    check = check_claim(claim(**values), PAPER)
    assert check.consistent is None
    assert any(words in remark for remark in check.remarks)


def test_plain_heading_and_missing_cells(tmp_path: Path) -> None:
    text = "name,a,b\n\nChamfer (×3000),1,2\nLaplace,-,\nAll,,3e-2\n"
    first, second = load_claims(written(tmp_path, text))
    assert (first.name, second.name) == ("a", "b")
    assert dict(first.values) == {"chamfer": Number(1.0, 0.5)}
    total = second.values["all"]
    assert (total.value, total.half) == (0.03, pytest.approx(0.005))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\nc,d\n", "no row of a loss"),
        ("Loss,a\nChamfer,x\n", "'x' is not a finite number"),
        ("Loss,a\nChamfer,nan\n", "'nan' is not a finite number"),
        ("Loss,a\nChamfer,1e999\n", "is not a finite number"),
        ("Loss,a\nChamfer,1\nSmoothness,2\n", "a row 'Smoothness'"),
        ("Loss,a\nEdge,1\nedge,2\n", "two rows edge"),
        ("Loss\nEdge\n", "no columns"),
        ("Loss,a\nEdge,\n", "no numbers"),
    ],
    ids=["rows", "word", "nan", "infinite", "unknown", "twice", "columns", "empty"],
)
def test_bad_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=r"table\.csv: ") as caught:
        load_claims(written(tmp_path, text))
    assert words in str(caught.value)


def test_weights_by_name_and_by_number() -> None:
    assert parse_weights("paper") is PAPER
    assert PAPER.formula == "All = Chamfer + 359·Edge + 0.5·Normal"
    own = parse_weights("chamfer=1000,laplace=2")
    assert (own.chamfer, own.edge, own.normal, own.laplace) == (1000.0, 0.0, 0.0, 2.0)
    assert own.formula == "All = Chamfer + 2·Laplace"


@pytest.mark.parametrize(
    "text",
    ["", "papers", "edge=359", "chamfer=0", "chamfer=x", "chamfer=-1", "chamfer=nan",
     "chamfer=inf", "chamfer=1,chamfer=2", "chamfer=1,move=2", "chamfer"],
)  # fmt: skip
def test_bad_weights_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--all-weights: "):
        parse_weights(text)


def test_total_needs_every_term_that_counts() -> None:
    values = {"chamfer": 1e-3, "edge": 1e-3, "normal": 0.2, "laplace": None}
    assert PAPER.total(values) == pytest.approx(3 + 0.359 + 0.1)
    assert PRESETS["coarse"].total(values) is None
    assert PRESETS["coarse"].lacking(values) == ("laplace",)
    assert PRESETS["coarse"].partial(values) == pytest.approx(3 + 0.35 + 0.1)
