"""Table 1 on a terminal."""

import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.tables.table1 import Pair, differences_frame, losses_frame, remarks, shown
from reports.text.whole import print_whole
from reports.wording import printable


def show(pairs: Sequence[Pair], console: Console) -> None:
    """Print both tables and the remarks; nothing a name holds is taken as markup."""
    for frame in (losses_frame(pairs), differences_frame(pairs)):
        table = Table(
            box=box.ASCII2 if console.options.ascii_only else box.SIMPLE_HEAD,
            show_edge=False, pad_edge=False,
        )  # fmt: skip
        table.add_column("")
        for column in frame.columns:
            table.add_column(Text("\n".join(printable(str(part)) for part in column)),
                             justify="right", no_wrap=True)  # fmt: skip
        for name, *values in frame.itertuples():
            table.add_row(Text(str(name)), *(Text(shown(value)) for value in values))
        print_whole(table, console)
        console.print()
    for sentence in remarks(pairs):
        folded = textwrap.fill(
            sentence, max(console.width, 40), subsequent_indent="  ", break_long_words=False
        )
        console.print(folded, markup=False, highlight=False, emoji=False, soft_wrap=True)
