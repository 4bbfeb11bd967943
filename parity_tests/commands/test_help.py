"""The help: of the commands all together, at once and true to what each says of itself."""

import subprocess
import sys

import click
import pytest

from commands.main import COMMANDS, MAKERS, cli
from parity_tests.commands.cli import p2m

SPIKES = ("judge", "diagnose", "repair", "level")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_the_list_says(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.help is not None
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]


def test_every_command_is_listed() -> None:
    done = p2m("--help")
    assert done.status == 0
    lines = done.stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line[2:3].strip()] == list(COMMANDS)


FEW = 240
"""Modules that all helps together load at most: NumPy alone would bring more than 100 to the 199 of
Python's, click's and ours."""


def test_help_loads_what_it_prints_and_nothing_else() -> None:
    """One process for all of them: what one help loads, the next would load too."""
    calls = [[], *([name] for name in (*COMMANDS, *MAKERS)), *(["spikes", name] for name in SPIKES)]
    program = f"""
import sys
# What an installation loads as Python starts, such as its sitecustomize, is not ours.
started = {{name.partition(".")[0] for name in sys.modules}}
from commands.main import cli
for arguments in {calls}:
    cli.main([*arguments, "--help"], standalone_mode=False)
packages = {{name.partition(".")[0] for name in sys.modules}}
packages -= {{*sys.stdlib_module_names, *started}}
print(len(sys.modules), *sorted(packages))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    count, *loaded = done.stdout.splitlines()[-1].split()
    assert set(loaded) <= {"click", "commands", "network", "parity", "studies", "weight_conversion"}
    assert int(count) < FEW
