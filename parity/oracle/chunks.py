"""Going through large taps a few vertices at a time.

The refine stage's layers mix nothing between vertices, so that a layer on some vertices needs its
inputs at those alone, beside the feature maps. Its largest tap has 36 million numbers.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import median_low
from typing import Any, TypeVar

import numpy as np

from network.registry import network_of
from network.taps import TapRow

PART = 4.6e6
"""Bytes in float64 of a part of a tap, of the middle one in size of those that are cut: a few of
them stay in a processor's cache. In the refine stage it has 69 vertices; six parts of its mesh took
twice the time."""

MOST_WORKERS = 8
"""Parts worked on at a time, at most: each holds some tens of megabytes."""

Part = slice | None
"""Some vertices of an activation; None for all of it."""


def vertices_at_once(stage: str) -> int:
    """How many vertices of a network's mesh a part has, the same in all taps that are cut."""
    sizes = [
        row.rows_per_vertex * math.prod(row.shape[1:])
        for row in network_of(stage).taps
        if row.rows_per_vertex is not None
    ]
    return max(1, int(PART // (8 * median_low(sizes)))) if sizes else 1


def parts_of(row: TapRow, recorded: Sequence[slice]) -> list[Part]:
    """How to go through a tap of which a run has some vertices, or all of them."""
    if row.rows_per_vertex is None:
        return [None]
    most = vertices_at_once(row.stage)
    return [part for window in recorded for part in slices_of(window, most)]


def slices_of(window: slice, most: int) -> list[slice]:
    """A range, at most ``most`` at a time."""
    starts = range(window.start, window.stop, most)
    return [slice(start, min(start + most, window.stop)) for start in starts]


def rows_in(rows_per_vertex: int, part: slice) -> slice:
    """The rows of an activation that belong to a part."""
    return slice(part.start * rows_per_vertex, part.stop * rows_per_vertex)


def cut(values: Any, rows_per_vertex: int | None, part: Part) -> np.ndarray:
    """Those rows of an array or dataset that belong to a part; all of them where a layer mixes
    vertices, or where there are none (see ``Network.rows_per_vertex``).
    """  # noqa: D205 - one sentence
    if part is None or rows_per_vertex is None:
        return np.asarray(values[()])
    return np.asarray(values[rows_in(rows_per_vertex, part)])


Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """The results for all items, in order, one item a core where there are several.

    Each is worked on by one thread, its products too: two parts side by side use two cores better
    than one product does.
    """
    if len(items) < 2:
        yield from map(work, items)
        return
    workers = min(len(items), os.cpu_count() or 1, MOST_WORKERS)
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, items)


@cache
def _libraries() -> Any:
    """The libraries of products: to look for them takes a hundredth of a second."""
    from threadpoolctl import ThreadpoolController  # which one part does without

    return ThreadpoolController()
