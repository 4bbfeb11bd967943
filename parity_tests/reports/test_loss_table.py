"""The table in every form, read back, and safe from what names may hold."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from parity.meshes.frames import Frame
from parity.meshes.loss_columns import Column, LossTable
from parity.meshes.loss_weights import PRESETS, Claim, Number, check_claim, load_claims
from parity.meshes.losses import MeshLosses, Surface
from parity.meshes.registration import Registration
from parity.meshes.similarity import Similarity
from parity_tests.reports.conftest import HOSTILE
from reports.tables.losses import (
    Grid,
    check_grid,
    csv_text,
    latex_text,
    loss_grid,
    markdown_text,
    move_words,
    show,
)

QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
MOVE = Similarity(QUARTER, 0.57, np.array([0.1, 0.0, -0.8]))
NONE = np.zeros((0, 3), np.int64)


def losses(**values: float | None) -> MeshLosses:
    terms = {"chamfer": 2e-4, "edge": 3e-4, "normal": 0.3, "laplace": 1e-5} | values
    reasons = {term: f"no {term} here" for term, value in terms.items() if value is None}
    return MeshLosses(terms, reasons)


def frame(after: float, rival: Similarity | None = None) -> Frame:
    return Frame(2e-4, after, Registration(MOVE, after, rival), "", 0.01, 1e-12)


def column(item: str, name: str, found: MeshLosses, at: Frame | None = None) -> Column:
    surface = Surface(NONE, np.zeros((17250, 2), np.int64), NONE, NONE[:, 0], "its own triangles")
    mismatch = at is not None and at.mismatch
    return Column(
        item, name, f"{name}.obj", 2466, surface, "gt.dat, 9 points with normals", "before.obj",
        found, at, losses() if mismatch else None,
    )  # fmt: skip


def grid(*columns: Column, weights: str = "paper") -> Grid:
    return loss_grid(LossTable(columns, PRESETS[weights], "vertices only", True))


def paper_grid() -> Grid:
    return grid(
        column("sofa", "ours", losses(), frame(1.9e-4)),
        column("plane", "ours", losses(normal=None)),
        column("sofa", "original", losses(laplace=None), frame(1e-6)),
    )


def printed(of: Grid, width: int = 100, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(of, Console(file=stream, width=width, legacy_windows=False))
    stream.seek(0)
    return stream.read()


def test_columns_of_an_item_stand_side_by_side() -> None:
    found = paper_grid()
    assert found.columns == (("sofa", "ours"), ("sofa", "original"), ("plane", "ours"))
    assert [label for label, _ in found.rows] == [
        "Chamfer (×3000)", "Edge", "Normal", "Laplace", "All",
    ]  # fmt: skip


def test_numbers() -> None:
    rows = {label: [cell.number for cell in cells] for label, cells in paper_grid().rows}
    assert rows["Chamfer (×3000)"] == pytest.approx([0.6] * 3)
    assert rows["Edge"] == [3e-4] * 3
    assert rows["Normal"] == [0.3, 0.3, None]
    assert rows["Laplace"] == [1e-5, None, 1e-5]
    assert rows["All"][:2] == pytest.approx([0.6 + 359 * 3e-4 + 0.15] * 2)
    assert rows["All"][2] is None


def test_text_says_what_is_doubted_and_why() -> None:
    text = printed(paper_grid(), width=400)
    table, _, remarks = text.partition("\n\n")
    assert re.search(r"Chamfer \(×3000\) +0\.6000 +0\.6000 \* +0\.6000\n", table)
    assert re.search(r"All +0\.8577 +0\.8577 \* +—", table)
    assert (
        "* sofa/original: frame mismatch: the chamfer falls from 0.6000 to 0.003 when the mesh is "
        "turned by 90.00° around (0, 0, 1), scaled by 0.57, then shifted by (0.1, 0, -0.8)"
    ) in remarks
    assert "sofa/original: after that move its losses are Chamfer 0.6000, Edge" in remarks
    assert "sofa/ours: in the ground truth's frame" in remarks
    assert "divides it by 1.05, 10 would show another frame" in remarks
    assert "plane/ours: no Normal: no normal here" in remarks
    assert "plane/ours: no All: it lacks Normal; the other terms add up to 0.7077" in remarks
    assert "Laplace before: before.obj" in remarks
    assert "All = Chamfer + 359·Edge + 0.5·Normal (the paper's Table 1" in remarks
    assert "points: vertices only" in remarks
    assert "plane: ground truth gt.dat, 9 points with normals" in remarks


def test_narrow_pipe_loses_no_column() -> None:
    many = grid(*(column("sofa", f"implementation {n}", losses()) for n in range(12)))
    text = printed(many, width=40)
    assert all(f"implementation {n}" in text for n in range(12))
    assert "…" not in text


def test_ascii_output() -> None:
    text = printed(paper_grid(), encoding="ascii")
    assert "Chamfer (x3000)" in text


@pytest.mark.parametrize(
    ("mirrored", "words"),
    [(False, "turned by 90.00°"), (True, "mirrored in the origin, turned by 90.00°")],
)
def test_move_in_words(mirrored: bool, words: str) -> None:
    move = Similarity(-QUARTER if mirrored else QUARTER, 2.0, np.zeros(3))
    assert move_words(move).startswith(words)


def test_mirror_name_and_rival_are_told() -> None:
    mirror = Similarity(-QUARTER, 1.0, np.zeros(3))
    name = "the mesh is upside down"
    found = Frame(1.0, 1e-6, Registration(mirror, 1e-6, MOVE), name, 0.01, 0.0)
    remark = grid(column("sofa", "ours", losses(), found)).remarks[0]
    assert "no move without a mirror fits half as well" in remark
    assert "; so the mesh is upside down" in remark
    assert "the shape is nearly symmetric, and so it fits as well turned by 90.00°" in remark


def test_bad_mesh_in_another_frame_is_called_both() -> None:
    found = Frame(1.0, 0.01, Registration(MOVE, 0.01, MOVE), "", 0.12, 0.0)
    remark = grid(column("sofa", "ours", losses(), found)).remarks[0]
    assert "even then it lies 12% of the object's diagonal off" in remark
    assert "symmetric" not in remark


def test_csv_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(csv_text(paper_grid()), encoding="utf-8")
    claims = load_claims(path)
    assert [each.name for each in claims] == ["sofa ours", "sofa original", "plane ours"]
    checks = [check_claim(each, PRESETS["paper"]) for each in claims]
    assert [check.consistent for check in checks] == [True, True, None]
    assert claims[0].values["chamfer"].value == 3000.0 * 2e-4


def test_markdown_has_a_table_and_a_list() -> None:
    lines = markdown_text(paper_grid()).splitlines()
    assert lines[0].startswith("| Loss | ")
    assert lines[2] == r"| Chamfer (×3000) | 0.6000 | 0.6000 \* | 0.6000 |"
    assert all(line.count("|") == 5 for line in lines[:7])
    assert lines[7] == ""
    assert all(line.startswith("- ") for line in lines[8:])


def test_latex_is_a_booktabs_table() -> None:
    lines = [line for line in latex_text(paper_grid()).splitlines() if not line.startswith("%")]
    assert lines == [
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r" & \multicolumn{2}{c}{sofa} & \multicolumn{1}{c}{plane} \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}",
        r"Loss & ours & original & ours \\",
        r"\midrule",
        r"Chamfer ($\times$3000) & 0.6000 & 0.6000 * & 0.6000 \\",
        r"Edge & 0.0003 & 0.0003 & 0.0003 \\",
        r"Normal & 0.3000 & 0.3000 & --- \\",
        r"Laplace & 1e-05 & --- & 1e-05 \\",
        r"\midrule",
        r"All & 0.8577 & 0.8577 * & --- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(name: str) -> None:
    found = grid(column(name, name, losses()))
    rows = list(csv.reader(io.StringIO(csv_text(found))))
    assert len(rows) == 6 and all(len(row) == 2 for row in rows)
    assert markdown_text(found).splitlines()[1] == "| --- | --- |"
    tex = [line for line in latex_text(found).splitlines() if not line.startswith("%")]
    assert len(tex) == 14
    assert all(line.replace(r"\&", "").count("&") in (0, 1) for line in tex)
    assert "\x1b" not in printed(found)


def test_checked_table_shows_all_again() -> None:
    values = {"chamfer": Number(0.6, 0.05), "edge": Number(0.0, 0.0), "normal": Number(0.2, 0.0)}
    right = Claim("right", values | {"all": Number(0.7, 0.0)})
    wrong = Claim("wrong", values | {"all": Number(0.9, 0.0)})
    weights = PRESETS["paper"]
    found = check_grid([check_claim(right, weights), check_claim(wrong, weights)], weights)
    text = printed(found, width=300)
    assert re.search(r"\nAll +0\.7000 +0\.9000 \*\n", text)
    assert re.search(r"\nAll, recomputed +0\.7000 +0\.7000\n", text)
    assert "right: All 0.7 agrees with the sum of its rows, 0.7 ± 0.05 by their rounding" in text
    assert "wrong: All 0.9 cannot be what it claims: it is not the sum of its rows" in text
