"""A data set of items in ShapeNet's layout, and the lists that name a part of it.

An item's folder is ``ROOT/CATEGORY/ITEM``, as the renderings of Choy et al. (3D-R2N2, 2016) are
laid out. A list names an item a line, as ``CATEGORY/ITEM`` or as the official lists do, by the file
of its ground truth: ``CATEGORY_ITEM_00.dat`` or ``…/CATEGORY/ITEM/rendering/00.dat``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs.files import read_text, shown
from weight_conversion.errors import InputError

CATEGORIES = {
    "02691156": "plane",
    "02828884": "bench",
    "02933112": "cabinet",
    "02958343": "car",
    "03001627": "chair",
    "03211117": "monitor",
    "03636649": "lamp",
    "03691459": "speaker",
    "04090263": "firearm",
    "04256520": "couch",
    "04379243": "table",
    "04401088": "cellphone",
    "04530566": "watercraft",
}
"""The 13 categories of the official evaluation, by their WordNet offsets."""

_WORD = r"[A-Za-z0-9][A-Za-z0-9.-]*"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<category>{_WORD})/(?P<item>{_WORD})",
        rf"(?:.*/)?(?P<category>{_WORD})_(?P<item>{_WORD})_00\.dat",
        rf"(?:.*/)?(?P<category>{_WORD})/(?P<item>{_WORD})/rendering/00\.dat",
    )
)
_EXPECTED = "CATEGORY/ITEM, CATEGORY_ITEM_00.dat or …/CATEGORY/ITEM/rendering/00.dat"


@dataclass(frozen=True)
class Entry:
    """An item of a data set by its category and its own name."""

    category: str
    item: str

    @property
    def name(self) -> str:
        """``CATEGORY/ITEM``: the item's folder below the data set's."""
        return f"{self.category}/{self.item}"

    @property
    def official(self) -> str:
        """The name of its ground truth in the authors' data: ``CATEGORY_ITEM_00.dat``."""
        return f"{self.category}_{self.item}_00.dat"


def category_name(category: str) -> str:
    """The word for a category: ``plane`` for 02691156, the folder's own name for another."""
    return CATEGORIES.get(category, category)


def read_lists(paths: Sequence[Path]) -> list[Entry]:
    """The items that list files name, in their order.

    Empty lines and lines that begin with ``#`` are skipped.

    Raises:
        InputError: a list cannot be read, names nothing, has a line of another form, or an item is
            named twice.
    """
    found: dict[Entry, str] = {}
    for path in paths:
        before = len(found)
        for number, line in enumerate(read_text(path, "a list of items").splitlines(), start=1):
            text, where = line.strip(), f"{path}, line {number}"
            if not text or text.startswith("#"):
                continue
            entry = _entry(where, text)
            if entry in found:
                raise InputError(where, f"{entry.name} again", f"once, as in {found[entry]}")
            found[entry] = where
        if len(found) == before:
            raise InputError(path, "names no item", f"a line an item: {_EXPECTED}")
    return list(found)


def _entry(where: str, text: str) -> Entry:
    for form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            return Entry(match["category"], match["item"])
    raise InputError(where, shown(text), _EXPECTED)


def find_entries(root: Path) -> list[Entry]:
    """Every item below a data set's folder, by name.

    Raises:
        InputError: it is no folder, or holds no ``CATEGORY/ITEM/rendering``.
    """
    check_root(root)
    found = [
        Entry(item.parent.name, item.name)
        for item in sorted(root.glob("*/*"))
        if (item / "rendering").is_dir() and _FORMS[0].fullmatch(f"{item.parent.name}/{item.name}")
    ]
    if not found:
        raise InputError(root, "holds no item", "folders CATEGORY/ITEM/rendering")
    return found


def check_root(root: Path) -> None:
    """Refuse what is no folder.

    Raises:
        InputError: it is none.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "no such folder"
        raise InputError(root, found, "a data set: folders CATEGORY/ITEM")


def truth_path(root: Path, entry: Entry, truths: Path | None) -> Path:
    """An item's ground truth: ``model_normal.xyz`` in its folder, or its file below ``truths``."""
    if truths is None:
        return root / entry.name / "model_normal.xyz"
    return truths / entry.official
