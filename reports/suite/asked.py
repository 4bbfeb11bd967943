"""From the suite's options to its recordings."""

from collections.abc import Sequence
from pathlib import Path

from inputs.demo import DEMO_ITEMS, demo_item_path
from inputs.demo.network import demo_weights
from network.weights import STAGES
from parity.traces.backends import BackendChoice
from parity.traces.sources import read_sources
from reports.suite.runs import GROUND_TRUTH, Recording
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet
from weight_conversion.stages import lacking, load_by_stage


def recordings(
    *,
    candidate: str,
    reference: str,
    items: Sequence[str],
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
        weights: files, one a stage; the demo network's where there are none.
        steps: training steps.
        device: of both sides.

    Raises:
        InputError: the port cannot be imported, or an item or a file of weights cannot be read.
    """
    backends = BackendChoice(reference), BackendChoice(candidate)
    for each in backends:
        each.check()
    if steps < 1:
        raise InputError("--p2m-steps", str(steps), "1 or more")
    by_stage = _weights(weights)
    found = []
    for item in items or DEMO_ITEMS:
        folder = demo_item_path(item) if item in DEMO_ITEMS else Path(item)
        truth = folder / GROUND_TRUTH
        sources = read_sources(folder, ground_truth=truth if truth.is_file() else None)
        found += [
            Recording(stage, folder.name, *backends, sources, by_stage, steps, device)
            for stage in by_stage
        ]
    names = [each.label for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError("--p2m-item", f"two of {twice}", "folders of different names")
    return found


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
