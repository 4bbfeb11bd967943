"""Which submodule is which tap, and which parameter which variable, of a module that was probed.

Tap by tap, in the order of the table: the layer of the table, alone, on what the submodules before
gave and with parameters that fit in shape, either gives what a submodule gave or does not. Where it
does, that is the tap, and the parameters are its variables, whatever they are called. Where nothing
does, because the port has another layer there, its place is told by what the submodule reads and by
the shapes, or by an equal name. What fits twice is left open.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.chunks import cut
from parity.oracle.context import Context
from parity.oracle.local import alone
from parity.traces.assignments import Assignments, settled
from parity.traces.likeness import TOLERANCE, constant, correlation, named, same
from parity.traces.port_map import RETURNED, TRANSPOSED, PortMap
from parity.traces.probing import VERTICES, Event, Probe

OTHERWISE = "by {}; its layer gives other numbers"
BY_VALUE, KEPT, READ = "by value", "kept", "what reads it"
CHANNELS = 8
"""Channels of a layer that are computed first, to see whether the rest is worth it."""
NEAR, FAR = 0.9, 0.7
"""Correlations of the one assignment that is near what was given, and of all others at most."""


@dataclass
class Matches:
    """What was found.

    Attributes:
        taps, variables: the name that was found for each.
        why: of each, how.
        open: of each that was not, the names that it may be.
        unmatched: taps that no submodule gives, with the reason.
        constant: taps whose layers gave one number throughout, by which nothing is told apart.
        unused: parameters that hold no variable.
    """

    taps: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    open: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    unused: tuple[str, ...] = ()


def match(
    stage: str,
    probed: Probe,
    context: Context,
    dtype: str,
    kept: PortMap,
    earlier: Matches,
    last: bool,
) -> Matches:
    """Match a probed module.

    Args:
        stage: the network's name.
        probed: the run.
        context: the fixed arrays of it; no weights are read.
        dtype: the run's precision.
        kept: what a person has answered already.
        earlier: what other parameters have shown; what was found by value stays.
        last: whether there are no more to come, and a constant tap is to be placed otherwise.
    """
    return _Matching(stage, probed, context, dtype, kept, earlier, last).result()


class _Matching:
    def __init__(
        self,
        stage: str,
        probed: Probe,
        context: Context,
        dtype: str,
        kept: PortMap,
        earlier: Matches,
        last: bool,
    ) -> None:
        self.network, self.probe, self.context = network_of(stage), probed, context
        self.tolerance, self.kept = TOLERANCE[dtype], kept
        self.parameters = Assignments(self.network, probed)
        self.found = Matches(variables=self.parameters.found)
        self.values: dict[str, np.ndarray] = {}
        self.events: dict[str, Event] = {}
        self.claimed: set[str | frozenset] = set()
        self.keys = self.network.variables_by_key
        for key, name in kept.variables.items():
            if name and self.parameters.is_there(name):
                self._assign(key, name, KEPT)
        self.last = last
        self.before = {
            tap: name for tap, name in earlier.taps.items() if earlier.why[tap] == BY_VALUE
        }
        for key, name in earlier.variables.items():
            if earlier.why[key].startswith(BY_VALUE):
                self._assign(key, name, BY_VALUE)

    def result(self) -> Matches:
        for row in self.network.taps:
            self._match(row)
        for key in self.keys:
            if key not in self.found.variables:
                self._leave_variable(key)
        self._tell_buffers()
        return self.found

    def _tell_buffers(self) -> None:
        """Which variables are buffers, which no optimiser trains, and what holds none."""
        used = set()
        for key, name in self.found.variables.items():
            plain = name.removesuffix(TRANSPOSED)
            used.add(plain)
            if plain in self.probe.buffers and self.found.why[key] != KEPT:
                self.found.why[key] += "; a buffer, which no optimiser trains"
        open_ones = {
            name.removesuffix(TRANSPOSED) for names in self.found.open.values() for name in names
        }
        left = [*self.probe.parameters.keys() - self.probe.buffers - used - open_ones]
        self.found.unused = tuple(sorted(left))

    def _match(self, row: TapRow) -> None:
        if row.name in self.kept.unmatched:
            self.found.unmatched[row.name] = self.kept.unmatched[row.name]
            self._stand_in(row)
            return
        there = self._candidates(row)
        if name := self.kept.taps.get(row.name) or self.before.get(row.name):
            there = [event for event in there if event.name == name]
        for event in there if self._known(row) else ():
            for assigned in self.parameters.of(row, event):
                fits, value = self._fits(row, assigned, event)
                if fits:
                    self._take(row, event, assigned, BY_VALUE)
                    return
                if constant(value):
                    self.found.constant.add(row.name)
        if there and row.name in self.kept.taps:
            tried = [*self.parameters.of(row, there[0])]
            chosen = self._told_apart(row, there[0], tried) if tried else {}
            self._take(row, there[0], chosen, KEPT)
            return
        if there and row.name in self.before:
            self._take(row, there[0], {}, BY_VALUE)
            return
        if row.name in self.found.constant and not self.last:
            self._stand_in(row)
            return
        if not (self._with_variables if row.variables else self._without)(row, there):
            self._stand_in(row)

    def _candidates(self, row: TapRow) -> list[Event]:
        """Submodules that may give a tap: of its shape, after what it reads, not taken yet."""
        start = self._start(row)
        found = [
            event
            for event in self.probe.events
            if event.fits(row.shape)
            and (event.name != RETURNED or row.name == self.network.output)
            and event.order > start
            and not {event.name, frozenset(event.gives)} & self.claimed
        ]
        return sorted(
            found,
            key=lambda event: (
                not named(event.name, row.name), not self._reads(event, row),
                -event.name.count("."), event.order,
            ),
        )  # fmt: skip

    def _start(self, row: TapRow) -> int:
        orders = [self.events[p].order for p in row.parents if p in self.events]
        return max(orders, default=0)

    def _reads(self, event: Event, row: TapRow) -> bool:
        given = [self.events[p].gives for p in row.parents if p in self.events]
        read = event.reads | self.probe.owner(event)[1]
        return any(read & each for each in given)

    def _with_variables(self, row: TapRow, there: Sequence[Event]) -> bool:
        """The place of a layer that the port has another one for."""
        tried = {event: [*self.parameters.of(row, event)] for event in there}
        there = [event for event in there if tried[event]]
        reading = [event for event in there if self._reads(event, row)]
        event, how = self._placed(row, there, {"what it reads": reading, "shape": there})
        if event is not None and (how == READ or self._sign(row, event, tried[event])):
            assigned = self._told_apart(row, event, tried[event])
            self._take(row, event, assigned, OTHERWISE.format(how))
            return True
        self.found.open[row.name] = tuple(event.name for event in there)
        return False

    def _without(self, row: TapRow, there: Sequence[Event]) -> bool:
        """The place of a layer without variables, or the reason why there is none."""
        there = [event for event in there if not event.parameters]
        self._stand_in(row)
        goes_on = row.name in self.values and self._read_by(row)
        alone = sum(each.shape == row.shape for each in self.network.taps) == 1
        more = {"shape": there} if alone else {}
        event, how = (None, "") if goes_on else self._placed(row, there, more)
        if event is not None:
            self._take(row, event, {}, OTHERWISE.format(how))
            return True
        if there and not goes_on:
            self.found.open[row.name] = tuple(event.name for event in there)
        else:
            shape = ", ".join(map(str, row.shape))
            self.found.unmatched[row.name] = f"no submodule gives this ({shape})"
        return False

    def _placed(
        self, row: TapRow, there: Sequence[Event], more: Mapping[str, Sequence[Event]]
    ) -> tuple[Event | None, str]:
        """The one submodule that may give a tap whose layer is another, and by what it is known.

        A layer that reads it, found by value, decides. Else what speaks for different ones speaks
        for none.
        """
        if read := _alike([event for event in there if self._read_by(row, event)]):
            return (read[0], READ) if len(read) == 1 else (None, "")
        equal = [event for event in there if named(event.name, row.name)]
        told = {how: _alike(some) for how, some in {"name": equal, **more}.items()}
        sure = {how: some[0] for how, some in told.items() if len(some) == 1}
        if len({frozenset(event.gives) for event in sure.values()}) == 1:
            how, event = next(iter(sure.items()))
            return event, how
        return None, ""

    def _read_by(self, row: TapRow, given: Event | None = None) -> bool:
        """Whether a layer that reads a tap is found by value, if ``given`` is the tap, or if it is
        what it should be.
        """  # noqa: D205 - one sentence
        before = self.values.get(row.name)
        if given is not None:
            self.values[row.name] = self._value(given, row)
        try:
            return any(
                self._fits(reader, assigned, event)[0]
                for reader in self.network.consumers[row.name]
                if self._known(reader)
                for event in self._candidates(reader)
                if given is None or event.order > given.order
                for assigned in self.parameters.of(reader, event)
            )
        finally:
            if before is not None:
                self.values[row.name] = before
            else:
                self.values.pop(row.name, None)

    def _known(self, row: TapRow) -> bool:
        """Whether all that a layer reads is known."""
        return all(name in self.values for name in row.parents if name in self.network.rows)

    def _sign(self, row: TapRow, event: Event, tried: list[dict[str, str]]) -> bool:
        """Whether an event has negative numbers as its layer has: else a ReLU is in between."""
        program = row.program
        negative = bool((self._value(event, row) < 0).any())
        if program.nodes[program.outputs["value"]].primitive == "relu":
            return not negative
        # Without a ReLU the layer may have none by chance: its parameters are random ones.
        return negative or (self._known(row) and not (self._layer(row, tried[0]) < 0).any())

    def _told_apart(self, row: TapRow, event: Event, tried: list[dict[str, str]]) -> dict[str, str]:
        """The parameters of a layer that gives other numbers.

        The only ones that fit in shape, those of equal names, or those with which it gives nearly
        what was given.
        """
        if len(tried) == 1:
            return tried[0]
        if (equal := self.parameters.equal(tried)) is not None:
            return equal
        if self._known(row):
            given = self._value(event, row)
            alike = sorted(
                ((correlation(self._layer(row, each), given), n) for n, each in enumerate(tried)),
                reverse=True,
            )
            if alike[0][0] > NEAR and alike[1][0] < FAR:
                return tried[alike[0][1]]
        return settled(tried)

    def _fits(
        self, row: TapRow, assigned: Mapping[str, str], event: Event
    ) -> tuple[bool, np.ndarray]:
        """Whether the layer with these parameters gives what an event gave, and what it gives.

        A few of its channels mostly say that it does not.
        """
        given, width = self._value(event, row), row.shape[-1]
        some = np.arange(0, width, max(1, width // CHANNELS))
        weights = self.parameters.weights(assigned)
        if weights and given.shape[-1] == width > len(some) and all(
            each.shape[-1] == width for each in weights.values()
        ):  # fmt: skip
            fewer = {key: each[..., some] for key, each in weights.items()}
            # Not of a layer that reads something of the same channels, and what is one number
            # throughout tells nothing.
            with suppress(ValueError):
                value = self._with(row, fewer)
                told = value.shape[-1] == len(some) and not constant(value)
                if told and not same(value, given[..., some], self.tolerance):
                    return False, value
        value = self._with(row, weights)
        return same(value, given, self.tolerance), value

    def _layer(self, row: TapRow, assigned: Mapping[str, str]) -> np.ndarray:
        """What the layer gives with these parameters, on what was given before it."""
        return self._with(row, self.parameters.weights(assigned))

    def _with(self, row: TapRow, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same with these weights."""
        context = self.context.with_weights(weights) if weights else self.context
        parents = {name: self._given(name, row) for name in row.parents}
        with np.errstate(all="ignore"):
            return alone(row, parents, context, None, "float64").value

    def _given(self, name: str, row: TapRow) -> np.ndarray:
        if name in self.values:
            return self.values[name]
        value = self.context.given(name)
        assert value is not None
        part = VERTICES if self.network.vertexwise and row.rows_per_vertex is not None else None
        return cut(value, self.network.rows_per_vertex(name), part)

    def _value(self, event: Event, row: TapRow) -> np.ndarray:
        """What a submodule gave, as far as it is looked at."""
        value = event.value(row.shape)
        if not self.network.vertexwise or row.rows_per_vertex is None:
            return value
        return value[: VERTICES.stop * row.rows_per_vertex]

    def _stand_in(self, row: TapRow) -> None:
        """What a tap should be, where no submodule gives it."""
        assigned = {key: self.found.variables.get(key) for key in row.variables.values()}
        if row.name in self.values or None in assigned.values():
            return
        if self._known(row):
            self.values[row.name] = self._layer(
                row, {key: name for key, name in assigned.items() if name}
            )

    def _take(self, row: TapRow, event: Event, assigned: Mapping[str, str], why: str) -> None:
        self.found.taps[row.name] = event.name
        self.found.why[row.name] = KEPT if row.name in self.kept.taps else why
        self.values[row.name] = self._value(event, row)
        self.events[row.name] = event
        self.claimed.add(event.name)
        if not constant(self.values[row.name]):
            self.claimed.add(frozenset(event.gives))
        for key, name in assigned.items():
            self._assign(key, name, why)

    def _assign(self, key: str, name: str, why: str) -> None:
        if key not in self.found.variables:
            self.found.variables[key], self.found.why[key] = name, why

    def _leave_variable(self, key: str) -> None:
        """A variable whose layer was not found, or whose parameters were not told apart."""
        row = self.network.readers[key]
        event = self.events.get(row.name)
        pool = None if event is None else self.probe.owner(event)[0]
        fitting = self.parameters.fitting(key, pool)
        equal = [name for name in fitting if named(name, self.keys[key].torch_key)]
        if len(equal) == 1:
            self._assign(key, equal[0], "by name")
        else:
            self.found.open[key] = tuple(fitting)


def _alike(events: Sequence[Event]) -> list[Event]:
    """One of those that gave the same."""
    return [*{frozenset(event.gives): event for event in reversed(events)}.values()]
