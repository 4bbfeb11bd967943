"""Several files of weights, one a stage."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from network.registry import network_of
from network.weights import STAGES
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet, load_weights


def load_by_stage(
    paths: Iterable[Path],
    read: Callable[[Path], WeightSet] = load_weights,
    stages: Collection[str] = STAGES,
) -> dict[str, WeightSet]:
    """Weights by the stage that their variables tell, in the order of ``stages``.

    Raises:
        InputError: two files are of one stage or one of another, or one cannot be read.
    """
    found: dict[str, WeightSet] = {}
    for path in paths:
        weights = read(path)
        if weights.stage not in stages:
            expected = f"the {' and '.join(stages)} stage"
            raise InputError(path, f"weights of the {weights.stage} stage", expected)
        if weights.stage in found:
            raise InputError(path, f"a second set of {weights.stage} weights", "one a stage")
        found[weights.stage] = weights
    return {stage: found[stage] for stage in stages if stage in found}


def load_each(
    paths: Iterable[Path],
    stages: Collection[str],
    option: str,
    read: Callable[[Path], WeightSet] = load_weights,
) -> dict[str, WeightSet]:
    """One set of weights for each of ``stages``, given by an option of this name.

    Raises:
        InputError: a stage has none, or as ``load_by_stage``.
    """
    found = load_by_stage(paths, read, stages)
    for stage in stages:
        if stage not in found:
            raise InputError(option, f"no {stage} weights given", f"{option} for {stage}")
    return found


def lacking(stages: Collection[str]) -> tuple[str, str] | None:
    """The first stage that starts from another one's mesh which is not there, and that other."""
    for stage in stages:
        before = network_of(stage).follows
        if before is not None and before not in stages:
            return stage, before
    return None
