"""Proposing the map of a module port: which submodule is which tap, and so with parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from network.registry import network_of
from parity.oracle.context import Context
from parity.traces.array_inputs import ArrayInputs
from parity.traces.backends import BackendChoice, Factory
from parity.traces.matching import Matches, match
from parity.traces.port_guard import PortError
from parity.traces.port_inputs import arrays_of
from parity.traces.port_map import PortMap, read_maps, write_maps
from parity.traces.record import RunInputs
from parity.traces.sources import Sources
from weight_conversion.errors import InputError

MOST_DRAWS = 4
"""Runs with other parameters, where a layer gave nothing but one number."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A map as far as it could be found.

    Attributes:
        stage: the network's name.
        matches: what was found, and how.
    """

    stage: str
    matches: Matches

    @property
    def asked(self) -> Mapping[str, tuple[str, ...]]:
        """Taps and variables that are left open, with the names that they may be."""
        return self.matches.open

    def map(self) -> PortMap:
        """The map; what is left open has an empty name."""
        network, found = network_of(self.stage), self.matches
        taps = {row.name: found.taps.get(row.name, "") for row in network.taps}
        taps = {tap: name for tap, name in taps.items() if tap not in found.unmatched}
        variables = {row.key: found.variables.get(row.key, "") for row in network.variables}
        return PortMap(taps, variables, found.unmatched)

    def remarks(self) -> dict[tuple[str, str], str]:
        """What stands behind each entry of the file."""
        found = {(self.stage, key): why for key, why in self.matches.why.items()}
        for key, names in self.asked.items():
            told = "one of " + ", ".join(names) if names else "nothing fits"
            found[self.stage, key] = f"which? {told}"
        return found


def propose(
    factory: str | Factory,
    inputs: RunInputs | ArrayInputs,
    *,
    kept: PortMap | None = None,
    device: str = "cpu",
) -> Proposal:
    """Propose the map of one stage of a port.

    The port runs with random parameters, in float64 if it can; once, or a few times where a layer
    gave one number throughout.

    Args:
        factory: ``module:factory``, or the factory itself; makes a ``ModulePort``.
        inputs: what it is run on.
        kept: what a person has answered, which stays.
        device: where it runs.

    Raises:
        InputError: the port cannot be made or run, or is no ``ModulePort``.
    """
    if isinstance(factory, str):
        choice = BackendChoice(factory)
    else:
        choice = BackendChoice.of_factory(factory)
    stage, mapping = inputs.stage, inputs.mapping()
    context = Context.of(stage, arrays_of(stage, mapping), {})

    def matches(dtype: str) -> Matches:
        port: Any = choice.make(stage, dtype, device)
        if not callable(getattr(port, "probed", None)):
            raise InputError(f"backend {choice.name}", "no ModulePort", "one, to propose a map of")
        found = Matches()
        for seed in range(MOST_DRAWS):
            probed = port.probed(mapping, seed)
            last = seed == MOST_DRAWS - 1
            found = match(stage, probed, context, dtype, kept or PortMap(), found, last)
            if not found.constant:
                break
        return found

    try:
        return Proposal(stage, matches("float64"))
    except PortError as error:
        if isinstance(error.__cause__, NotImplementedError):
            raise
        return Proposal(stage, matches("float32"))


def sample_inputs(sources: Sources, stage: str) -> RunInputs:
    """Inputs of a stage; where another one comes before it, on the template's ellipsoid."""
    mesh, vertices = sources.template.coordinates, network_of(stage).starts_with
    for pairs in sources.template.unpooling:
        if len(mesh) < vertices:
            mesh = np.concatenate([mesh, mesh[pairs].mean(axis=1)])
    return sources.of(stage, mesh if sources.mesh is None else None)


def kept_in(path: Path) -> dict[str, PortMap]:
    """What a file already answers, by stage; nothing where there is none.

    Raises:
        InputError: it is no such file.
    """
    found = read_maps(path) if path.exists() else {}
    return {
        stage: PortMap(
            {tap: name for tap, name in each.taps.items() if name},
            {key: name for key, name in each.variables.items() if name},
            each.unmatched,
        )
        for stage, each in found.items()
    }


def write_proposals(path: Path, proposals: Sequence[Proposal]) -> None:
    """Write the maps of several stages into one file, questions and evidence behind the entries.

    Raises:
        InputError: it cannot be written.
    """
    remarks: dict[tuple[str, str], str] = {}
    for each in proposals:
        remarks |= each.remarks()
    write_maps(path, {each.stage: each.map() for each in proposals}, remarks)
