"""What ``convert`` does."""

from pathlib import Path

import click

from commands.weights import write_weights
from reports.wording import printable
from weight_conversion.conversion import convert
from weight_conversion.formats import Choice


def perform(source: Path, destination: Path, choice: Choice) -> None:
    """Convert SOURCE to DESTINATION, both formats by ending, bit for bit."""
    done = convert(source, destination, choice, write_weights)
    click.echo(f"{destination}: {done.variables} variables of the {done.stage} stage")
    click.echo(f"weights_sha256 {done.weights_sha256}")
    for note in done.notes:
        click.echo(printable(f"note: {note}"))
