"""An evaluation from data set to table, on a cluster."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from cluster.flow import Outcome, flow
from cluster.opened import Cluster, Wanted, opened
from evaluation.columns import DONE, FAILED, TIMES
from evaluation.item import Evaluator, Row
from evaluation.settings import Settings
from evaluation.store import Store
from inputs.dataset import Entry
from weight_conversion.errors import InputError

OnOpen = Callable[[Cluster], None]
OnRow = Callable[[Mapping[str, Any]], None]


def evaluate(
    settings: Settings,
    entries: Sequence[Entry],
    there: set[str],
    wanted: Wanted,
    store: Store,
    on_open: OnOpen,
    on_row: OnRow,
) -> None:
    """Evaluate the items that have no row yet.

    Args:
        settings: what is the same for all items.
        entries: all items of the evaluation.
        there: names of those that have a row.
        wanted: the cluster.
        store: takes each row as soon as it comes.
        on_open: told the cluster before the first item.
        on_row: told each row when it is stored.

    Raises:
        InputError: the scheduler does not answer or is gone, no backend can be made, or a row
            cannot be written.
    """
    left = {entry.name: entry for entry in entries if entry.name not in there}
    if not left:
        return
    with opened(wanted, partial(Evaluator, settings)) as cluster:
        for outcome in flow(cluster, [("backends", None)]):
            trouble = outcome.reason if outcome.done is None else outcome.done.result
            if trouble:
                where, _, found = trouble.partition(": ")
                raise InputError(where, found)
        on_open(cluster)
        for outcome in flow(cluster, left.items()):
            row = _row(left[outcome.key], outcome)
            store.add(row)
            on_row(row)


def _row(entry: Entry, outcome: Outcome) -> Row:
    if outcome.done is not None:
        row: Row = outcome.done.result | {name: getattr(outcome.done, name) for name in TIMES}
        assert row["status"] in (DONE, FAILED)
        return row
    keys = {"category": entry.category, "item": entry.item}
    return {**keys, "status": FAILED, "reason": outcome.reason}
