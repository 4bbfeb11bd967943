"""The paper's Table 1 done again: ours against the original, the paper's own numbers beside it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from parity.meshes.difference import MeshDifference
from parity.meshes.loss_columns import Column, LossTable
from parity.meshes.loss_weights import PRESETS, TERMS, Check, check_claim, load_claims
from parity.meshes.scores import THRESHOLDS
from reports import wording
from reports.tables.comparison import markdown, markdown_table
from reports.tables.losses import frame_sentence

TABLE1_SCHEMA = "p2m-parity-table1/1"
KINDS = {
    "same": "the same weights in both (parity of the function)",
    "apart": "each trained for itself (parity of training)",
}
SIDES = ("Ours", "Original")
_PAPER = Path(__file__).with_name("data") / "paper_table1.csv"
_ROWS = ("Chamfer (×3000)", "Edge", "Normal", "Laplace", "All")


@dataclass(frozen=True)
class Pair:
    """One item, ours and the original, and how far their meshes lie apart."""

    item: str
    kind: str
    ours: Column
    original: Column
    difference: MeshDifference


def paper_checks() -> list[Check]:
    """The columns of the paper's own table, each held against its row All."""
    return [check_claim(claim, PRESETS["paper"]) for claim in load_claims(_PAPER)]


def losses_frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    """The losses: a row a term, a column for each (item, kind, side), the paper's where it has one.

    All is Chamfer + 359·Edge + 0.5·Normal, as in the paper, which leaves Laplace out.
    """
    columns: dict[tuple[str, str, str], list[float | None]] = {}
    claims = {check.claim.name.lower(): check.claim for check in paper_checks()}
    weights = PRESETS["paper"]
    for item in dict.fromkeys(pair.item for pair in pairs):
        for pair in (pair for pair in pairs if pair.item == item):
            for side, column in zip(SIDES, (pair.ours, pair.original), strict=True):
                values = column.losses.values
                chamfer = values["chamfer"]
                columns[item, pair.kind, side] = [
                    None if chamfer is None else weights.chamfer * chamfer,
                    *(values[term] for term in TERMS[1:]),
                    weights.total(values),
                ]
        for side in SIDES:
            claim = claims.get(f"{item} {side}".lower())
            if claim is not None:
                numbers = [claim.values.get(name) for name in (*TERMS, "all")]
                columns[item, "paper", side] = [
                    None if number is None else number.value for number in numbers
                ]
    index = pd.MultiIndex.from_tuples(columns, names=["item", "weights", "side"])
    rows = pd.DataFrame(dict(enumerate(columns.values())), dtype="float64")
    rows.columns, rows.index = index, pd.Index(_ROWS, name="loss")
    return rows


def differences_frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    """How far apart the two meshes are: a row a measure, a column for each (item, kind)."""
    rows = {
        "greatest vertex distance (edge lengths)": [pair.difference.greatest for pair in pairs],
        "mean vertex distance (edge lengths)": [pair.difference.mean for pair in pairs],
        "chamfer between the meshes (×3000)": [
            PRESETS["paper"].chamfer * pair.difference.chamfer for pair in pairs
        ],
        **{
            f"F-score at {threshold:g} (%)": [
                100 * pair.difference.f_scores[place] for pair in pairs
            ]
            for place, threshold in enumerate(THRESHOLDS)
        },
    }
    columns = pd.MultiIndex.from_tuples(
        [(pair.item, pair.kind) for pair in pairs], names=["item", "weights"]
    )
    frame = pd.DataFrame.from_dict(rows, orient="index", dtype="float64")
    frame.columns = columns
    frame.index.name = "difference"
    return frame


def remarks(pairs: Sequence[Pair]) -> list[str]:
    """What the harness can say about its own numbers and the paper's, in sentences."""
    weights = PRESETS["paper"]
    found = [f"{kind}: {KINDS[kind]}" for kind in dict.fromkeys(pair.kind for pair in pairs)]
    found.append(f"{weights.formula}, as in the paper, which leaves Laplace out")
    for pair in pairs:
        for side, column in zip(SIDES, (pair.ours, pair.original), strict=True):
            name = f"{pair.item}, {pair.kind}, {side}"
            found.append(f"{name}: {column.source}")
            if column.frame is not None and column.frame.mismatch:
                found.append(f"{name}: {frame_sentence(column.frame, weights)}")
            found += [f"{name}: {remark}" for remark in column.surface.remarks]
    for check in paper_checks():
        stated = check.claim.values.get("all")
        name = f"the paper's {check.claim.name}"
        if stated is not None and check.recomputed is not None:
            fits = "is" if check.consistent else "is not"
            found.append(
                f"{name}: All {stated.value:.6g} {fits} the sum of its rows, "
                f"{check.recomputed:.6g} ± {check.tolerance:.2g} by their rounding"
            )
        found += [f"{name}: {remark}" for remark in (*check.impossible, *check.remarks)]
    found.append(
        "the paper held an overfitted model of ours against a checkpoint of the original that was "
        "trained on other data: its two columns of an item differ in training and weights, so "
        "they say nothing about whether the functions are the same"
    )
    return [wording.printable(sentence) for sentence in found]


def table1_json(pairs: Sequence[Pair], table: LossTable) -> dict[str, Any]:
    """Everything, with all digits."""
    return {
        "schema": TABLE1_SCHEMA,
        "all": table.weights.formula,
        "points": table.points,
        "pairs": [
            {
                "item": pair.item,
                "weights": pair.kind,
                "ours": pair.ours.to_json(table.weights),
                "original": pair.original.to_json(table.weights),
                "difference": asdict(pair.difference),
            }
            for pair in pairs
        ],
        "paper": [check.to_json() for check in paper_checks()],
        "remarks": remarks(pairs),
    }


def csv_text(pairs: Sequence[Pair]) -> str:
    """Both tables below each other, all digits, missing numbers empty."""
    return f"{losses_frame(pairs).to_csv()}\n{differences_frame(pairs).to_csv()}"


def markdown_text(pairs: Sequence[Pair]) -> str:
    """Both tables and the remarks for a code host."""
    blocks = ["# Table 1"]
    for frame in (losses_frame(pairs), differences_frame(pairs)):
        heading = ["", *(markdown(", ".join(map(str, column))) for column in frame.columns)]
        rows = [[str(name), *map(shown, values)] for name, *values in frame.itertuples()]
        blocks.append(markdown_table(heading, rows))
    blocks.append("\n".join(f"- {markdown(sentence)}" for sentence in remarks(pairs)))
    return "\n\n".join(blocks) + "\n"


def latex_text(pairs: Sequence[Pair]) -> str:
    """Both tables in booktabs' style, the remarks as comments above them."""
    lines = [f"% {sentence}" for sentence in remarks(pairs)]
    for frame in (losses_frame(pairs), differences_frame(pairs)):
        frame = frame.rename(index=lambda name: str(name).replace("×", r"$\times$"))
        frame = frame.rename(index=lambda name: name.replace("%", r"\%"))
        frame.columns.names = [None] * frame.columns.nlevels
        frame.index.name = None
        style = frame.rename(columns=lambda name: wording.latex(str(name))).style.format(
            shown, na_rep="---"
        )
        lines.append(style.to_latex(hrules=True, multicol_align="c", column_format=_align(frame)))
    return "\n".join(lines)


def _align(frame: pd.DataFrame) -> str:
    return "l" + "r" * frame.shape[1]


def shown(number: float | None) -> str:
    """As the paper prints a number; what a frame lacks is nothing."""
    return wording.NOTHING if pd.isna(number) else wording.four_decimals(number)
