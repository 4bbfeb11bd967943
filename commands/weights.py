"""Weights on the command line: reading them with what a person should know, and writing them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reports.wording import printable
from weight_conversion.formats import Choice, WeightSet, load_weights, save_weights

Command = Callable[..., Any]


def choice_options(command: Command) -> Command:
    """``--scope`` and ``--ema``: which of several sets in a file, given as ``choice``."""

    @click.option("--scope", metavar="SCOPE",
                  help="Take the variables under SCOPE, such as tower_0 or ema, where there are "
                  "several; '' for those under none.")  # fmt: skip
    @click.option("--ema/--no-ema", "averaged", default=None,
                  help="Take the variables' moving averages, or the variables, where there are "
                  "both.")  # fmt: skip
    @functools.wraps(command)
    def chosen(*args: Any, scope: str | None, averaged: bool | None, **kwargs: Any) -> Any:
        return command(*args, choice=Choice(scope, averaged), **kwargs)

    return chosen


def read_weights(path: Path) -> WeightSet:
    """The weights in a file; notes about how they were read go to stderr.

    Raises:
        InputError: see ``load_weights``.
    """
    weights = load_weights(path)
    for note in weights.notes:
        click.echo(printable(f"p2m-parity: note: {path}: {note}"), err=True)
    return weights


def write_weights(destination: Path, weights: WeightSet) -> None:
    """Write ``weights`` in the format of the destination's ending.

    An ``.onnx`` file is the whole network with the weights inside, which only the torch
    implementation can write; all other formats are plain containers.
    """
    if destination.suffix.lower() == ".onnx":
        from torch_impl.onnx_export import export

        export(weights, destination)
        return
    save_weights(destination, weights)
