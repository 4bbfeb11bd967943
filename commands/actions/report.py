"""What ``report`` does."""

import shlex
from pathlib import Path

import click
from rich.console import Console

from commands.console import print_json
from reports.tables.comparison import json_text
from reports.tables.runs import labels, read_run, runs_json
from reports.text.runs_text import csv_text, markdown_text, page_text, show
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError


def perform(runs: tuple[Path, ...], out: Path | None, as_markdown: bool, as_json: bool) -> int:
    """Put the reports of RUNS side by side and say what changed against the first."""
    if len(runs) < 2:
        raise InputError("report", "one run", "two or more to put side by side")
    if as_json and as_markdown:
        raise InputError("--json", "given with --markdown", "one of the two")
    found = [read_run(path, label) for path, label in zip(runs, labels(runs), strict=True)]
    if out is not None:
        again = shlex.join(["p2m-parity", "report", *map(str, runs), "--out", str(out)])
        texts = {
            "runs.csv": csv_text(found),
            "runs.md": markdown_text(found),
            "runs.html": page_text(found, commands=[again]),
            "runs.json": json_text(runs_json(found)),
        }
        with staging(out, last="runs.json") as folder:
            for name, text in texts.items():
                (folder / name).write_bytes(text.encode("utf-8", "backslashreplace"))
    if as_json:
        print_json(runs_json(found))
    elif as_markdown:
        click.echo(markdown_text(found), nl=False)
    else:
        console = Console()
        show(found, console)
        if out is not None:
            line = f"report: {out / 'runs.html'}"
            console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return 0
