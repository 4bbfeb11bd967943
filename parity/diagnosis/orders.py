"""Orders of channels that are found in the output, and not tried."""

from collections.abc import Iterator

import numpy as np

from parity.diagnosis.factors import FIT_ROWS
from parity.diagnosis.question import Question, Variant


def variants(question: Question) -> Iterator[Variant]:
    """Rows or channels of the result in another order, found by looking for every one."""
    value, seen = question.official.value, question.observed
    limit = float(np.nanmax(question.official.limit, initial=0.0))
    if not np.isfinite(limit):
        return
    channels = seen.shape[-1]
    if channels > 1:
        flat = seen.reshape(-1, channels)
        order = same_order(flat, value.reshape(-1, channels), limit)
        # Zeros in place of channels are found somewhere else too, and are no evidence of an order.
        if (
            order is not None
            and (np.ptp(flat[:, order != np.arange(channels)], axis=0) > limit).any()
        ):
            yield Variant("channel order", f"output channels in another order{told(order)}",
                          question.program, columns=order)  # fmt: skip
    if question.row.is_map or len(seen) > FIT_ROWS:
        return
    flat, right = (each.reshape(len(each), -1).T for each in (seen, value))
    order = same_order(flat, right, limit)
    # Rows that occur twice are copies, and no other order.
    if order is None or (order == np.arange(len(order))).all():
        return
    if len(set(order.tolist())) == len(order):
        yield Variant("index order", f"rows in another order{told(order)}",
                      question.program, rows=order)  # fmt: skip


def told(order: np.ndarray) -> str:
    """Where few things changed their places: which, to be read after a name."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    if len(moved) > 4:
        return ""
    return f" ({', '.join(f'{order[i]} at {i}' for i in moved)})"


def same_order(columns: np.ndarray, official: np.ndarray, tolerance: float) -> np.ndarray | None:
    """Which official column each observed one is, (n,), None where some match none.

    Arrays are (rows, n) and (rows, m); ``tolerance`` is absolute. Constant columns that cannot be
    told apart are taken in their own place where they fit there.
    """
    if len(columns) == 0 or columns.shape[1] > official.shape[1]:
        return None
    found = np.arange(columns.shape[1])
    own = official[:, : columns.shape[1]]
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(columns - own).max(axis=0) <= tolerance))
    some = np.unique(np.linspace(0, len(columns) - 1, min(len(columns), 64)).astype(np.int64))
    for index in wrong:
        # Few rows tell which columns alone can be meant.
        away = np.abs(official[some] - columns[some, index : index + 1]).max(axis=0)
        near = np.flatnonzero(away <= tolerance)
        full = np.abs(official[:, near] - columns[:, index : index + 1]).max(axis=0, initial=0.0)
        if not len(near) or not full.min() <= tolerance:
            return None
        found[index] = near[int(np.argmin(full))]
    return found
