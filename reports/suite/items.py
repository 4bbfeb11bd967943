"""The suite's collectors and items: from a comparison to passed, failed, skipped."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from network.registry import network_of
from parity.verdict.pair import PairPaths
from parity.verdict.result import Comparison, Status, TapResult
from reports.pytest_plugin import REPORT
from reports.suite.names import GRADIENT, LOSS, STEP, TAP, Check, checks_of
from reports.suite.plugin import INHERITED
from reports.suite.runs import Found, Recording
from reports.text.message import message
from reports.text.told import diagnosis_at
from reports.wording import counted, printable

_WRONG = (Status.DIFFER, Status.INVALID, Status.MISSING)


class PortCollector(pytest.Collector):
    """Everything of one candidate."""

    def __init__(self, *, recordings: Iterable[Recording], folder: Path, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._recordings, self._folder = recordings, folder

    def collect(self) -> Iterator["ItemCollector"]:
        for item in dict.fromkeys(each.item for each in self._recordings):
            alike = [each for each in self._recordings if each.item == item]
            yield ItemCollector.from_parent(self, name=item, recordings=alike, folder=self._folder)


class ItemCollector(pytest.Collector):
    """Everything on one item."""

    def __init__(self, *, recordings: Iterable[Recording], folder: Path, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._recordings, self._folder = recordings, folder

    def collect(self) -> Iterator["RecordingCollector"]:
        for each in self._recordings:
            yield RecordingCollector.from_parent(
                self, name=each.stage, recording=each, folder=self._folder
            )


class RecordingCollector(pytest.Collector):
    """The tests of one stage on one item, which share one recording."""

    def __init__(self, *, recording: Recording, folder: Path, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._recording, self._folder = recording, folder
        self._found: Found | None = None

    def collect(self) -> Iterator["ParityItem"]:
        truth = self._recording.sources.ground_truth
        normals = truth is None or truth.normals is not None
        for each in checks_of(self._recording.stage, normals, self._recording.steps):
            yield ParityItem.from_parent(self, name=each.name, check=each)

    def found(self) -> Found:
        """What the recording showed; made when the first test asks for it."""
        if self._found is None:
            items = (each for each in self.session.items if isinstance(each, ParityItem))
            wanted = frozenset(item.check.kind for item in items if item.parent is self)
            self._found = self._recording.shared(self._folder, wanted, self._keep)
        return self._found

    def _keep(self, comparison: Comparison, paths: PairPaths) -> None:
        traces = paths.reference, paths.candidate
        self.config.stash[REPORT].add(
            comparison, label=self._recording.label, traces=traces, command=f"pytest {self.nodeid}"
        )


class ParityItem(pytest.Item):
    """One test.

    ``check``: what it is of.
    """

    def __init__(self, *, check: Check, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.check = check

    def runtest(self) -> None:
        assert isinstance(self.parent, RecordingCollector)
        found = self.parent.found()
        kind = self.check.kind
        if kind in found.failed:
            pytest.fail(printable(found.failed[kind]), pytrace=False)
        if kind in found.absent:
            pytest.skip(printable(found.absent[kind]))
        assert found.comparison is not None
        if kind == STEP:
            self._step(found.comparison)
        else:
            self._entry(found.comparison)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.nodeid

    def _entry(self, comparison: Comparison) -> None:
        """A tap, a loss or a gradient."""
        entry = next((e for e in comparison.entries if e.tap == self.check.entry), None)
        if entry is None:
            self._not_told(comparison)
        assert entry is not None
        self.user_properties.append(("p2m_status", entry.status.value))
        if entry.local_roundings is not None:
            self.user_properties.append(("p2m_roundings", f"{entry.local_roundings:.6g}"))
        reason = comparison.unmatched.get(entry.tap, "")
        excused = reason and entry.tap != network_of(comparison.stage).output
        if entry.status is Status.MISSING and excused:
            pytest.skip(printable(f"the port does not have it: {reason}"))
        first = _first_of(comparison, TAP)
        whole = entry.limit is not None and entry.local_roundings is None
        if whole and first and entry.status is Status.DIFFER:
            pytest.skip(printable(f"judged as a whole alone, and what it is of differs at {first}"))
        if entry.status in _WRONG:
            lines = [f"  {line}" for line in diagnosis_at(comparison, entry)]
            pytest.fail("\n".join([message(comparison, entry), *lines]), pytrace=False)
        if entry.status is Status.INHERITED and not _from_flip(comparison, entry):
            self._inherits(entry.origin or comparison.first_divergence)

    def _not_told(self, comparison: Comparison) -> None:
        """A test of what neither side has recorded."""
        at_tap = self.check.subject in network_of(comparison.stage).rows
        if self.check.kind == GRADIENT and at_tap:
            pytest.skip("the gradient at this tap is not told, or the loss does not reach it")
        pytest.fail("not compared: neither side has recorded it", pytrace=False)

    def _step(self, comparison: Comparison) -> None:
        number = int(self.check.subject)
        step = next(each for each in comparison.step_summaries if each.step == number)
        wrong = [
            entry
            for entry in comparison.steps
            if entry.tap.startswith(f"{self.check.entry}/") and entry.status in _WRONG
        ]
        before = next(filter(None, (_first_of(comparison, kind) for kind in _BEFORE)), "")
        if wrong and not (before and step.optimiser == "right"):
            lines = [
                f"{self.check.name}: {counted(len(wrong), 'number')} of {step.compared} differ; "
                f"the optimiser's own step is {step.optimiser}",
                message(comparison, wrong[0]),
            ]
            pytest.fail(printable("\n".join(lines)), pytrace=False)
        if wrong:
            self._inherits(before)

    def _inherits(self, origin: str | None) -> None:
        self.user_properties.append((INHERITED, origin or "an earlier one"))


_BEFORE = (TAP, LOSS, GRADIENT)


def _from_flip(comparison: Comparison, entry: TapResult) -> bool:
    """Whether an entry inherits from a decision that both sides took rightly: nothing is wrong."""
    origin = next((e for e in comparison.entries if e.tap == entry.origin), None)
    return origin is not None and origin.status is Status.FLIP


def _first_of(comparison: Comparison, kind: str) -> str:
    """The first entry of a kind that differs; empty where none does."""
    entries: dict[str, tuple[TapResult, ...]] = {
        TAP: comparison.taps, LOSS: comparison.losses, GRADIENT: comparison.gradients
    }  # fmt: skip
    return next((e.tap for e in entries[kind] if e.status is Status.DIFFER), "")
