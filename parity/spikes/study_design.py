"""Which runs the study makes: designed combinations of deviations, interventions, confirmations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from parity.spikes.study_training import FACTORS, RunSettings
from weight_conversion.errors import InputError

# A 2^(8-4) fractional factorial (Box, Hunter and Hunter, "Statistics for experimenters", 2005,
# table 6.22): four columns run through all sixteen combinations, the others are these products.
# Resolution IV: no main effect is aliased with another or with a two-factor interaction.
_GENERATORS = ((0,), (1,), (2,), (3,), (1, 2, 3), (0, 2, 3), (0, 1, 2), (0, 1, 3))

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
    "port": PORT,
    "port+level_rows": PORT | {"level_rows"},
    "port+bias": PORT - {"no_gcn_bias"},
    "port+block1_regularised": PORT - {"block1_unregularised"},
}
"""Runs that look for the cause: the official settings, the port, and one change to either."""

CONFIRMATION_RUNS = ("official", "level_rows", "port", "port+level_rows", "bias_at_centre")
"""Both directions, for items and seeds that were not used to find the cause."""

SMALL_RUNS = ("official", "level_rows")
"""What runs where there is little time."""

DESIGNS = ("interventions", "factorial", "confirmation", "small")


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
    always = frozenset({"frozen_cnn"}) if frozen_cnn else frozenset()
    found: dict[str, Plan] = {}
    for design in designs:
        if design not in DESIGNS:
            raise InputError("--design", repr(design), ", ".join(DESIGNS))
        for item, seed in product(items, seeds):
            for name, switched_on in _combinations(design, frozen_cnn):
                settings = RunSettings(switched_on | always, seed, learning_rate, blocks)
                full = f"{name}.{item}.seed{seed}"
                found.setdefault(full, Plan(full, design, item, settings, steps))
    return list(found.values())


def _combinations(design: str, frozen_cnn: bool) -> list[tuple[str, frozenset[str]]]:
    if design == "factorial":
        return [(combination_name(row), row) for row in factorial(frozen_cnn)]
    names = {
        "interventions": tuple(INTERVENTION_RUNS),
        "confirmation": CONFIRMATION_RUNS,
        "small": SMALL_RUNS,
    }[design]
    return [(name, INTERVENTION_RUNS[name]) for name in names]


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
