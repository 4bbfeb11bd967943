"""The one recording that all tests of a stage and an item share, between processes too."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from network.registry import network_of
from parity.traces.array_inputs import ArrayInputs, ArraySources
from parity.traces.backends import BackendChoice, lacking
from parity.traces.record import RunInputs, predict
from parity.traces.sources import Sources
from parity.training.steps import Training, add_steps
from parity.verdict.pair import PairPaths, compare_pair, silent
from parity.verdict.result import Comparison, Verdict
from reports.suite.names import GRADIENT, KINDS, LOSS, STEP, TAP
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

Reasons = Mapping[str, str]
Keep = Callable[[Comparison, PairPaths], None]


@dataclass(frozen=True)
class Found:
    """What a recording showed.

    Attributes:
        comparison: None where nothing could be recorded.
        absent: by kind of test, why the port does not have it.
        failed: by kind of test, the line with which it failed.
    """

    comparison: Comparison | None = None
    absent: Reasons = field(default_factory=dict)
    failed: Reasons = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Recording:
    """A stage of two backends on an item.

    Attributes:
        stage: the network's name.
        item: the item's name, or that of a file of arrays.
        reference: what is taken as right.
        candidate: what is judged.
        sources: what both read.
        weights: by stage.
        steps: how many training steps are taken.
        device: of both sides.
    """

    stage: str
    item: str
    reference: BackendChoice
    candidate: BackendChoice
    sources: Sources | ArraySources
    weights: Mapping[str, WeightSet]
    steps: int
    device: str

    @property
    def label(self) -> str:
        return f"{self.item}, {self.stage}"

    def shared(self, folder: Path, wanted: frozenset[str], keep: Keep) -> Found:
        """What was found, recorded by the first process that asks for it.

        Args:
            folder: the processes' common one.
            wanted: the kinds of tests that are to be run, the same in all processes.
            keep: told the comparison and its traces, in the process that made them.
        """
        from filelock import FileLock

        path = folder / f"{self.item}-{self.stage}.pickle"
        with FileLock(path.with_suffix(".lock")):
            if path.exists():
                found: Found = pickle.loads(path.read_bytes())  # noqa: S301 - of this very session
                return found
            with TemporaryDirectory(dir=folder) as traces:
                found = self._found(PairPaths.in_folder(Path(traces)), wanted, keep)
            path.write_bytes(pickle.dumps(found))
            return found

    def _found(self, paths: PairPaths, wanted: frozenset[str], keep: Keep) -> Found:
        try:
            absent = self._absent()
            inputs = self._inputs()
        except InputError as error:
            if isinstance(error.__cause__, NotImplementedError):
                return Found(absent=dict.fromkeys(KINDS, str(error.__cause__) or "not implemented"))
            return Found(failed=dict.fromkeys(KINDS, str(error)))
        failed: dict[str, str] = {}
        asked = [each for each in (TAP, LOSS, GRADIENT) if each in wanted and each not in absent]
        while True:
            try:
                found = self._compared(inputs, asked, paths)
                break
            except InputError as error:
                if not {LOSS, GRADIENT} & {*asked}:
                    return Found(failed=dict.fromkeys(KINDS, str(error)))
                # What a port can do is judged though something else of it fails.
                failed[asked.pop()] = str(error)
        if STEP in wanted and STEP not in absent:
            try:
                found = self._trained(found, inputs)
            except InputError as error:
                failed[STEP] = str(error)
        if failed:
            verdict = Verdict.INVALID if found.verdict is Verdict.AGREE else found.verdict
            found = replace(found, verdict=verdict, notes=(*failed.values(), *found.notes))
        try:
            keep(found, paths)
        except (InputError, OSError) as error:
            return Found(failed=dict.fromkeys(KINDS, f"--p2m-report: {error}"))
        reference, candidate = (
            replace(side, path="") for side in (found.reference, found.candidate)
        )
        return Found(replace(found, reference=reference, candidate=candidate), absent, failed)

    def _absent(self) -> dict[str, str]:
        """By kind of test, what keeps it from being made; empty where nothing does.

        Raises:
            InputError: a backend cannot be made.
        """
        if self.sources.ground_truth is None:
            why = f"the item has no ground truth, {GROUND_TRUTH}"
            found = dict.fromkeys((LOSS, GRADIENT, STEP), why)
        else:
            found = {}
        for name, choice in (("reference", self.reference), ("candidate", self.candidate)):
            backend = choice.make(self.stage, "float32", self.device)
            needs = {LOSS: ("losses",), GRADIENT: ("losses", "gradients"), STEP: ("steps",)}
            for kind, methods in needs.items():
                lacks = [why for method in methods if (why := lacking(backend, method))]
                if lacks and kind not in found:
                    found[kind] = f"the {name} {lacks[0]}"
        return found

    def _inputs(self) -> RunInputs | ArrayInputs:
        sources, before = self.sources, network_of(self.stage).follows
        if isinstance(sources, ArraySources) or before is None or sources.mesh is not None:
            return sources.of(self.stage)
        first = sources.of(before)
        mesh = predict(self.reference, first, self.weights[before], device=self.device)
        return sources.of(self.stage, mesh)

    def _compared(
        self, inputs: RunInputs | ArrayInputs, kinds: list[str], paths: PairPaths
    ) -> Comparison:
        if not {LOSS, GRADIENT} & {*kinds}:
            inputs = replace(inputs, ground_truth=None)
        return compare_pair(
            self.reference, self.candidate, inputs, self.weights[self.stage], paths,
            progress=silent, devices=(self.device, self.device), gradients=GRADIENT in kinds,
        )  # fmt: skip

    def _trained(self, found: Comparison, inputs: RunInputs | ArrayInputs) -> Comparison:
        assert isinstance(inputs, RunInputs)  # others have no ground truth to train towards
        return add_steps(
            found, self.reference, self.candidate, inputs, self.weights[self.stage],
            Training(self.steps), dtype="float32", devices=(self.device, self.device),
        )  # fmt: skip


GROUND_TRUTH = "model_normal.xyz"
"""The file of an item's folder that losses are taken against."""
