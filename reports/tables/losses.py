"""The table of losses as text, CSV, Markdown and LaTeX, each written from one grid."""

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from inputs.files import Float64
from network.registry import names
from parity.meshes.frames import MISMATCH, Frame
from parity.meshes.loss_columns import Column, LossTable
from parity.meshes.loss_weights import TERMS, Check, TableWeights
from parity.meshes.losses import MeshLosses
from parity.meshes.similarity import Similarity
from reports import wording
from reports.tables.comparison import markdown, markdown_table
from reports.text.whole import print_whole

_MARK = "*"  # beside a number that is not what it claims
_POOR = (
    0.06  # of the diagonal; good meshes come to 0.02, an ellipsoid in an airplane's place to 0.1
)
_ASCII = str.maketrans({"×": "x", "·": "*", "—": "-", "°": " deg", "…": "...", "−": "-", "±": "+-"})


@dataclass(frozen=True)
class Cell:
    """A number, or None where there is none; ``doubted`` if it is not what it claims."""

    number: float | None
    doubted: bool = False

    @property
    def shown(self) -> str:
        return wording.four_decimals(self.number) + (f" {_MARK}" if self.doubted else "")


@dataclass(frozen=True)
class Grid:
    """A table and what is to be said about it.

    Attributes:
        columns: item and implementation of each column, those of an item side by side.
        rows: a label and a cell a column.
        remarks: sentences, in order.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    remarks: tuple[str, ...]


def loss_grid(table: LossTable) -> Grid:
    """The measured losses as the paper's Table 1 sets them out, with a row for Laplace."""
    items = list(dict.fromkeys(column.item for column in table.columns))
    columns = [column for item in items for column in table.columns if column.item == item]
    weights = table.weights
    rows = [(_label(term, weights), _term_cells(term, columns, weights)) for term in TERMS]
    sums = [weights.total(column.losses.values) for column in columns]
    totals = tuple(
        Cell(total, total is not None and _off(column))
        for total, column in zip(sums, columns, strict=True)
    )
    return Grid(
        columns=tuple((column.item, column.name) for column in columns),
        rows=(*rows, ("All", totals)),
        remarks=(*(f"note: {note}" for note in table.notes), *_loss_remarks(table, columns)),
    )


def check_grid(checks: Sequence[Check], weights: TableWeights) -> Grid:
    """A given table with All recomputed below it."""

    def cells(term: str) -> tuple[Cell, ...]:
        found = [check.claim.values.get(term) for check in checks]
        doubted = [term == "all" and check.consistent is False for check in checks]
        return tuple(
            Cell(None if number is None else number.value, doubt)
            for number, doubt in zip(found, doubted, strict=True)
        )

    rows = [(_label(term, weights), cells(term)) for term in (*TERMS, "all")]
    again = tuple(Cell(check.recomputed) for check in checks)
    return Grid(
        columns=tuple(("", check.claim.name) for check in checks),
        rows=(*rows, ("All, recomputed", again)),
        remarks=(f"{weights.formula}, Chamfer ×{weights.chamfer:g}", *_check_remarks(checks)),
    )


def _label(term: str, weights: TableWeights) -> str:
    return f"Chamfer (×{weights.chamfer:g})" if term == "chamfer" else term.capitalize()


def _term_cells(term: str, columns: Sequence[Column], weights: TableWeights) -> tuple[Cell, ...]:
    values = [column.losses.values[term] for column in columns]
    if term != "chamfer":
        return tuple(Cell(value) for value in values)
    return tuple(
        Cell(None if value is None else weights.chamfer * value, _off(column))
        for value, column in zip(values, columns, strict=True)
    )


def _off(column: Column) -> bool:
    return column.frame is not None and column.frame.mismatch


def _loss_remarks(table: LossTable, columns: Sequence[Column]) -> Iterator[str]:
    weights = table.weights
    for column in columns:
        if column.frame is not None and column.frame.mismatch:
            yield f"{_MARK} {_title(column)}: {frame_sentence(column.frame, weights)}"
        if column.moved is not None:
            yield f"{_title(column)}: {_moved_sentence(column.moved, weights)}"
    for column in columns:
        if column.frame is not None and not column.frame.mismatch:
            yield f"{_title(column)}: {same_frame_sentence(column.frame)}"
        for term in TERMS:
            if term in column.losses.reasons:
                yield f"{_title(column)}: no {term.capitalize()}: {column.losses.reasons[term]}"
        lacking = weights.lacking(column.losses.values)
        if lacking:
            names = ", ".join(term.capitalize() for term in lacking)
            rest = wording.four_decimals(weights.partial(column.losses.values))
            yield f"{_title(column)}: no All: it lacks {names}; the other terms add up to {rest}"
        for remark in column.surface.remarks:
            yield f"{_title(column)}: {remark}"
    yield f"{weights.formula} ({_of(weights)})"
    yield (
        f"Chamfer ×{weights.chamfer:g}: mean squared distance from the ground truth to the mesh's "
        f"points plus 0.55 times that from the points to the ground truth; points: {table.points}"
    )
    for column in columns:
        pairs = f"{len(column.surface.pairs):,} pairs"
        before = (
            f"Laplace before: {column.before}" if column.before else "no mesh for Laplace before"
        )
        yield (
            f"{_title(column)}: {column.source}, {column.vertices:,} vertices; Edge and Normal "
            f"over {pairs} of {column.surface.source}, each vertex with itself among them; {before}"
        )
    for item, group in groupby(columns, key=lambda column: column.item):
        yield f"{item}: ground truth {next(iter(group)).truth}"
    if not table.frames_checked:
        yield "whether mesh and ground truth share a frame was not checked"


def _of(weights: TableWeights) -> str:
    if weights.name in names():
        return f"one block's terms of the official {weights.name} graph, without move and decay"
    return {
        "paper": "the paper's Table 1, which leaves Laplace out",
        "equation": "the paper's equation 7",
    }.get(weights.name, "weights as given")


def frame_sentence(frame: Frame, weights: TableWeights) -> str:
    """What a frame mismatch is, and the move that was found."""
    before, after = weights.chamfer * frame.before, weights.chamfer * frame.after
    found = frame.registration
    falls = f"{wording.four_decimals(before)} to {wording.four_decimals(after)}"
    text = (
        f"frame mismatch: the chamfer falls from {falls} when the mesh is {move_words(found.move)}"
    )
    if found.move.mirrored:
        text += "; no move without a mirror fits half as well"
    if frame.name:
        text += f"; so {frame.name}"
    if frame.misfit > _POOR:
        text += (
            f"; even then it lies {frame.misfit:.0%} of the object's diagonal off (root of the "
            "chamfer), so that the mesh itself is bad as well"
        )
    elif found.rival is not None:
        text += f"; the shape is nearly symmetric, and so it fits as well {move_words(found.rival)}"
    return text


def _moved_sentence(moved: MeshLosses, weights: TableWeights) -> str:
    cells: dict[str, float | None] = {"Chamfer": weights.chamfer * (moved.values["chamfer"] or 0.0)}
    cells |= {term.capitalize(): moved.values[term] for term in TERMS[1:]}
    cells["All"] = weights.total(moved.values)
    listed = ", ".join(
        f"{name} {wording.four_decimals(n)}" for name, n in cells.items() if n is not None
    )
    return f"after that move its losses are {listed}"


def same_frame_sentence(frame: Frame) -> str:
    """That no frame mismatch was found, and how near to one it came."""
    if frame.before <= frame.rounding:
        return "in the ground truth's frame, its chamfer is nothing but rounding"
    return (
        f"in the ground truth's frame, as far as the chamfer tells: the best rigid move with scale "
        f"divides it by {max(frame.reduction, 1.0):.3g}, {MISMATCH:g} would show another frame"
    )


def move_words(move: Similarity) -> str:
    """A move in words: x ↦ scale · rotation · x + shift."""
    mirrored = "mirrored in the origin, " if move.mirrored else ""
    return (
        f"{mirrored}turned by {move.degrees:.2f}° around {_vector(move.axis)}, scaled by "
        f"{move.scale:.5g}, then shifted by {_vector(move.translation)}"
    )


def _check_remarks(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        name = wording.printable(check.claim.name)
        stated = check.claim.values.get("all")
        if check.consistent is not None and stated is not None and check.recomputed is not None:
            words = "agrees with" if check.consistent else "cannot be what it claims: it is not"
            yield (
                f"{name}: All {stated.value:.6g} {words} the sum of its rows, "
                f"{check.recomputed:.6g} ± {check.tolerance:.2g} by their rounding"
            )
        for remark in (*check.impossible, *check.remarks):
            yield f"{name}: {remark}"


def _title(column: Column) -> str:
    return wording.printable(f"{column.item}/{column.name}")


def _vector(values: Float64) -> str:
    return f"({', '.join(f'{float(value):.4g}' for value in values)})"


def show(grid: Grid, console: Console) -> None:
    """Print the table and its remarks."""
    table = Table(
        box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("\nLoss" if any(item for item, _ in grid.columns) else "Loss", no_wrap=True)
    for item, name in grid.columns:
        heading = f"{wording.printable(item)}\n{wording.printable(name)}".strip()
        table.add_column(_text(console, heading), justify="right", no_wrap=True)
    for label, cells in grid.rows:
        table.add_row(_text(console, label), *(_text(console, cell.shown) for cell in cells))
    print_whole(table, console)
    console.print()
    for remark in grid.remarks:
        line = wording.printable(remark)
        folded = textwrap.fill(
            line, max(console.width, 20), subsequent_indent="  ", break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        console.print(_text(console, folded), soft_wrap=True)


def csv_text(grid: Grid) -> str:
    """The table alone, all digits; missing numbers are empty. ``losses --table`` reads it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [f"{item} {name}".strip() for item, name in grid.columns]
    writer.writerow(["Loss", *(wording.printable(name) for name in names)])
    for label, cells in grid.rows:
        numbers = ["" if cell.number is None else repr(float(cell.number)) for cell in cells]
        writer.writerow([label, *numbers])
    return stream.getvalue()


def markdown_text(grid: Grid) -> str:
    """The table and its remarks as a list."""
    heading = ["Loss", *(markdown(f"{item} {name}".strip()) for item, name in grid.columns)]
    rows = [
        [label, *(cell.shown.replace(_MARK, f"\\{_MARK}") for cell in cells)]
        for label, cells in grid.rows
    ]
    remarks = "\n".join(f"- {markdown(remark)}" for remark in grid.remarks)
    return f"{markdown_table(heading, rows)}\n\n{remarks}\n"


def latex_text(grid: Grid) -> str:
    """A table in booktabs' style, the remarks as comments above it."""
    lines = [f"% {wording.printable(remark)}" for remark in grid.remarks]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}", r"\toprule"]
    groups = [(item, len(list(some))) for item, some in groupby(item for item, _ in grid.columns)]
    if any(item for item, _ in groups):
        spans, rules, start = [], [], 2
        for item, width in groups:
            spans.append(rf"\multicolumn{{{width}}}{{c}}{{{wording.latex(item)}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
            start += width
        lines += [" & ".join(["", *spans]) + r" \\", " ".join(rules)]
    lines += [_latex_row(["Loss", *(name for _, name in grid.columns)]), r"\midrule"]
    for label, cells in grid.rows:
        if label == "All":
            lines.append(r"\midrule")
        lines.append(_latex_row([label, *(cell.shown for cell in cells)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(wording.latex(cell) for cell in cells) + r" \\"


def _text(console: Console, text: str) -> Text:
    if console.options.ascii_only:
        text = text.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return Text(text)
