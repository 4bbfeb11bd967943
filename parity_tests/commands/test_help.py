"""The help: of the commands all together, at once and true to what each says of itself."""

import subprocess
import sys

import click
import pytest

from commands.main import COMMANDS, cli
from parity_tests.commands.cli import p2m


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


def test_the_list_loads_no_framework() -> None:
    program = (
        "import sys\nfrom commands.main import cli\ncli.main(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'tensorflow', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
