"""Options that several commands share, parsed once."""

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from commands.weights import read_weights
from network.registry import names, network_of
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from parity.traces.sources import Sources, read_sources
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

Command = Callable[..., Any]
PATH = click.Path(path_type=Path)


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
    for option in reversed(
        [
            click.option("--item", type=PATH, required=True, help="Folder of one item."),
            click.option("--views", default="0,6,7", show_default=True, help="Three view numbers."),
            click.option("--template", type=PATH, help="Official mesh template (.dat)."),
            click.option("--hypotheses", type=PATH, help="Official hypotheses (.dat)."),
            click.option("--mesh", type=PATH, help="Input mesh (.npy or .obj)."),
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
                ".npy or .obj.",
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


def load_sources(
    item: Path,
    views: str = "0,6,7",
    template: Path | None = None,
    hypotheses: Path | None = None,
    mesh: Path | None = None,
    ground_truth: Path | None = None,
    samples: tuple[str, ...] = (),
    stages: tuple[str, ...] = STAGES,
) -> Sources:
    """Load what the options name; see ``read_sources``."""
    return read_sources(
        item,
        views=parse_views(views),
        template=template,
        hypotheses=hypotheses,
        mesh=mesh,
        ground_truth=ground_truth,
        samples=by_stage("--samples", samples, stages),
    )


def parse_views(text: str) -> tuple[int, ...]:
    """View numbers from ``0,6,7``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError("--views", repr(text), "three numbers such as 0,6,7") from None


def load_stages(paths: tuple[Path, ...], stages: tuple[str, ...]) -> dict[str, WeightSet]:
    """One set of weights for each of ``stages``, recognised by their variables.

    Raises:
        InputError: a stage has no weights or two, or weights are of a stage not asked for.
    """
    found: dict[str, WeightSet] = {}
    for path in paths:
        weights = read_weights(path)
        if weights.stage in found:
            raise InputError(path, f"a second set of {weights.stage} weights", "one a stage")
        if weights.stage not in stages:
            raise InputError(
                path, f"weights of the {weights.stage} stage", f"the {' and '.join(stages)} stage"
            )
        found[weights.stage] = weights
    for stage in stages:
        if stage not in found:
            raise InputError("--weights", f"no {stage} weights given", f"--weights for {stage}")
    return found


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


def backend_choice(name: str, stage: str, graphs: dict[str, Path]) -> BackendChoice:
    """The backend of that name for a stage."""
    return BackendChoice(name, graphs.get(stage))
