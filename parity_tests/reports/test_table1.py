import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from inputs.ground_truth import GroundTruth
from inputs.sampling import draw
from inputs.template import build_template
from parity.meshes.difference import mesh_difference
from parity.meshes.loss_columns import Candidate, Column, LossTable, Sampling, Truth, measure
from parity.meshes.loss_weights import PRESETS
from reports.tables.table1 import (
    Pair,
    csv_text,
    differences_frame,
    latex_text,
    losses_frame,
    markdown_text,
    paper_checks,
    remarks,
    table1_json,
)
from reports.text.table1_text import show

TEMPLATE = build_template()
DRAW = draw(np.random.default_rng(0))


def column(name: str, mesh: np.ndarray) -> Column:
    points = np.asarray(TEMPLATE.coordinates, np.float32)
    normals = (points - points.mean(axis=0)).astype(np.float32)
    truth = Truth(GroundTruth(points, normals), "planted")
    candidate = Candidate("plane", name, f"planted {name}", mesh, TEMPLATE.faces[0])
    return measure(
        candidate, truth, TEMPLATE, template_given=False, sampling=Sampling("drawn", DRAW)
    )


@pytest.fixture(scope="module")
def pair() -> Pair:
    mesh = np.asarray(TEMPLATE.coordinates, np.float64)
    ours, original = column("ours", mesh * 1.01), column("original", mesh)
    apart = mesh_difference(mesh, mesh * 1.01, ours.surface, DRAW)
    return Pair("plane", "same", ours, original, apart)


def test_the_paper_s_own_numbers_stand_beside_ours(pair: Pair) -> None:
    frame = losses_frame([pair])
    assert frame["plane", "paper", "Ours"].iloc[0] == 0.2127
    assert frame["plane", "paper", "Original"].iloc[-1] == 224.769
    assert list(frame.columns)[:2] == [("plane", "same", "Ours"), ("plane", "same", "Original")]
    assert ("sofa", "paper", "Ours") not in frame.columns


def test_other_items_have_no_paper_column(pair: Pair) -> None:
    frame = losses_frame([replace(pair, item="chair")])
    assert {kind for _, kind, _ in frame.columns} == {"same"}


def test_all_is_the_sum_of_its_rows(pair: Pair) -> None:
    frame = losses_frame([pair])
    ours = frame["plane", "same", "Ours"]
    total = ours["Chamfer (×3000)"] + 359 * ours["Edge"] + 0.5 * ours["Normal"]
    assert ours["All"] == pytest.approx(total, rel=1e-12)
    assert ours["Chamfer (×3000)"] == pytest.approx(3000 * pair.ours.losses.values["chamfer"])


def test_every_form_holds_the_numbers_of_the_json(pair: Pair) -> None:
    table = LossTable((pair.ours, pair.original), PRESETS["paper"], "drawn", True)
    value = json.loads(json.dumps(table1_json([pair], table), default=str))
    (found,) = value["pairs"]
    rows = list(csv.reader(io.StringIO(csv_text([pair]))))
    cells = {row[0]: row[1:] for row in rows if len(row) > 1}
    for place, side in enumerate(("ours", "original")):
        assert float(cells["Chamfer (×3000)"][place]) == found[side]["chamfer"]
        assert float(cells["Edge"][place]) == found[side]["edge"]
        assert float(cells["All"][place]) == found[side]["all"]
    greatest = cells["greatest vertex distance (edge lengths)"]
    assert float(greatest[0]) == found["difference"]["greatest"]
    frame = differences_frame([pair])
    assert frame.iloc[0, 0] == found["difference"]["greatest"]
    console = Console(width=80)
    with console.capture() as captured:
        show([pair], console)
    for text in (captured.get(), markdown_text([pair]), latex_text([pair])):
        for number in (found["ours"]["all"], found["ours"]["normal"]):
            assert f"{number:.4f}" in text
        assert "224.7690" in text


def test_latex_is_booktabs_without_stray_signs(pair: Pair) -> None:
    text = latex_text([replace(pair, item="a_b&c%")])
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\toprule") == body.count(r"\bottomrule") == 2
    assert r"a\_b\&c\%" in body
    assert "×" not in body
    assert "_" not in body.replace(r"\_", "")


def test_what_can_be_said_about_the_paper(pair: Pair) -> None:
    said = "\n".join(remarks([pair]))
    assert "Plane Original: chamfer 224.598 is a distance of 0.22" in said
    assert "the size of a frame mismatch" in said
    assert "All 1.2642 is the sum of its rows" in said
    assert "they say nothing about whether the functions are the same" in said
    assert all(check.consistent for check in paper_checks())


def test_a_frame_mismatch_of_ours_is_told() -> None:
    mesh = np.asarray(TEMPLATE.coordinates, np.float64)
    turned = mesh @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]]) + [0.5, 0, 0]
    ours, original = column("ours", turned), column("original", mesh)
    apart = mesh_difference(mesh, turned, ours.surface, DRAW)
    said = "\n".join(remarks([Pair("plane", "same", ours, original, apart)]))
    assert "plane, same, Ours: frame mismatch" in said
    assert "plane, same, Original: frame mismatch" not in said
