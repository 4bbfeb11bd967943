"""The items that the project carries, so that its main job runs with nothing else at hand."""

from pathlib import Path

from weight_conversion.errors import InputError

DEMO_ITEMS = ("plane", "sofa")
"""Names of the items, both in ShapeNet's layout with ``model_normal.xyz`` as ground truth."""
DEMO_COVERAGE = Path(__file__).parent / "coverage"
"""What the items can tell under weights that come with them: see
``parity.verdict.coverage_cache``."""


def demo_item_path(name: str) -> Path:
    """The folder of a demo item.

    Raises:
        InputError: there is none of this name, or it was not installed.
    """
    if name not in DEMO_ITEMS:
        raise InputError("demo item", f"no item {name!r}", " or ".join(DEMO_ITEMS))
    folder = Path(__file__).parent / "items" / name
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "the demo items, installed with the package")
    return folder
