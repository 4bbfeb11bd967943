"""A table on a terminal, none of its columns lost."""

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_whole(table: Table, console: Console) -> None:
    """Print a table in its own width: in a narrow window broken lines are better than lost columns.

    A pipe has no width to keep to.
    """
    wide = Console(file=io.StringIO(), width=10_000)
    with wide.capture() as written:
        wide.print(table)
    lines = [line.rstrip() for line in written.get().splitlines()]
    console.print(Text("\n".join(lines)), soft_wrap=True)
