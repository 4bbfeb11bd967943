"""Which runs the study makes: designed combinations of deviations, interventions, confirmations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from studies.spikes.designs import DESIGNS
from studies.spikes.losses import LOSS_CHANGES
from studies.spikes.training import FACTORS, RunSettings
from weight_conversion.errors import InputError

# A 2^(8-4) fractional factorial (Box, Hunter and Hunter, "Statistics for experimenters", 2005,
# table 6.22): four columns run through all sixteen combinations, the others are these products.
# Resolution IV: no main effect is aliased with another or with a two-factor interaction.
_GENERATORS = ((0,), (1,), (2,), (3,), (1, 2, 3), (0, 2, 3), (0, 1, 2), (0, 1, 3))

FACTORIAL_RUNS = 16
"""Runs of a whole factorial: a part of it is not balanced, and is not summed up."""

# In the paper's port all of these are at work together.
PORT = frozenset(FACTORS)

INTERVENTION_RUNS: dict[str, frozenset[str]] = {
    "official": frozenset(),
    "no_gcn_bias": frozenset({"no_gcn_bias"}),
    "block1_unregularised": frozenset({"block1_unregularised"}),
    "level_rows": frozenset({"level_rows"}),
    "level_rows_coordinates": frozenset({"level_rows_coordinates"}),
    "level_rows_hidden": frozenset({"level_rows_hidden"}),
    "bias_at_centre": frozenset({"bias_at_centre"}),
    "bias_at_centre+smooth_start": frozenset({"bias_at_centre", "smooth_start"}),
    "port": PORT,
    "port+level_rows": PORT | {"level_rows"},
    "port+bias": PORT - {"no_gcn_bias"},
    "port+bias_at_centre": PORT - {"no_gcn_bias"} | {"bias_at_centre"},
    "port+block1_regularised": PORT - {"block1_unregularised"},
}
"""Runs that look for the cause: the official settings, the port, and one change to either."""

CONFIRMATION_RUNS = (
    "official",
    "level_rows",
    "port",
    "port+level_rows",
    "bias_at_centre",
    "port+bias_at_centre",
)
"""Both directions, for items and seeds that were not used to find the cause."""

DIRECTION_RUNS = (
    "official",
    "level_rows",
    "bias_at_centre",
    "port",
    "port+level_rows",
)
"""The same where a run is expensive."""

REMEDY_RUNS: dict[str, frozenset[str]] = {
    "official": frozenset(),
    "bias_at_centre": frozenset({"bias_at_centre"}),
    "irregular_mean": frozenset({"irregular_mean"}),
    "bias_at_centre+smooth_start": frozenset({"bias_at_centre", "smooth_start"}),
    "bias_at_centre+irregular_mean": frozenset({"bias_at_centre", "irregular_mean"}),
    "level_rows": frozenset({"level_rows"}),
}
"""What may be done without a change of the function, between nothing and what removes the cause."""

LAYER_RUNS = ("official", "level_rows_coordinates", "level_rows_hidden")
"""Which kind of layer has to be levelled."""

TWO_BLOCK_RUNS = (
    "official",
    "no_gcn_bias",
    "block1_unregularised",
    "level_rows",
    "level_rows_coordinates",
    "port",
    "port+level_rows",
)
"""What was run while the cause was being looked for."""

SMALL_RUNS = ("official", "level_rows")
"""What runs where there is little time."""

NAMED_RUNS: dict[str, dict[str, frozenset[str]]] = {
    "interventions": INTERVENTION_RUNS,
    "confirmation": {name: INTERVENTION_RUNS[name] for name in CONFIRMATION_RUNS},
    "directions": {name: INTERVENTION_RUNS[name] for name in DIRECTION_RUNS},
    "remedies": REMEDY_RUNS,
    "two_blocks": {name: INTERVENTION_RUNS[name] for name in TWO_BLOCK_RUNS},
    "layers": {name: INTERVENTION_RUNS[name] for name in LAYER_RUNS},
    "losses": {"official": frozenset(), **{name: frozenset({name}) for name in LOSS_CHANGES}},
    "small": {name: INTERVENTION_RUNS[name] for name in SMALL_RUNS},
}
"""The runs of each design that is a list of them."""


@dataclass(frozen=True)
class Part:
    """A part of the published study: a design with its own items, seeds, blocks and steps."""

    design: str
    items: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: int
    steps: int
    frozen_cnn: bool = True


PUBLISHED = (
    Part("factorial", ("plane",), (0,), 1, 200),
    Part("losses", ("plane",), (0,), 1, 200),
    Part("layers", ("plane",), (0,), 1, 200),
    Part("confirmation", ("shapenet",), (1, 2), 1, 200),
    Part("confirmation", ("sofa",), (1, 2, 3), 1, 200),
    Part("small", ("plane",), (0,), 1, 100, frozen_cnn=False),
    Part("directions", ("sofa",), (1,), 3, 200),
    Part("small", ("shapenet",), (1,), 3, 100),
    Part("two_blocks", ("plane",), (0,), 2, 400),
)
"""The runs that docs/spikes.md tells of."""


@dataclass(frozen=True)
class Plan:
    """One run to make: ``name`` is its folder."""

    name: str
    design: str
    item: str
    settings: RunSettings
    steps: int


def plans(
    designs: Iterable[str],
    items: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    learning_rate: float,
    blocks: int,
    frozen_cnn: bool,
) -> list[Plan]:
    """The runs of some designs on all items with all seeds, each run once.

    Args:
        designs: of ``DESIGNS``.
        items: names.
        seeds: of initial values and drawn points.
        steps: of every run.
        learning_rate: Adam's.
        blocks: of the coarse stage, 1 to 3.
        frozen_cnn: freeze the image encoder in every run, which then is no factor.
    """
    found: dict[str, Plan] = {}
    for design in designs:
        if design not in DESIGNS:
            raise InputError("--design", repr(design), ", ".join(DESIGNS))
        part = Part(design, tuple(items), tuple(seeds), blocks, steps, frozen_cnn)
        for plan in _part_plans(part, learning_rate):
            found.setdefault(plan.name, plan)
    return list(found.values())


def published_plans(items: Iterable[str], learning_rate: float) -> list[Plan]:
    """The runs of ``PUBLISHED`` on those of its items that are given."""
    given = set(items)
    found: dict[str, Plan] = {}
    for part in PUBLISHED:
        here = replace(part, items=tuple(item for item in part.items if item in given))
        for plan in _part_plans(here, learning_rate):
            found.setdefault(plan.name, plan)
    return list(found.values())


def _part_plans(part: Part, learning_rate: float) -> list[Plan]:
    always = frozenset({"frozen_cnn"}) if part.frozen_cnn else frozenset()
    ending = f"blocks{part.blocks}.steps{part.steps}" + ("" if part.frozen_cnn else ".trained")
    return [
        Plan(
            f"{name}.{item}.seed{seed}.{ending}",
            part.design,
            item,
            RunSettings(switched_on | always, seed, learning_rate, part.blocks),
            part.steps,
        )
        for item, seed in product(part.items, part.seeds)
        for name, switched_on in _combinations(part.design, part.frozen_cnn)
    ]


def _combinations(design: str, frozen_cnn: bool) -> list[tuple[str, frozenset[str]]]:
    if design == "factorial":
        return [(combination_name(row), row) for row in factorial(frozen_cnn)]
    return list(NAMED_RUNS[design].items())


def factorial(frozen_cnn: bool) -> list[frozenset[str]]:
    """Sixteen combinations of the factors; without ``frozen_cnn`` where that is always on."""
    rows = []
    for signs in product((-1, 1), repeat=4):
        chosen = set()
        for factor, generator in zip(FACTORS, _GENERATORS, strict=True):
            sign = 1
            for column in generator:
                sign *= signs[column]
            if sign > 0 and not (frozen_cnn and factor == "frozen_cnn"):
                chosen.add(factor)
        rows.append(frozenset(chosen))
    return rows


def combination_name(switched_on: frozenset[str]) -> str:
    """A folder's name for a combination of factors: a letter a factor, capital where it is on."""
    letters = "fhbrpaec"
    return "factorial-" + "".join(
        letter.upper() if factor in switched_on else letter
        for letter, factor in zip(letters, FACTORS, strict=True)
    )
