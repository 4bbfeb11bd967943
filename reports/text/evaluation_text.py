"""An evaluation over a data set, in words: tables by category, distribution, the worst items."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evaluation.columns import CHAMFER, F_SCORES, LOSSES, SCORES, of_side
from evaluation.summary import QUANTILES, Category, Summary, Worst
from parity.meshes.scores import CHAMFER_SHOWN, THRESHOLDS
from reports import wording
from reports.text.sheets import Sheet

TITLE = "Evaluation over a data set"
OWN_PAGES = 3
"""The worst items of a figure whose own pages the report says how to make."""
MOST_FAILED = 50  # listed for people; the table of items has them all
_FAILED = "Items that failed"
_HEADS = {CHAMFER: f"chamfer ×{CHAMFER_SHOWN:.0f}"} | {
    name: f"F-score at {threshold:.0e}".replace("e-0", "e-")
    for name, threshold in zip(F_SCORES, THRESHOLDS, strict=True)
}


def sentences(summary: Summary) -> list[str]:
    """What the evaluation comes to, and what its figures are."""
    settings = summary.settings
    done = summary.items - len(summary.failed)
    stages = " and ".join(settings["stages"])
    found = [
        f"{done:,} of {wording.counted(summary.items, 'item')} evaluated, "
        f"{wording.counted(len(summary.failed), 'item')} failed; "
        f"{stages} stage, {settings['dtype']}, "
        + ", ".join(f"{side} {wording.printable(name)}" for side, name in summary.sides.items())
    ]
    for each in summary.parity:
        counts = ", ".join(f"{count:,} {name}" for name, count in each.verdicts.items())
        firsts = ", ".join(
            f"{wording.printable(tap)} ({count:,})"
            for tap, count in list(each.first_divergences.items())[:3]
        )
        found.append(f"{each.stage}: {counts}" + (f"; first divergence at {firsts}" * bool(firsts)))
    found.append(
        "Chamfer distance and F-scores are the official evaluation's: vertices against the ground "
        f"truth's points, squared distances in the network's units; chamfer ×{CHAMFER_SHOWN:.0f}, "
        "F-scores in percent. The mean counts each category the same, as the official one does."
    )
    return found


def notes(summary: Summary) -> list[str]:
    """What is legal in the items' files and unlikely to be meant: a line a kind."""
    return [
        f"{each.items:,} of {wording.counted(summary.items, 'item')} with {each.kind}; the first, "
        f"{_item(each.first)}: {each.note}"
        for each in summary.noted
    ]


def sheets(summary: Summary) -> list[Sheet]:
    """The tables: categories, distribution, the worst items, those that failed, notes."""
    result = [_categories(summary), _losses(summary), _distribution(summary)]
    result += [_worst(each) for each in summary.worst]
    result.append(
        Sheet(
            _FAILED,
            ("item", "reason"),
            tuple(
                (wording.printable(_item(row)), wording.printable(str(row["reason"])))
                for row in summary.failed[:MOST_FAILED]
            ),
        )
    )
    result.append(_noted(summary))
    return [sheet for sheet in result if sheet.rows]


def brief_sheets(summary: Summary) -> list[Sheet]:
    """What fits a terminal: the table by category, and the items that failed."""
    found = sheets(summary)
    return [found[0], *(sheet for sheet in found[1:] if sheet.title == _FAILED)]


def _categories(summary: Summary) -> Sheet:
    """As the papers' table: a row a category, the mean below."""
    columns = [of_side(side, name) for name in SCORES for side in summary.sides]
    heads = [_head(summary, name, side) for name in SCORES for side in summary.sides]
    rows = [
        (*_names(each), *(_number(column, each.means[column]) for column in columns))
        for each in summary.categories
    ]
    for label, means in (
        ("mean of categories", summary.mean_of_categories),
        ("mean of items", summary.mean_of_items),
    ):
        count = f"{summary.items - len(summary.failed):,}"
        rows.append((label, count, *(_number(column, means[column]) for column in columns)))
    return Sheet("By category", ("category", "items", *heads), tuple(rows))


def _losses(summary: Summary) -> Sheet:
    columns = [of_side(side, name) for name in LOSSES for side in summary.sides]
    heads = [_head(summary, name, side) for name in LOSSES for side in summary.sides]
    rows = [
        (*_names(each), *(wording.quantity(each.means[column]) for column in columns))
        for each in summary.categories
    ]
    means = (wording.quantity(summary.mean_of_items[column]) for column in columns)
    rows.append(("mean of items", f"{summary.items - len(summary.failed):,}", *means))
    return Sheet("Losses by category, unweighted", ("category", "items", *heads), tuple(rows))


def _distribution(summary: Summary) -> Sheet:
    heads = tuple(f"{100 * share:g} %" for share in QUANTILES)
    rows = tuple(
        (_title(name), *(_number(name, values[share]) for share in QUANTILES))
        for name, values in summary.quantiles.items()
        if values
    )
    return Sheet("Distribution over the items", ("figure", *heads), rows)


def _title(column: str) -> str:
    """A column with its unit, where it is shown in another than it has."""
    return f"{column} ×{CHAMFER_SHOWN:.0f}" if column.endswith(CHAMFER) else column


def _worst(worst: Worst) -> Sheet:
    rows = tuple(
        (wording.printable(_item(row)), _number(worst.column, row[worst.column]))
        for row in worst.rows
    )
    return Sheet(f"Worst items by {worst.column}", ("item", _title(worst.column)), rows)


def _noted(summary: Summary) -> Sheet:
    cells = ((each.kind, f"{each.items:,}", _item(each.first), each.note) for each in summary.noted)
    return Sheet(
        "Inputs that are legal and unlikely to be meant",
        ("items with", "items", "the first", "its note"),
        tuple(tuple(map(wording.printable, row)) for row in cells),
    )


def page_commands(summary: Summary, again: str, own_page: Callable[[str], str]) -> list[str]:
    """Shell lines: the evaluation again, and the worst items' own pages, made when they are run.

    Args:
        summary: the evaluation.
        again: the line that made it.
        own_page: the line that makes the page of the item of a name.
    """
    names: dict[str, None] = {}
    for worst in summary.worst:
        names |= dict.fromkeys(_item(row) for row in worst.rows[:OWN_PAGES])
    return [again, *(own_page(name) for name in names)]


def csv_text(summary: Summary) -> str:
    """The table by category with all digits; the means are its last two rows."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = list(summary.mean_of_items)
    writer.writerow(["category", "name", "items", "failed", *columns])
    for each in summary.categories:
        values = [_cell(each.means[column]) for column in columns]
        writer.writerow([each.category, each.name, each.items, each.failed, *values])
    for label, means in (
        ("mean of categories", summary.mean_of_categories),
        ("mean of items", summary.mean_of_items),
    ):
        values = [_cell(means[column]) for column in columns]
        writer.writerow(["", label, summary.items, len(summary.failed), *values])
    return stream.getvalue()


def items_csv(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table of items, a line at a time, with all digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
        yield stream.getvalue()
        stream.seek(0)
        stream.truncate()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else wording.printable(str(value))


def _names(each: Category) -> tuple[str, str]:
    name = wording.printable(each.name)
    count = f"{each.items - each.failed:,}"
    return name, count + (f" ({each.failed:,} failed)" if each.failed else "")


def _head(summary: Summary, name: str, side: str) -> str:
    head = _HEADS.get(name, name.removeprefix("loss_"))
    return head if len(summary.sides) == 1 else f"{head}, {wording.printable(summary.sides[side])}"


def _number(column: str, value: float | None) -> str:
    if value is None:
        return wording.NOTHING
    if column.endswith(CHAMFER):
        return f"{CHAMFER_SHOWN * value:.3f}"
    return f"{value:.2f}" if column.endswith(F_SCORES) else wording.quantity(value)


def _item(row: Mapping[str, Any]) -> str:
    return f"{row['category']}/{row['item']}"
