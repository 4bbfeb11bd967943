"""Which stage a set of variable names belongs to, and what is missing or surplus in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from network.registry import names as known
from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.errors import InputError

_SHOWN = 3
# What training leaves in a checkpoint beside the network's variables: counters of the
# optimiser, and its slots, named after the variable that they belong to.
_COUNTER = re.compile(r"(.*/)?(global_step|beta[12]_power(_\d+)?|save_counter)(:0)?")
_SLOT = re.compile(
    r".+/(Adam|Adam_1|Momentum|RMSProp|RMSProp_1|Adagrad|ExponentialMovingAverage)(:0)?"
)
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


class Naming(Enum):
    """How a file names its variables, and with that in which layout it holds them."""

    CHECKPOINT = "checkpoint"
    TORCH = "torch"

    def name_of(self, row: WeightRow) -> str:
        return row.key if self is Naming.CHECKPOINT else row.torch_key

    def shape_of(self, row: WeightRow) -> tuple[int, ...]:
        return row.shape if self is Naming.CHECKPOINT else row.torch_shape


@dataclass(frozen=True)
class Recognition:
    """The stage whose variables are all there, and the training leftovers beside them."""

    stage: str
    ignored: tuple[str, ...]


def recognise_stage(
    names: Iterable[str],
    naming: Naming = Naming.CHECKPOINT,
    where: object = "weights",
    strangers: bool = False,
) -> Recognition:
    """The one stage of which ``names`` holds every variable.

    Args:
        names: the names found.
        naming: whether they are checkpoint keys or state-dict keys.
        where: path or name for the message.
        strangers: whether other names may stand beside them (the constants of an ONNX graph);
            optimiser slots and counters always may, under checkpoint keys.

    Raises:
        InputError: some are missing or unexpected (both sides are listed), or both stages are
            there.
    """
    found = set(names)
    expected = {
        stage: {naming.name_of(row) for row in network_of(stage).variables} for stage in known()
    }
    whole = [stage for stage in expected if expected[stage] <= found]
    if len(whole) > 1:
        raise InputError(where, f"the variables of {' and '.join(whole)}", "those of one stage")
    # The stage that most names speak for is the one to hold the names against.
    stage = whole[0] if whole else max(expected, key=lambda name: len(expected[name] & found))
    if not expected[stage] & found:
        listed = listing(found) if found else "none at all"
        stages = " or ".join(f"{name} ({len(expected[name])})" for name in expected)
        raise InputError(where, f"no known variables: {listed}", f"those of {stages}")
    surplus = found - expected[stage]
    ignored = {name for name in surplus if naming is Naming.CHECKPOINT and is_training_state(name)}
    unexpected = set() if strangers else surplus - ignored
    if expected[stage] - found or unexpected:
        difference = mismatch(expected[stage] - found, unexpected)
        raise InputError(where, difference, f"the {len(expected[stage])} variables of {stage}")
    return Recognition(stage, tuple(sorted(ignored)))


def is_training_state(name: str) -> bool:
    """Whether a checkpoint key is an optimiser's slot or counter, not a network's variable."""
    return bool(_COUNTER.fullmatch(name) or _SLOT.fullmatch(name) or name == _OBJECT_GRAPH)


def mismatch(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Both sides of a difference between names: "2 missing: a, b; 1 unexpected: c"."""
    sides = (("missing", list(missing)), ("unexpected", list(unexpected)))
    parts = [f"{len(names)} {side}: {listing(names)}" for side, names in sides if names]
    return "; ".join(parts)


def listing(names: Iterable[str]) -> str:
    """The first names in alphabetical order and how many more there are."""
    ordered = sorted(names)
    shown = ", ".join(name if len(name) <= 120 else f"{name[:117]}..." for name in ordered[:_SHOWN])
    return shown + (f", ... ({len(ordered) - _SHOWN} more)" if len(ordered) > _SHOWN else "")
