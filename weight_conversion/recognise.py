"""Which set of weights a file's variable names hold, and what is missing or surplus in it.

People's files hold a stage's variables under a scope (``tower_0/…``, ``module.…``, the entry
``state_dict`` of a training checkpoint), without the ``:0`` at their end, and as moving averages
beside the variables themselves. Each of these is one *set*. A file with one set has it taken, and
told; between several nobody but the user can choose.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from network.registry import names as known
from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.errors import InputError

_SHOWN = 3
# What training leaves in a checkpoint beside the network's variables: counters of the
# optimiser, and its slots, named after the variable that they belong to.
_COUNTER = re.compile(r"(.*/)?(global_step|beta[12]_power(_\d+)?|save_counter)(:0)?")
_AVERAGE = "ExponentialMovingAverage"
_SLOT = re.compile(rf".+/(Adam|Adam_1|Momentum|RMSProp|RMSProp_1|Adagrad|{_AVERAGE})(:0)?")
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Pixel2Mesh for a single view, by the authors: tflearn's names for its CNN, layers counted from 1.
_SINGLE_VIEW = re.compile(r"(.*/)?gcn/(Conv2D(_\d+)?/[Wb]|graphconvolution_\d+_vars/\w+)(:0)?")


class Naming(Enum):
    """How a file names its variables, and with that in which layout it holds them."""

    CHECKPOINT = "checkpoint"
    TORCH = "torch"

    def name_of(self, row: WeightRow) -> str:
        return row.key if self is Naming.CHECKPOINT else row.torch_key

    def shape_of(self, row: WeightRow) -> tuple[int, ...]:
        return row.shape if self is Naming.CHECKPOINT else row.torch_shape


@dataclass(frozen=True)
class Choice:
    """Which of a file's sets is meant.

    Attributes:
        scope: what stands before each name, with or without its last separator; "" for nothing;
            None leaves it to the file, which must then hold one set.
        averaged: whether the variables' moving averages are meant; None likewise.
    """

    scope: str | None = None
    averaged: bool | None = None


THE_ONLY_ONE = Choice()
"""The set of a file that holds one."""


@dataclass(frozen=True)
class Recognition:
    """The set that was found.

    Attributes:
        stage: whose variables they are.
        names: the name in the file of each variable, by checkpoint key.
        ignored: names beside them that are left out.
        notes: what a person should know about how they were found.
    """

    stage: str
    names: dict[str, str]
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Set:
    """Names of one stage's variables alike in everything around them; not always all of them."""

    stage: str
    scope: str
    averaged: bool
    names: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return len(self.names) == len(network_of(self.stage).variables)

    def is_meant(self, choice: Choice) -> bool:
        scope = choice.scope is None or choice.scope.rstrip("/.") == self.scope.rstrip("/.")
        return scope and choice.averaged in (None, self.averaged)

    def __str__(self) -> str:
        scope = f" under {self.scope!r}" if self.scope else ""
        return f"{self.stage}{scope}{' as moving averages' if self.averaged else ''}"


def recognise_stage(
    names: Iterable[str],
    naming: Naming = Naming.CHECKPOINT,
    where: object = "weights",
    strangers: bool = False,
    choice: Choice = THE_ONLY_ONE,
) -> Recognition:
    """The one set of which ``names`` holds every variable.

    Args:
        names: the names found.
        naming: whether they are checkpoint keys or state-dict keys.
        where: path or name for the message.
        strangers: whether other names may stand beside them in their scope (the constants of an
            ONNX graph); optimiser slots and counters always may, under checkpoint keys.
        choice: which one, where there are several.

    Raises:
        InputError: some are missing or unexpected (both sides are listed), or there are several
            sets.
    """
    found = sorted(set(names))
    sets = _sets(found, naming)
    if not sets:
        raise InputError(where, *_foreign(found, naming))
    meant = [each for each in sets if each.is_meant(choice)]
    if not meant:
        raise InputError(where, f"nothing {_choice_text(choice)}", f"one of: {_several(sets)}")
    whole = [each for each in meant if each.whole]
    if len(whole) > 1:
        raise InputError(where, *_ambiguous(whole))
    # The set that most names speak for is the one to hold the names against.
    best = whole[0] if whole else max(meant, key=lambda each: len(each.names))
    others = {name for each in sets if each.whole for name in each.names.values()}
    taken = set(best.names.values())
    surplus = [name for name in found if name not in taken]
    ignored = [
        name
        for name in surplus
        if not name.startswith(best.scope)
        or name in others
        or (naming is Naming.CHECKPOINT and is_training_state(name))
    ]
    unexpected = [] if strangers else sorted(set(surplus) - set(ignored))
    if unexpected or not best.whole:
        missing = [
            best.scope + _as_written(naming.name_of(row), best)
            for row in network_of(best.stage).variables
            if row.key not in best.names
        ]
        count = len(network_of(best.stage).variables)
        raise InputError(
            where,
            mismatch(missing, unexpected) + nearest(missing, unexpected),
            f"the {count} variables of {best.stage}",
        )
    return Recognition(best.stage, best.names, tuple(ignored), tuple(_notes(best)))


def is_training_state(name: str) -> bool:
    """Whether a checkpoint key is an optimiser's slot or counter, not a network's variable."""
    return bool(_COUNTER.fullmatch(name) or _SLOT.fullmatch(name) or name == _OBJECT_GRAPH)


def mismatch(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Both sides of a difference between names: "2 missing: a, b; 1 unexpected: c"."""
    sides = (("missing", list(missing)), ("unexpected", list(unexpected)))
    parts = [f"{len(names)} {side}: {listing(names)}" for side, names in sides if names]
    return "; ".join(parts)


def nearest(missing: Collection[str], unexpected: Iterable[str]) -> str:
    """What the first unexpected names may have been meant for: "; nearest: a_b for a.b"."""
    pairs = []
    for name in sorted(unexpected)[:_SHOWN]:
        close = difflib.get_close_matches(name[:200], missing, n=1)
        pairs += [f"{shortened(name)} for {close[0]}"] if close else []
    return f"; nearest: {', '.join(pairs)}" if pairs else ""


def listing(names: Iterable[str]) -> str:
    """The first names in alphabetical order and how many more there are."""
    ordered = sorted(names)
    shown = ", ".join(shortened(name) for name in ordered[:_SHOWN])
    return shown + (f", ... ({len(ordered) - _SHOWN} more)" if len(ordered) > _SHOWN else "")


def shortened(name: str) -> str:
    """A name of at most 120 characters."""
    return name if len(name) <= 120 else f"{name[:117]}..."


def _sets(found: Iterable[str], naming: Naming) -> list[_Set]:
    """All sets that any name belongs to, stages in their order."""
    stages = list(known())
    keys: dict[str, list[tuple[str, str]]] = {}
    for stage in stages:
        for row in network_of(stage).variables:
            keys.setdefault(_core(naming.name_of(row), naming)[0], []).append((stage, row.key))
    lengths = {len(name) for name in keys}
    sets: dict[tuple[str, str, bool], _Set] = {}
    for name in found:
        core, averaged = _core(name, naming)
        for length in lengths:
            scope, rest = core[:-length], core[-length:]
            if rest not in keys or (scope and scope[-1] not in "/."):
                continue
            for stage, key in keys[rest]:
                identity = (stage, scope, averaged)
                each = sets.setdefault(identity, _Set(*identity))
                each.names.setdefault(key, name)
    return sorted(
        sets.values(), key=lambda each: (stages.index(each.stage), each.scope, each.averaged)
    )


def _core(name: str, naming: Naming) -> tuple[str, bool]:
    """A name without what a checkpoint may put at its end, and whether it is an average's."""
    if naming is Naming.TORCH:
        return name, False
    core = name.removesuffix(":0")
    averaged = core.endswith(f"/{_AVERAGE}")
    return core.removesuffix(f"/{_AVERAGE}").removesuffix(":0"), averaged


def _as_written(name: str, like: _Set) -> str:
    """A variable's name with the ending that the names of a set have."""
    example = next(iter(like.names.values()))
    if not name.endswith(":0"):
        return name
    core = name.removesuffix(":0") + (f"/{_AVERAGE}" if like.averaged else "")
    return core + (":0" if example.endswith(":0") else "")


def _notes(best: _Set) -> Iterator[str]:
    if best.scope:
        yield f"taken from the scope {best.scope!r}"
    if best.averaged:
        yield f"the variables' moving averages are taken (…/{_AVERAGE})"


def _several(sets: Iterable[_Set]) -> str:
    texts = [str(each) for each in sets]
    shown = ", ".join(shortened(text) for text in texts[:8])
    return shown + (f", ... ({len(texts) - 8} more)" if len(texts) > 8 else "")


def _choice_text(choice: Choice) -> str:
    """What was asked for, as the options say it."""
    averaged = {None: "", True: " as moving averages", False: " but for moving averages"}
    scope = "" if choice.scope is None else f" under {choice.scope!r}"
    return f"that is a stage's{scope}{averaged[choice.averaged]}"


def _ambiguous(whole: list[_Set]) -> tuple[str, str]:
    """Several sets, and which option tells them apart."""
    options = []
    if len({each.scope for each in whole}) > 1:
        options.append("--scope")
    if len({each.averaged for each in whole}) > 1:
        options.append("--ema or --no-ema")
    if not options:
        return (
            f"the variables of {' and '.join(each.stage for each in whole)}",
            "those of one stage",
        )
    return (
        f"{len(whole)} sets of weights: {_several(whole)}",
        f"one, which `p2m-parity convert` takes with {' and '.join(options)}",
    )


def _foreign(found: list[str], naming: Naming) -> tuple[str, str]:
    """Names of which none is known."""
    stages = " or ".join(f"{name} ({len(network_of(name).variables)})" for name in known())
    if any(_SINGLE_VIEW.fullmatch(name) for name in found):
        return "the variables of Pixel2Mesh for a single view (gcn/…)", (
            f"those of Pixel2Mesh++: {stages}"
        )
    listed = listing(found) if found else "none at all"
    all_names = [naming.name_of(row) for stage in known() for row in network_of(stage).variables]
    return f"no known variables: {listed}{nearest(all_names, found)}", f"those of {stages}"
