"""A data set to try things on: the project's modeller varied by a seed, in ShapeNet's layout.

Every item depends on the seed and its own number alone, so that a part of a data set is the same as
in the whole, and an interrupted one goes on where it was.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from inputs.dataset import Entry
from inputs.demo.make import camera_rows, surface_points, write_item
from inputs.demo.varied import KINDS, varied
from weight_conversion.atomic import replacing

LIST = "list.txt"
_MODEL, _CAMERAS, _POINTS = range(3)
"""What a draw is for: each has its own stream of numbers."""


def entries_of(count: int) -> list[Entry]:
    """The items of a data set of ``count``, the kinds in turn."""
    kinds = list(KINDS)
    names = [(kinds[number % len(kinds)], number) for number in range(count)]
    return [Entry(KINDS[kind], f"{kind}-{number:05d}") for kind, number in names]


def write_dataset(
    folder: Path,
    count: int,
    seed: int,
    views: int,
    on_item: Callable[[str], None] = lambda _name: None,
) -> None:
    """Write ``count`` items below ``folder``, and ``list.txt`` that names them.

    Items that are there already are kept.

    Args:
        folder: of the data set; an item stands in ``CATEGORY/NAME``.
        count: items.
        seed: of all draws.
        views: renderings an item; ShapeNet has 24, the network reads 0, 6 and 7.
        on_item: told the name of each item once it is there.

    Raises:
        InputError: the folder cannot be written to.
    """
    kinds = {category: kind for kind, category in KINDS.items()}
    entries = entries_of(count)
    for number, entry in enumerate(entries):
        place = folder / entry.name
        # Written last: an item that has it is whole.
        if not (place / "model_normal.xyz").is_file():
            model = np.random.default_rng([seed, number, _MODEL])
            parts = varied(kinds[entry.category], model)
            rows = camera_rows((seed, number, _CAMERAS), views)
            write_item(parts, rows, surface_points(parts, (seed, number, _POINTS)), place)
        on_item(entry.name)
    with replacing(folder / LIST) as path:
        path.write_text("".join(f"{entry.name}\n" for entry in entries), encoding="ascii")
