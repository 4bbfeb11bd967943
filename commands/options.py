"""Options that several commands share, parsed once. What they name is loaded by ``loading``."""

import fnmatch
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from network.weights import STAGES
from weight_conversion.errors import InputError

Command = Callable[..., Any]


class _Path(click.Path):
    """A path; an empty one, as of a shell variable that is not set, is not the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
VIEWS = "0,6,7"
"""The official view numbers."""
ROOM, PAIR_ROOM = 2, 6
"""GiB that a worker of ``evaluate`` needs, with one backend and with two."""


class _Stage(click.ParamType):
    """A stage of the official network, ``both`` where that is taken, or a network of one's own."""

    name = "stage"

    def __init__(self, both: bool) -> None:
        self._known = (*STAGES, "both") if both else STAGES

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from network.registry import names

        known = dict.fromkeys((*self._known, *names()))
        if value not in known:
            said = ", ".join(map(repr, known))
            self.fail(f"{value!r} is not one of {said} (--network MODULE adds others).", param, ctx)
        return str(value)


def stage_argument(both: bool = False) -> Callable[[Command], Command]:
    """STAGE of a command that takes networks of a user's own too."""
    shown = "{" + "|".join([*STAGES, *(["both"] if both else [])]) + "}"
    return click.argument("stage", type=_Stage(both), metavar=shown)


def weights_option(command: Command) -> Command:
    """``--weights``, once or twice."""
    return click.option(
        "--weights",
        "weights",
        type=PATH,
        multiple=True,
        required=True,
        help="Weights in any format; give it twice for both stages.",
    )(command)


def input_options(command: Command) -> Command:
    """What a run reads, apart from weights."""
    return _item_option(True)(_mesh_options(command))


def source_options(command: Command) -> Command:
    """The same of a network that may be one's own, which reads arrays and no item."""
    return _item_option(False)(arrays_option(_mesh_options(command)))


def arrays_option(command: Command) -> Command:
    """``--inputs``: what a network of one's own reads."""
    return click.option(
        "--inputs", type=PATH, metavar="I.npz",
        help="What a network of your own reads, in place of an item.",
    )(command)  # fmt: skip


def _item_option(required: bool) -> Callable[[Command], Command]:
    return click.option("--item", type=PATH, required=required, help="Folder of one item.")


def _mesh_options(command: Command) -> Command:
    for option in reversed(
        [
            click.option("--views", default=VIEWS, show_default=True, help="Three view numbers."),
            click.option("--template", type=PATH, help="Official mesh template (.dat)."),
            click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat)."),
            click.option("--mesh", type=PATH, help="Input mesh: .obj, .ply, .stl, .off or .npy."),
        ]
    ):
        command = option(command)
    return command


def loss_options(command: Command) -> Command:
    """What a run is held against for its losses."""
    for option in reversed(
        [
            click.option(
                "--ground-truth", type=PATH, help="Points to compute losses against: .xyz, .dat, "
                ".npy, .obj, .ply, .stl or .off.",
            ),
            click.option(
                "--samples", multiple=True, metavar="[STAGE=]S.npz",
                help="Points of the losses; drawn on the run's own meshes by default.",
            ),
            click.option("--gradients", is_flag=True, help="Record the total's gradients too."),
            click.option("--no-float64", is_flag=True,
                         help="Leave out the run in float64: the verdict then holds in the run's "
                         "own precision alone."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def run_options(command: Command) -> Command:
    """How a run is made."""
    for option in reversed(
        [
            click.option(
                "--dtype",
                type=click.Choice(["float32", "float64"]),
                default="float32",
                show_default=True,
                help="Precision of the run.",
            ),
            click.option("--device", default="cpu", show_default=True, help="cpu or cuda:N."),
            click.option(
                "--metagraph",
                multiple=True,
                metavar="[STAGE=]G.meta",
                help="Exported graph, for the backend metagraph.",
            ),
        ]
    ):
        command = option(command)
    return command


def vertices_option(command: Command) -> Command:
    """``--vertices``: judge a stage that mixes none at some of them."""
    return click.option(
        "--vertices", type=click.IntRange(1), metavar="N",
        help="Judge the refine stage, which mixes nothing between vertices, at N of them or a few "
        "more, from all over the mesh; at all by default.",
    )(command)  # fmt: skip


def figures_option(command: Command) -> Command:
    """``--figures``: files that few people need, and that take longest to draw."""
    return click.option(
        "--figures", is_flag=True,
        help="Draw every figure as PNG and as PDF too, and the meshes as PDFs of polygons.",
    )(command)  # fmt: skip


def unmatched_option(command: Command) -> Command:
    """``--unmatched``: what a side may lack, with the reason."""
    return click.option(
        "--unmatched", multiple=True, metavar="TAP=REASON", callback=_reasons,
        help="Why a side lacks a tap (a name or glob): it then does not make the verdict invalid, "
        "and what follows is judged across it.",
    )(command)  # fmt: skip


def _reasons(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Reasons by glob.

    Raises:
        InputError: one has no reason, or its glob fits nothing that a trace can hold.
    """
    from network.registry import names, network_of

    found = {}
    taps = [row.name for name in names() for row in network_of(name).taps]
    for value in values:
        glob, _, reason = value.partition("=")
        if not reason.strip():
            raise InputError("--unmatched", repr(value), "TAP=REASON")
        if not (glob.startswith(("losses/", "gradients/")) or fnmatch.filter(taps, glob)):
            raise InputError("--unmatched", f"{glob!r} matches no tap", "a tap's name or glob")
        found[glob] = reason.strip()
    return found


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
        from weight_conversion.formats import Choice

        return command(*args, choice=Choice(scope, averaged), **kwargs)

    return chosen


def parse_views(text: str) -> tuple[int, ...]:
    """View numbers from ``0,6,7``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError("--views", repr(text), "three numbers such as 0,6,7") from None


def by_stage(
    option: str, values: tuple[str, ...], stages: tuple[str, ...] = STAGES
) -> dict[str, Path]:
    """An option's paths by stage; a value without a stage's prefix serves every one of ``stages``.

    Raises:
        InputError: a stage is given twice.
    """
    found: dict[str, Path] = {}
    for value in values:
        stage, equals, path = value.partition("=")
        named = equals and stage in STAGES
        for key in (stage,) if named else stages:
            if key in found:
                raise InputError(option, f"given twice for {key}", "one a stage")
            found[key] = Path(path if named else value)
    return found
