from pathlib import Path

import pytest

from network.taps import TAPS
from network.weights import WEIGHTS
from weight_conversion.tables import pages, write_pages

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", pages())
def test_page_is_up_to_date(name: str) -> None:
    stored = (DOCS / name).read_text(encoding="utf-8") if (DOCS / name).exists() else ""
    assert stored == pages()[name], "run: python -m weight_conversion.tables"


def test_pages_list_every_row_once() -> None:
    rendered = pages()
    for weight in (row for rows in WEIGHTS.values() for row in rows):
        assert rendered["variables.md"].count(f"| `{weight.key}` |") == 1
    for stage in TAPS:
        for row in TAPS[stage]:
            line = f"| {row.order} | `{row.name}` | {'x'.join(map(str, row.shape))} |"
            assert line in rendered["taps.md"]


def test_write_pages(tmp_path: Path) -> None:
    write_pages(tmp_path / "docs")
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"variables.md", "taps.md"}
