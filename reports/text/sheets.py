"""Tables of words and the sentences above them: on a terminal, as Markdown and as a page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.verdict.result import Status
from reports import wording
from reports.page.html import Picture, render
from reports.palette import LOOKS
from reports.tables.comparison import markdown, markdown_table

_PLAIN = re.compile(r"[A-Za-z0-9.,+→— -]*")


@dataclass(frozen=True)
class Sheet:
    """A table: its title, heading and rows of words, all of it printable."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def show(sheets: Sequence[Sheet], sentences: Sequence[str], console: Console) -> None:
    """Print everything; nothing a name holds is taken as markup."""
    for sheet in sheets:
        table = Table(
            box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
            title=sheet.title, title_justify="left", show_edge=False, pad_edge=False,
        )  # fmt: skip
        for name in sheet.heading:
            table.add_column(Text(name), overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        console.print()
    for line in sentences:
        console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


def markdown_text(
    title: str,
    sheets: Sequence[Sheet],
    sentences: Sequence[str],
    links: Sequence[tuple[str, str]] = (),
    commands: Sequence[str] = (),
) -> str:
    """The same for a code host; ``links`` are pictures with their captions."""
    blocks = [f"# {markdown(title)}", *(f"- {markdown(line)}" for line in sentences)]
    for sheet in sheets:
        heading = [_markdown(cell) for cell in sheet.heading]
        rows = [[_markdown(cell) for cell in row] for row in sheet.rows]
        blocks += [f"## {markdown(sheet.title)}", markdown_table(heading, rows)]
    blocks += [f"![{markdown(caption)}]({path})" for path, caption in links]
    if commands:
        lines = "\n".join(f"    {wording.spelled_out(command)}" for command in commands)
        blocks += ["## Again", lines]
    return "\n\n".join(blocks) + "\n"


def _markdown(cell: str) -> str:
    """Names as code or escaped; numbers and plain words as they are."""
    return cell if _PLAIN.fullmatch(cell) else markdown(cell)


def page_text(
    title: str,
    heading: str,
    sheets: Sequence[Sheet],
    sentences: Sequence[str],
    pictures: Sequence[Picture] = (),
    commands: Sequence[str] = (),
) -> str:
    """The same as a page."""
    return render(
        "sheets.html",
        [],
        title=title,
        looks=LOOKS,
        heading=heading,
        sentences=sentences,
        sheets=sheets,
        pictures=pictures,
        statuses={status.value: LOOKS[status] for status in Status},
        commands="\n".join(wording.spelled_out(command) for command in commands),
    )
