"""Which entries of two traces are compared, and which of them may be missing."""

import fnmatch
from collections.abc import Iterator, Mapping

from network.registry import network_of
from parity.oracle.gap import before
from parity.traces import layout
from parity.traces.trace import TraceReader
from parity.verdict.result import Status, TapResult

Sides = tuple[TraceReader, TraceReader]
"""The reference's trace and the candidate's."""


class Scope:
    """What of two traces is compared.

    Args:
        sides: the traces.
        glob: of the taps to compare.
        reasons: globs of entries that a side may lack, with the reason why, beside those that the
            backends declared.

    Attributes:
        rows: the network's taps by name.
        gap: those that a side lacks for a reason.
        unmatched: reasons by name.
    """

    def __init__(self, sides: Sides, glob: str, reasons: Mapping[str, str]) -> None:
        self._sides, self._glob, self._reasons = sides, glob, reasons
        self._network = network_of(sides[0].header.stage)
        self.rows = self._network.rows
        lacking = [name for name in self.rows if self.reason(name) and not self.in_both(name)]
        self.gap = frozenset(lacking)
        self.unmatched = {key: why for side in sides for key, why in side.header.unmatched.items()}
        self.unmatched |= {name: self.reason(name) for name in lacking}

    def names(self, group: str) -> list[str]:
        """What must be compared of a group, in order: all that either side has, or should have.

        Taps that a backend declares not to have are among them: nobody has compared them.
        """
        names = [name for trace in self._sides for name in trace.names(group)]
        prefix = f"{group}/"
        if group == "taps":
            # The table's order is that of the computation, whatever the traces say.
            requested = {name for name in self.rows if self._requested(name)}
            # What was recorded only because a layer reads it is not compared itself.
            read = {parent for name in requested for parent in self.rows[name].parents} - requested
            present = set(names) - read
            known = [name for name in self.rows if name in requested or name in present]
            names = known + [name for name in names if name not in self.rows]
            prefix = ""
        return [
            name for name in dict.fromkeys(names) if fnmatch.fnmatchcase(prefix + name, self._glob)
        ]

    def gradients_at_taps(self) -> bool:
        """Whether gradients at taps are asked for that both traces have."""
        reference, candidate = self._sides
        return any(
            fnmatch.fnmatchcase(f"gradients/{name}", self._glob)
            and candidate.has(layout.TAP_GRADIENTS, name)
            for name in reference.names(layout.TAP_GRADIENTS)
        )

    def not_requested(self, compared: list[str]) -> tuple[str, ...]:
        """The taps, of the network and of the traces, that are not among those compared."""
        known = [*self.rows, *(name for trace in self._sides for name in trace.names("taps"))]
        done = set(compared)
        return tuple(name for name in dict.fromkeys(known) if name not in done)

    def reason(self, label: str) -> str:
        """Why a side may lack an entry; empty where nobody said."""
        declared = [side.header.unmatched for side in self._sides]
        found = [reasons[label].strip() for reasons in declared if label in reasons]
        found += [why for glob, why in self._reasons.items() if fnmatch.fnmatchcase(label, glob)]
        return "; ".join(dict.fromkeys(why for why in found if why))

    def in_both(self, name: str) -> bool:
        """Whether both traces have a tap."""
        return all(trace.has("taps", name) for trace in self._sides)

    def excused(self, entry: TapResult) -> bool:
        """Whether an entry is missing for a reason, and not what the stage is run for."""
        output = self._network.output
        return (
            entry.status is Status.MISSING and entry.tap != output and bool(self.reason(entry.tap))
        )

    def uncovered(self) -> Iterator[str]:
        """Layers that nothing compared says anything about, because their taps are unmatched."""
        seen = {
            name
            for row in self.rows.values()
            if self.in_both(row.name)
            for name in before(row, self.gap)[1]
        }
        silent = [name for name in self.rows if name in self.gap and name not in seen]
        if silent:
            yield (
                f"{len(silent)} unmatched taps are behind nothing that was compared, so that "
                f"nothing is known of their layers: {', '.join(silent[:5])}"
            )
        if self._network.output in self.gap:
            yield "the stage's output is unmatched: no reason makes up for that"

    def _requested(self, tap: str) -> bool:
        """Whether at least one of the two recordings was to hold the tap."""
        return any(fnmatch.fnmatchcase(tap, trace.header.requested) for trace in self._sides)
