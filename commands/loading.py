"""What options name, loaded: items, weights, backends."""

from pathlib import Path
from typing import Any

from commands.options import VIEWS, by_stage, parse_views
from commands.weights import read_weights
from network.weights import STAGES
from parity.traces.array_inputs import ArraySources, load_array_inputs
from parity.traces.backends import BackendChoice
from parity.traces.sources import Sources, read_sources
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet
from weight_conversion.stages import load_each


def load_sources(
    item: Path,
    views: str = VIEWS,
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


def load_inputs(
    stages: tuple[str, ...], inputs: Path | None, item: Path | None, **options: Any
) -> Sources | ArraySources:
    """What official stages read of an item, or a network of a user's own of a file of arrays.

    Args:
        stages: both official ones, or one network.
        inputs: the arrays.
        item: the item's folder.
        options: those of ``load_sources``.

    Raises:
        InputError: what it reads is not given, or what it does not read is.
    """
    if stages[0] in STAGES:
        if inputs is not None:
            raise InputError(
                "--inputs", f"given for {stages[0]}", "--item: it is an official stage"
            )
        if item is None:
            raise InputError("--item", "not given", "the folder of one item")
        return load_sources(item, **options, stages=stages)
    given = {"item": item, **options, "views": options["views"] != VIEWS}
    for name in (each for each, value in given.items() if value):
        option = f"--{name.replace('_', '-')}"
        raise InputError(option, f"given for {stages[0]}", "--inputs alone: it reads no item")
    if inputs is None:
        raise InputError("--inputs", "not given", f"the arrays that {stages[0]} reads (.npz)")
    return ArraySources(load_array_inputs(inputs, stages[0]))


def load_stages(paths: tuple[Path, ...], stages: tuple[str, ...]) -> dict[str, WeightSet]:
    """One set of weights for each of ``stages``, recognised by their variables.

    Raises:
        InputError: a stage has no weights or two, or weights are of a stage not asked for.
    """
    return load_each(paths, stages, "--weights", read_weights)


def backend_choice(name: str, stage: str, graphs: dict[str, Path]) -> BackendChoice:
    """The backend of that name for a stage."""
    return BackendChoice(name, graphs.get(stage))
