"""What a table of items says together: categories, distribution, the worst, parity."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.columns import (
    BETWEEN,
    CHAMFER,
    DONE,
    LOSSES,
    NOTES,
    PARITY,
    SCORES,
    of_side,
    of_stage,
)
from evaluation.settings import EVALUATION_SCHEMA
from inputs.dataset import category_name
from parity.verdict.result import Verdict

Row = Mapping[str, Any]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
WORST = 10
"""Items that are listed as the worst of a figure."""
_HARMLESS_FIRST = ("agree", "invalid", "differ")


@dataclass(frozen=True)
class Category:
    """The means of a category's items, by column; ``failed`` ones are in none."""

    category: str
    name: str
    items: int
    failed: int
    means: Mapping[str, float | None]


@dataclass(frozen=True)
class Parity:
    """One stage on both sides: how many items have each verdict, and where they first diverge."""

    stage: str
    verdicts: Mapping[str, int]
    first_divergences: Mapping[str, int]


@dataclass(frozen=True)
class Worst:
    """The items with the worst values of a column, the worst first."""

    column: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Noted:
    """A kind of note (``inputs.unlikely``): how many items have one, and the first one's."""

    kind: str
    items: int
    first: Row
    note: str


@dataclass(frozen=True, eq=False)
class Summary:
    """A table of items, summed up.

    Attributes:
        settings: what the evaluation is of, see ``evaluation.settings.Settings.identity``.
        sides: backend of each side, the evaluated one first.
        categories: by their ids.
        mean_of_categories: the official mean: each category counts the same.
        mean_of_items: each item counts the same.
        quantiles: of each column, by share.
        parity: of each stage, where there is a reference.
        worst: by chamfer distance, and by the distance between the sides.
        failed: rows of the items that failed.
        noted: what is legal in the items' files and unlikely to be meant, the most frequent first.
        items: rows in all.
    """

    settings: Mapping[str, Any]
    sides: Mapping[str, str]
    categories: tuple[Category, ...]
    mean_of_categories: Mapping[str, float | None]
    mean_of_items: Mapping[str, float | None]
    quantiles: Mapping[str, Mapping[float, float]]
    parity: tuple[Parity, ...]
    worst: tuple[Worst, ...]
    failed: tuple[Row, ...]
    noted: tuple[Noted, ...]
    items: int

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict of an item; None where nothing was compared."""
        found = {name for each in self.parity for name in each.verdicts}
        worst = [name for name in _HARMLESS_FIRST if name in found]
        return Verdict(worst[-1]) if worst else None

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": EVALUATION_SCHEMA,
            "settings": dict(self.settings),
            "verdict": None if self.verdict is None else self.verdict.value,
            "items": self.items,
            "failed": [dict(row) for row in self.failed],
            "notes": [
                {
                    "kind": each.kind,
                    "items": each.items,
                    "first": f"{each.first['category']}/{each.first['item']}",
                    "note": each.note,
                }
                for each in self.noted
            ],
            "categories": [
                {
                    "category": each.category,
                    "name": each.name,
                    "items": each.items,
                    "failed": each.failed,
                    **each.means,
                }
                for each in self.categories
            ],
            "mean_of_categories": dict(self.mean_of_categories),
            "mean_of_items": dict(self.mean_of_items),
            "quantiles": {
                name: {f"{share:g}": value for share, value in values.items()}
                for name, values in self.quantiles.items()
            },
            "parity": [
                {
                    "stage": each.stage,
                    "verdicts": dict(each.verdicts),
                    "first_divergences": dict(each.first_divergences),
                }
                for each in self.parity
            ],
            "worst": {each.column: [dict(row) for row in each.rows] for each in self.worst},
        }


def summarise(settings: Mapping[str, Any], rows: Sequence[Row]) -> Summary:
    """Sum up a finished table of items.

    Args:
        settings: the evaluation's identity.
        rows: of ``Store.finish``.
    """
    sides = {"backend": str(settings["backend"])}
    stages = [str(stage) for stage in settings["stages"]]
    if settings["reference"] is not None:
        sides["reference"] = str(settings["reference"])
    figures = [of_side(side, name) for side in sides for name in (*SCORES, *LOSSES)]
    done = [row for row in rows if row["status"] == DONE]
    ids = sorted({str(row["category"]) for row in rows})
    categories = tuple(_category(each, rows, figures) for each in ids)
    compared = stages if len(sides) > 1 else []
    distances = [of_stage(stage, PARITY[2]) for stage in compared]
    return Summary(
        settings=settings,
        sides=sides,
        categories=categories,
        mean_of_categories={
            name: _mean([each.means[name] for each in categories]) for name in figures
        },
        mean_of_items={name: _mean([row[name] for row in done]) for name in figures},
        quantiles={name: _quantiles(done, name) for name in (*figures, *distances)},
        parity=tuple(_parity(stage, rows) for stage in compared),
        worst=tuple(_worst(done, name) for name in (CHAMFER, *distances)),
        failed=tuple(row for row in rows if row["status"] != DONE),
        noted=_noted(rows),
        items=len(rows),
    )


def _category(category: str, rows: Sequence[Row], figures: Sequence[str]) -> Category:
    own = [row for row in rows if row["category"] == category]
    done = [row for row in own if row["status"] == DONE]
    means = {name: _mean([row[name] for row in done]) for name in figures}
    return Category(category, category_name(category), len(own), len(own) - len(done), means)


def _noted(rows: Sequence[Row]) -> tuple[Noted, ...]:
    counts: Counter[str] = Counter()
    first: dict[str, tuple[Row, str]] = {}
    for row in rows:
        kinds, notes = (str(row[name] or "").split(BETWEEN) for name in NOTES)
        counts.update(dict.fromkeys(filter(None, kinds), 1))
        for kind, note in zip(kinds, notes, strict=False):  # an item's name may hold anything
            first.setdefault(kind, (row, note))
    return tuple(Noted(kind, count, *first[kind]) for kind, count in counts.most_common())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _quantiles(rows: Sequence[Row], name: str) -> dict[float, float]:
    known = [row[name] for row in rows if row[name] is not None]
    if not known:
        return {}
    return {share: float(value) for share, value in zip(
        QUANTILES, np.quantile(known, QUANTILES), strict=True)}  # fmt: skip


def _parity(stage: str, rows: Sequence[Row]) -> Parity:
    """Of all items that got so far: one whose mesh cannot be scored may have a verdict."""
    names = [row[of_stage(stage, PARITY[0])] for row in rows]
    verdicts = Counter(str(name) for name in names if name is not None)
    firsts = Counter(
        str(row[of_stage(stage, PARITY[1])]) for row in rows if row[of_stage(stage, PARITY[1])]
    )
    return Parity(stage, dict(verdicts.most_common()), dict(firsts.most_common()))


def _worst(rows: Sequence[Row], name: str) -> Worst:
    known = [row for row in rows if row[name] is not None]
    return Worst(name, tuple(sorted(known, key=lambda row: -row[name])[:WORST]))
