"""Writing the report over a data set: JSON, CSV, Markdown, page and figure from one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.summary import Summary
from parity.verdict.result import jsonable
from reports.figures.differences import image
from reports.figures.evaluation import CAPTION, distribution_figure
from reports.page.html import Picture
from reports.tables.comparison import json_text
from reports.text import evaluation_text as words
from reports.text.sheets import markdown_text, page_text
from weight_conversion.atomic import replacing

_FIGURE = "figures/distribution"


def write_evaluation(
    summary: Summary,
    rows: Sequence[Mapping[str, Any]],
    directory: Path,
    commands: Sequence[str] = (),
) -> None:
    """Write the report into the folder of the evaluation.

    Args:
        summary: of the rows.
        rows: the table of items.
        directory: where ``report.*``, ``categories.csv``, ``items.csv`` and ``figures`` go.
        commands: shell lines that make the evaluation and the worst items' pages.

    Raises:
        InputError: a file cannot be written; it is then left as it was.
    """
    figure = distribution_figure(rows, summary.sides)
    sheets, sentences = words.sheets(summary), words.sentences(summary)
    page = page_text(
        f"{words.TITLE} (p2m-parity)", words.TITLE, sheets, sentences,
        [Picture(image(figure, "svg"), "svg", CAPTION)], commands,
    )  # fmt: skip
    links = [(f"{_FIGURE}.png", CAPTION)]
    files = {f"{_FIGURE}.{form}": image(figure, form) for form in ("png", "pdf")}
    files |= {
        "items.csv": "".join(words.items_csv(rows)).encode(),
        "categories.csv": words.csv_text(summary).encode(),
        "report.md": markdown_text(words.TITLE, sheets, sentences, links, commands).encode(),
        "report.html": page.encode(),
        "report.json": json_text(jsonable(summary.to_json())).encode(),
    }
    for name, content in files.items():
        with replacing(directory / name) as path:
            path.write_bytes(content)
