"""``report``: several runs side by side, and what changed."""

from typing import Any

import click

from commands.options import PATH


@click.command("report")
@click.argument("runs", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="Folder for runs.json, .csv, .md and .html.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(**given: Any) -> int:
    """Put the reports of RUNS side by side and say what changed against the first.

    RUNS are folders that `run`, `compare --out` or `demo` wrote. CPU and GPU, before and after a
    fix, versions of a framework: settings that are not the same are listed with what they changed.
    """
    from commands.actions.report import perform

    return perform(**given)
