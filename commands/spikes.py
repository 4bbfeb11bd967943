"""``spikes``: judge meshes, ``diagnose`` a spike, ``repair`` a mesh, ``level`` a template."""

from typing import Any

import click

from commands.options import PATH
from parity.meshes.spikes.methods import METHODS


class Meshes(click.Group):
    """Without the name of a command, the arguments are meshes to judge."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {*self.list_commands(ctx), *ctx.help_option_names}
        if not args or args[0] not in known:
            args = ["judge", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), "diagnose"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "diagnose":
            # It needs torch, which takes seconds to load; meshes are judged without.
            from commands.spikes_diagnose import diagnose_command

            return diagnose_command
        return super().get_command(ctx, cmd_name)


@click.group(
    "spikes",
    cls=Meshes,
    subcommand_metavar="MESH… [OPTIONS] | diagnose | repair | level",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def command() -> None:
    """Find spikes in meshes, trace them through the network, take them out.

    `spikes MESH…` is short for `spikes judge MESH…`. docs/spikes.md says what causes them.
    """


def _against_options(function: Any) -> Any:
    for option in reversed(
        [
            click.option("--template", type=PATH, help="The template (.dat) of the meshes."),
            click.option("--item", type=PATH, help="Folder of the item that the meshes show."),
            click.option("--views", default="0,6,7", show_default=True, help="Three view numbers."),
            click.option(
                "--ground-truth",
                type=PATH,
                help=".xyz, .dat, .npy, .obj, .ply, .stl or .off; .xyz with --item.",
            ),
        ]
    ):
        function = option(function)
    return function


@command.command("judge")
@click.argument("meshes", type=PATH, nargs=-1, required=True, metavar="MESH…")
@_against_options
@click.option("--out", type=PATH, help="Folder for tables, a row a vertex, and pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def judge_command(**given: Any) -> None:
    """Count the spikes of meshes and say what they have in common."""
    from commands.actions.spikes import judge_meshes

    judge_meshes(**given)


@command.command("repair")
@click.argument("mesh", type=PATH)
@click.option("--out", type=PATH, required=True, help="The repaired mesh, .obj.")
@click.option("--method", type=click.Choice(METHODS), default="neighbours", show_default=True,
              help="What takes a spike's place; see docs/spikes.md.")  # fmt: skip
@_against_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def repair_command(**given: Any) -> None:
    """Take the spikes out of a mesh, and say which vertices moved and how far."""
    from commands.actions.spikes import repair_mesh

    repair_mesh(**given)


@command.command("level")
@click.argument("destination", type=PATH)
@click.option("--template", type=PATH, help="Official mesh template (.dat); the own by default.")
def level_command(**given: Any) -> None:
    """Write a template without the mode that makes spikes to DESTINATION (.dat).

    The diagonal of its second supports is changed so that their rows sum to -1. Networks that train
    with it (`--template DESTINATION`) are built as before; on the official template they are not
    what they were trained to be.
    """
    from commands.actions.spikes import level_template

    level_template(**given)
