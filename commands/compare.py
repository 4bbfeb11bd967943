"""``compare``: the verdict per tap from two traces."""

from pathlib import Path

import click

from commands.console import print_json, steps
from commands.options import PATH, unmatched_option
from commands.reporting import show, write
from commands.staging import staging
from parity.traces.probe import probe
from parity.verdict.compare import compare


@click.command("compare")
@click.argument("reference", type=PATH)
@click.argument("candidate", type=PATH)
@click.option("--taps", default="*", help="Compare only taps that match this glob.")
@unmatched_option
@click.option("--out", type=PATH, help="Folder for the report.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    reference: Path,
    candidate: Path,
    taps: str,
    unmatched: dict[str, str],
    out: Path | None,
    as_json: bool,
) -> int:
    """Compare the traces REFERENCE and CANDIDATE."""
    with steps() as progress, progress.task("comparing"):
        probe(reference, candidate)
        comparison = compare(reference, candidate, taps=taps, unmatched=unmatched)
        if out is not None:
            with staging(out) as folder:
                write(comparison, folder, reference, candidate, again(reference, candidate))
    if as_json:
        print_json(comparison.to_json())
    else:
        show(comparison, out)
    return comparison.verdict.exit_status


def again(reference: Path, candidate: Path) -> list[str]:
    """The command that repeats the comparison."""
    return [f"p2m-parity compare {reference} {candidate}"]
