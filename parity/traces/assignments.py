"""Which parameters of a probed module may be the variables of a layer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from network.description import Network
from network.taps import TapRow
from parity.traces.likeness import named
from parity.traces.port_map import TRANSPOSED
from parity.traces.probing import Event, Probe

MOST_TRIED = 48
"""Assignments of parameters to a layer's variables that are tried; with more nothing is tried."""
MOST_LOOKED_AT = 4096
"""The same with those that take one parameter for two variables, which are not tried."""
Assignment = dict[str, str]
"""Names of parameters by checkpoint key."""


class Assignments:
    """The parameters that were found already, and those that are left.

    Attributes:
        found: names by checkpoint key.
    """

    def __init__(self, network: Network, probe: Probe) -> None:
        self._keys, self._probe = network.variables_by_key, probe
        self.found: Assignment = {}

    def of(self, row: TapRow, event: Event) -> Iterator[Assignment]:
        """All that fit in shape, equal names first; one that is empty for a layer without any."""
        pool, _ = self._probe.owner(event)
        choices = []
        for key in row.variables.values():
            if key in self.found:
                choices.append([self.found[key]])
                continue
            wanted = self._last(key)
            fitting = self.fitting(key, pool)
            choices.append(sorted(fitting, key=lambda name: not named(name, wanted)))
        if math.prod(map(len, choices)) > MOST_LOOKED_AT:
            return
        tried = [
            names
            for names in product(*choices)
            if len({name.removesuffix(TRANSPOSED) for name in names}) == len(names)
        ]
        for names in tried if len(tried) <= MOST_TRIED else ():
            yield dict(zip(row.variables.values(), names, strict=True))

    def fitting(self, key: str, pool: Sequence[str] | None = None) -> list[str]:
        """Free parameters of a variable's shape, or of it turned; of all where no ``pool`` is."""
        taken = {name.removesuffix(TRANSPOSED) for name in self.found.values()}
        shape, fitting = self._keys[key].torch_shape, []
        for name in self._probe.parameters if pool is None else pool:
            there = self._probe.parameters[name].shape
            if name in taken:
                continue
            if there == shape:
                fitting.append(name)
            if len(shape) == 2 and there == shape[::-1] and 1 not in shape:
                fitting.append(name + TRANSPOSED)
        return fitting

    def equal(self, tried: Sequence[Assignment]) -> Assignment | None:
        """The one whose names are those of the variables."""
        found = [
            each
            for each in tried
            if all(named(name, self._last(key)) for key, name in each.items())
            and not any(name.endswith(TRANSPOSED) for name in each.values())
        ]
        return found[0] if len(found) == 1 else None

    def weights(self, assigned: Mapping[str, str]) -> dict[str, np.ndarray]:
        """What the parameters hold, in the checkpoint's layout."""
        return {
            key: self._keys[key].layout.to_checkpoint(self._parameter(name))
            for key, name in assigned.items()
        }

    def is_there(self, name: str) -> bool:
        """Whether there is a parameter of this name."""
        return name.removesuffix(TRANSPOSED) in self._probe.parameters

    def _parameter(self, name: str) -> np.ndarray:
        found = self._probe.parameters[name.removesuffix(TRANSPOSED)]
        return found.T if name.endswith(TRANSPOSED) else found

    def _last(self, key: str) -> str:
        return self._keys[key].torch_key.rpartition(".")[2]


def settled(tried: Sequence[Assignment]) -> Assignment:
    """What is the same in all assignments."""
    return {key: name for key, name in tried[0].items() if all(e[key] == name for e in tried)}
