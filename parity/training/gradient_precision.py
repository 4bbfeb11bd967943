"""How precise float32 gradients are, once what the run decides is taken out.

A network of pixels, nearest neighbours and ReLUs decides, and a decision that rounding flips moves
a gradient by more than rounding. So the float32 run is given the float64 run's decisions, all of
them, and its gradients are held against the float64 ones, variable by variable, in RMS. What is
precise enough is not a number of ours: the authors' own exported graph in float32 is run five times
with changes that mean nothing (oneDNN, threads, the order of the ground truth), and the worst of
those is the yardstick, for the median and for the greatest error of a stage's variables. A single
variable's error is none: it changes threefold between two of these runs.

The graph takes the same pixels; its neighbours and ReLUs are its own. The run without those pins is
given beside the pinned one, so that like can be compared with like.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from inputs.ground_truth import GroundTruth
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, read_decisions, record
from parity.traces.trace import open_trace
from parity.verdict.decisions import find_flips
from parity.verdict.limits import LIMITS
from parity.verdict.measure import relative
from parity.verdict.result import Comparison, Status, Verdict, jsonable
from weight_conversion.errors import InputError
from weight_conversion.formats import WeightSet

PROJECTIONS = "graph_*proj_?_layer_*[0-9]"
"""The taps that take pixel decisions."""
TIMES = 3.0
"""By how much the candidate may exceed the yardstick."""


@dataclass(frozen=True)
class Variation:
    """A change to a run of the exported graph that means nothing."""

    name: str
    onednn: bool = True
    threads: int = 2
    reversed_truth: bool = False


VARIATIONS = (
    Variation("oneDNN, 2 threads"),
    Variation("oneDNN, 1 thread", threads=1),
    Variation("no oneDNN, 2 threads", onednn=False),
    Variation("no oneDNN, 1 thread", onednn=False, threads=1),
    Variation("ground truth reversed", reversed_truth=True),
)


@dataclass(frozen=True)
class Errors:
    """RMS errors of a stage's gradients, each relative to the RMS of the float64 gradient.

    ``by_key`` has the variables and ``mesh``.
    """

    run: str
    by_key: Mapping[str, float]

    @property
    def median(self) -> float:
        return float(np.median(list(self.by_key.values())))

    @property
    def worst(self) -> str:
        return max(self.by_key, key=lambda key: self.by_key[key])

    @property
    def greatest(self) -> float:
        return self.by_key[self.worst]


@dataclass(frozen=True)
class Decisions:
    """Decisions of one kind that float32 would have taken otherwise.

    ``margin`` is how clear the clearest was and ``bound`` what rounding explains: |x| by the
    layer's greatest |x| for a ReLU, two distances' difference by the points' greatest coordinate
    for a nearest neighbour; pixels have bounds of their own each, see ``parity.verdict.decisions``.
    """

    kind: str
    flipped: int
    total: int
    margin: float
    bound: float
    ties: int

    @property
    def explained(self) -> bool:
        return self.ties == self.flipped


@dataclass(frozen=True)
class GradientPrecision:
    """The whole report; without ``yardstick`` where the exported graph was not run: ``note``."""

    stage: str
    pinned: Errors
    pixels_pinned: Errors
    decisions: tuple[Decisions, ...]
    yardstick: tuple[Errors, ...]
    note: str

    @property
    def within(self) -> bool | None:
        """Whether median and greatest are within three times the yardstick; None without one."""
        if not self.yardstick:
            return None
        median = max(each.median for each in self.yardstick)
        greatest = max(each.greatest for each in self.yardstick)
        return self.pinned.median <= TIMES * median and self.pinned.greatest <= TIMES * greatest

    def to_json(self) -> dict[str, Any]:
        """Everything, in JSON's own types."""

        def errors(each: Errors) -> dict[str, Any]:
            short = {"run": each.run, "median": each.median, "greatest": each.greatest}
            return {**short, "greatest_of": each.worst, "by_key": dict(each.by_key)}

        plain = {
            "stage": self.stage,
            "pinned": errors(self.pinned),
            "pixels_pinned": errors(self.pixels_pinned),
            "decisions": [{**vars(each), "explained": each.explained} for each in self.decisions],
            "yardstick": [errors(each) for each in self.yardstick],
            "within": self.within,
            "note": self.note,
        }
        found: dict[str, Any] = jsonable(plain)
        return found

    def lines(self) -> Iterator[str]:
        """The report in a few lines."""
        for each in (self.pinned, self.pixels_pinned, *self.yardstick):
            greatest = f"greatest {each.greatest:.2e} ({each.worst})"
            yield f"{each.run}: median {each.median:.2e}, {greatest}"
        for kind in self.decisions:
            yield (
                f"{kind.kind}: {kind.flipped} of {kind.total} decisions flipped, "
                f"{kind.ties} of them ties within rounding"
            )
        if self.note:
            yield self.note
        if self.within is not None:
            word = "within" if self.within else "beyond"
            yield f"{word} {TIMES:g} times the exported graph's worst of {len(self.yardstick)}"


def gradient_precision(
    inputs: RunInputs,
    weights: WeightSet,
    metagraph: Path | None = None,
    on_run: Callable[[str], None] = lambda _: None,
) -> GradientPrecision:
    """Measure torch's float32 gradients of the total loss.

    Args:
        inputs: with ground truth; samples, or else points drawn on the float64 run's meshes.
        weights: the stage's.
        metagraph: the exported graph, for the yardstick.
        on_run: told the name of each run when it is done.

    Raises:
        InputError: no ground truth, or a run fails.
    """
    from torch_impl.backend import factory

    if inputs.ground_truth is None:
        raise InputError("--gradients", "without ground truth", "--ground-truth")
    stage = inputs.stage
    inputs, pixels = _with_pixels(inputs, weights)
    on_run("pixel decisions")
    exact = factory(stage, "float64", "cpu").evaluate(
        inputs.mapping(), weights.arrays, term="total", record=True
    )
    on_run("torch float64")
    inputs = replace(inputs, samples=exact.samples)
    backend = factory(stage, "float32", "cpu")
    found = []
    flips: dict[str, Any] = {}
    everything: dict[str, np.ndarray] = {**exact.rectified, **exact.nearest}
    nothing: dict[str, np.ndarray] = {}
    for name, pins in (
        ("torch float32, all decisions pinned", everything),
        ("torch float32, pixels pinned", nothing),
    ):
        run = backend.evaluate(inputs.mapping(), weights.arrays, term="total", pins=pins)
        found.append(_errors(name, run.gradients, exact.gradients))
        flips = run.flips or flips
        on_run(name)
    decisions = (pixels, *_decisions(stage, flips))
    yardstick, note = [], ""
    if metagraph is None:
        note = "the exported graph was not run (--metagraph): no yardstick"
    else:
        for variation in VARIATIONS:
            gradients = _varied(variation, metagraph, inputs, weights)
            name = f"exported graph float32, pixels pinned, {variation.name}"
            yardstick.append(_errors(name, gradients, exact.gradients))
            on_run(variation.name)
    return GradientPrecision(stage, found[0], found[1], decisions, tuple(yardstick), note)


def with_precision(comparison: Comparison, precision: GradientPrecision) -> Comparison:
    """A comparison of float32 runs that knows how precise torch's gradients are.

    A gradient that differs between the sides, and is right to the stage's limit once all decisions
    are the float64 run's, differs through decisions alone. If those are ties it is a flip.
    """
    limit = LIMITS[comparison.stage, "float32"]
    ties = all(each.explained for each in precision.decisions)
    note = "only through decisions that are ties: with float64's its RMS error is {:.1e}"
    gradients = []
    for entry in comparison.gradients:
        error = precision.pinned.by_key.get(entry.tap.removeprefix("gradients/"), np.inf)
        if entry.status is Status.DIFFER and entry.max_abs is not None and ties and error <= limit:
            entry = replace(entry, status=Status.FLIP, note=note.format(error))
        gradients.append(entry)
    changed = replace(
        comparison,
        gradients=tuple(gradients),
        gradient_precision=precision,
        notes=comparison.notes + tuple(precision.lines()),
    )
    if comparison.verdict is not Verdict.DIFFER:
        return changed
    differing = [entry.tap for entry in changed.entries if entry.status is Status.DIFFER]
    if differing:
        return replace(changed, first_divergence=differing[0])
    unsettled = {entry.status for entry in changed.entries} & {Status.MISSING, Status.INVALID}
    verdict = Verdict.INVALID if unsettled else Verdict.AGREE
    return replace(changed, verdict=verdict, first_divergence=None)


def _with_pixels(inputs: RunInputs, weights: WeightSet) -> tuple[RunInputs, Decisions]:
    """The inputs pinned to the float64 run's pixels, and what float32 would have chosen."""
    bare = replace(inputs, ground_truth=None, samples=None)
    choice = BackendChoice("torch")
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = Path(folder, "float64.h5"), Path(folder, "float32.h5")
        record(choice, bare, weights, exact, dtype="float64", taps=PROJECTIONS)
        pinned = read_decisions(exact)
        record(choice, replace(bare, pinned=pinned), weights, rounded, taps=PROJECTIONS)
        with open_trace(exact) as first, open_trace(rounded) as second:
            flips = find_flips(first, second)
    total = sum(int(array.size) for array in pinned.values())
    ties = sum(flip.tie for flip in flips.listed)
    margin = max((flip.margin for flip in flips.listed), default=0.0)
    bound = max((flip.rounding for flip in flips.listed), default=0.0)
    found = Decisions("pixels", flips.count, total, margin, bound, ties)
    return replace(inputs, pinned=pinned), found


def _decisions(stage: str, flips: Mapping[str, Any]) -> Iterator[Decisions]:
    """ReLUs and nearest neighbours, each layer's and block's counted as ties or not.

    In float32 a value is within the stage's limit of its layer's greatest, and so is a coordinate
    of the meshes' greatest; two points, each off by that in three coordinates, change the
    difference of two distances by 2 sqrt(3) times as much.
    """
    limit = LIMITS[stage, "float32"]
    for kind, near, bound in (
        ("ReLUs", False, limit),
        ("nearest neighbours", True, 2 * 3**0.5 * limit),
    ):
        of_kind = [each for name, each in flips.items() if name.startswith("nearest_") == near]
        yield Decisions(
            kind,
            sum(each.count for each in of_kind),
            sum(each.total for each in of_kind),
            max((each.margin for each in of_kind), default=0.0),
            bound,
            sum(each.count for each in of_kind if each.margin <= bound),
        )


def _errors(name: str, found: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]) -> Errors:
    errors = {}
    for key, true in exact.items():
        if key not in found:
            raise InputError(name, f"no gradient of {key}", "one a variable")
        difference = found[key].astype(np.float64) - true
        errors[key] = relative(_rms(difference), _rms(true))
    return Errors(name, errors)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _varied(
    variation: Variation, metagraph: Path, inputs: RunInputs, weights: WeightSet
) -> dict[str, np.ndarray]:
    """The exported graph's gradients, in a process of its own: oneDNN is chosen at its start."""
    truth = inputs.ground_truth
    if variation.reversed_truth and truth is not None:
        normals = None if truth.normals is None else truth.normals[::-1].copy()
        inputs = replace(inputs, ground_truth=GroundTruth(truth.points[::-1].copy(), normals))
    context = multiprocessing.get_context("spawn")
    with (
        _environment("TF_ENABLE_ONEDNN_OPTS", str(int(variation.onednn))),
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        try:
            task = pool.submit(_run_graph, variation.threads, metagraph, inputs, weights)
            return task.result()
        except BrokenProcessPool as error:
            found = f"the process ended ({variation.name})"
            raise InputError("exported graph", found, "enough memory") from error


def _run_graph(
    threads: int, metagraph: Path, inputs: RunInputs, weights: WeightSet
) -> dict[str, np.ndarray]:
    from tf_reference.runtime import tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    backend = BackendChoice("metagraph", metagraph).make(inputs.stage, "float32", "cpu")
    gradients: dict[str, np.ndarray] = backend.gradients(  # type: ignore[attr-defined]
        inputs.mapping(), weights.arrays
    )
    return gradients


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
