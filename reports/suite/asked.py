"""From the suite's options to its recordings."""

from collections.abc import Sequence
from pathlib import Path

from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.network import demo_weights
from network.weights import STAGES
from parity.traces.array_inputs import ArraySources, load_array_inputs, network_in
from parity.traces.backends import BackendChoice
from parity.traces.sources import read_sources
from reports.suite.runs import GROUND_TRUTH, Recording
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet
from weight_conversion.stages import lacking, load_by_stage, load_each


def recordings(
    *,
    candidate: str,
    reference: str,
    items: Sequence[str],
    inputs: Sequence[Path],
    weights: Sequence[Path],
    steps: int,
    device: str,
) -> list[Recording]:
    """What is to be recorded: every stage that there are weights for, on every item.

    Args:
        candidate: what is judged, ``module:factory``.
        reference: what is taken as right.
        items: names of demo items or folders; all of the demo's where there are none. Losses are
            taken where a folder has ``model_normal.xyz``.
        inputs: files of arrays, in place of items, that networks of a user's own read.
        weights: files, one a stage; the demo network's where there are none.
        steps: training steps.
        device: of both sides.

    Raises:
        InputError: the port cannot be imported, a file cannot be read, or files do not belong
            together.
    """
    backends = BackendChoice(reference), BackendChoice(candidate)
    for each in backends:
        each.check()
    if steps < 1:
        raise InputError("--p2m-steps", str(steps), "1 or more")
    if inputs:
        if items:
            raise InputError("--p2m-inputs", "given with --p2m-item", "one of them")
        given = [(path.stem, ArraySources(load_array_inputs(path, network_in(path))))
                 for path in inputs]  # fmt: skip
        found = _of_arrays(given, backends, weights, steps, device)
    else:
        found = _of_items(items or DEMO_ITEMS, backends, _weights(weights), steps, device)
    names = [each.label for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        option, kind = ("--p2m-inputs", "files") if inputs else ("--p2m-item", "folders")
        raise InputError(option, f"two of {twice}", f"{kind} of different names")
    return found


def _of_items(
    items: Sequence[str],
    backends: tuple[BackendChoice, BackendChoice],
    weights: dict[str, WeightSet],
    steps: int,
    device: str,
) -> list[Recording]:
    found = []
    for item in items:
        folder = demo_item_path(item) if item in DEMO_ITEMS else Path(item)
        truth = folder / GROUND_TRUTH
        sources = read_sources(folder, ground_truth=truth if truth.is_file() else None)
        found += [
            Recording(stage, folder.name, *backends, sources, weights, steps, device)
            for stage in weights
        ]
    return found


def _of_arrays(
    given: Sequence[tuple[str, ArraySources]],
    backends: tuple[BackendChoice, BackendChoice],
    paths: Sequence[Path],
    steps: int,
    device: str,
) -> list[Recording]:
    stages = list(dict.fromkeys(sources.inputs.stage for _, sources in given))
    for each in backends:
        for stage in stages:
            each.check_network(stage)
    weights = load_each(paths, stages, "--p2m-weights")
    return [
        Recording(sources.inputs.stage, name, *backends, sources, weights, steps, device)
        for name, sources in given
    ]


def _weights(paths: Sequence[Path]) -> dict[str, WeightSet]:
    """By stage, in the order of the stages."""
    if not paths:
        return {stage: demo_weights(stage) for stage in STAGES}
    found = load_by_stage(paths)
    if (pair := lacking(found)) is not None:
        stage, before = pair
        raise InputError(
            "--p2m-weights", f"no {before} weights",
            f"them too: the {stage} stage starts from the {before} mesh",
        )  # fmt: skip
    return found
