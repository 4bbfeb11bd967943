"""One stage on two backends: two traces, one comparison."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inputs.item import DEFAULT_VIEWS
from network.registry import network_of
from parity.traces.array_inputs import ArrayInputs
from parity.traces.backends import BackendChoice, Factory
from parity.traces.by_vertices import ByVertices
from parity.traces.record import RunInputs, made, methods_of, read_samples, record
from parity.traces.sources import read_sources
from parity.verdict.compare import compare
from parity.verdict.result import Comparison
from weight_conversion.atomic import scratch_folder
from weight_conversion.formats import WeightSet, load_weights

Advance = Callable[[str], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a task of so many units; the block's value is called once a unit."""


@dataclass(frozen=True)
class PairPaths:
    """Where the traces of a pair go."""

    reference: Path
    candidate: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "PairPaths":
        return cls(folder / "reference.h5", folder / "candidate.h5")


def compare_pair(
    reference: BackendChoice,
    candidate: BackendChoice,
    inputs: RunInputs | ArrayInputs,
    weights: WeightSet,
    paths: PairPaths,
    *,
    progress: Progress,
    dtype: str = "float32",
    devices: tuple[str, str] = ("cpu", "cpu"),
    taps: str = "*",
    unmatched: Mapping[str, str] | None = None,
    gradients: bool = False,
    float64: bool = True,
    whole: bool = False,
    vertices: int | None = None,
) -> Comparison:
    """Record both sides, see ``record_pair``, and compare them; ``unmatched`` as in ``compare``."""
    later = record_pair(
        reference, candidate, inputs, weights, paths, progress=progress, dtype=dtype,
        devices=devices, taps=taps, gradients=gradients, float64=float64, whole=whole,
        vertices=vertices,
    )  # fmt: skip
    with progress(f"{inputs.stage} compared", 1):
        return compare(
            paths.reference, paths.candidate, taps=taps, unmatched=unmatched, later=later
        )


def record_pair(
    reference: BackendChoice,
    candidate: BackendChoice,
    inputs: RunInputs | ArrayInputs,
    weights: WeightSet,
    paths: PairPaths,
    *,
    progress: Progress,
    dtype: str = "float32",
    devices: tuple[str, str] = ("cpu", "cpu"),
    taps: str = "*",
    gradients: bool = False,
    float64: bool = True,
    whole: bool = False,
    vertices: int | None = None,
) -> tuple[ByVertices | None, ByVertices | None]:
    """Record both sides.

    Losses of both sides are taken at the reference's samples. With ``float64`` the runs in float64
    are recorded too; without ``whole``, traces that are not kept, only as far as they must be.
    With ``vertices`` taps are recorded at so many of them, see ``record``.

    Returns:
        What is left of either side to be run in float64, for ``compare``.
    """
    # The candidate is made first: what is wrong with it is known before the reference is run.
    methods = methods_of(inputs.ground_truth is not None, gradients)
    backends = [
        made(choice, inputs.stage, dtype, device, methods)
        for choice, device in ((candidate, devices[1]), (reference, devices[0]))
    ]
    later: list[ByVertices | None] = []
    total = len(network_of(inputs.stage).taps)
    sides = ((reference, paths.reference, devices[0]), (candidate, paths.candidate, devices[1]))
    for choice, path, device in sides:
        judged = inputs.ground_truth is not None and path != paths.reference
        if judged and isinstance(inputs, RunInputs) and inputs.samples is None:
            inputs = replace(inputs, samples=read_samples(paths.reference))
        with progress(f"{inputs.stage} on {choice.name}", total) as advance:
            left = record(
                choice, inputs, weights, path,
                dtype=dtype, device=device, taps=taps, gradients=gradients, float64=float64,
                whole=whole, vertices=vertices, on_tap=advance, backend=backends.pop(),
            )  # fmt: skip
            later.append(left)
    return later[0], later[1]


def run_pair(
    weights: Path | str | WeightSet,
    item: Path | str | ArrayInputs,
    *,
    reference: str | Factory = "tf",
    candidate: str | Factory = "torch",
    metagraph: Path | None = None,
    views: tuple[int, ...] = DEFAULT_VIEWS,
    mesh: Path | None = None,
    template: Path | None = None,
    hypotheses: Path | None = None,
    ground_truth: Path | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    taps: str = "*",
    unmatched: Mapping[str, str] | None = None,
    gradients: bool = False,
    float64: bool = True,
    vertices: int | None = None,
    traces: Path | None = None,
) -> Comparison:
    """Run one stage on two backends and compare them: ``p2m-parity run`` from Python.

    Args:
        weights: a file of weights in any format, whose variables say which stage it is, or what
            was read from one.
        item: the item's folder; of a network of one's own, the arrays that it reads.
        reference: the backend that is taken as right, by name (``torch``, ``tf``, ``metagraph``,
            ``onnx``, ``module:factory``), or a factory ``(stage, dtype, device) -> Backend``.
        candidate: the backend that is judged, likewise.
        metagraph: the exported graph (``.meta``), for the backend of that name.
        views: three view numbers.
        mesh: the input mesh, see ``inputs.meshes``; the refine stage needs one.
        template: the official mesh template (``.dat``); the project's own by default.
        hypotheses: the official hypotheses (``.dat``); the project's own by default.
        ground_truth: points to compute losses against.
        dtype: "float32" or "float64".
        device: of both sides, "cpu" or "cuda:N".
        taps: glob of the taps to record and compare.
        unmatched: globs of entries that a side may lack, with the reason why.
        gradients: whether gradients of the total loss are compared too.
        float64: whether both sides also run in float64.
        vertices: how many vertices of the refine stage, which mixes nothing between them, its
            layers are judged at; all by default.
        traces: a folder to keep ``reference.h5`` and ``candidate.h5`` in; without it they
            are deleted (0.6 GB of the coarse, 4.5 GB of the refine stage a side).

    Raises:
        InputError: a file cannot be read, or a backend cannot be made or fails.
    """
    loaded = weights if isinstance(weights, WeightSet) else load_weights(weights)
    if isinstance(item, ArrayInputs):
        inputs: RunInputs | ArrayInputs = item
    else:
        inputs = read_sources(
            item,
            views=views,
            template=template,
            hypotheses=hypotheses,
            mesh=mesh,
            ground_truth=ground_truth,
        ).of(loaded.stage)
    with scratch_folder() as folder:
        return compare_pair(
            _choice(reference, metagraph),
            _choice(candidate, metagraph),
            inputs,
            loaded,
            PairPaths.in_folder(traces or folder),
            progress=silent,
            dtype=dtype,
            devices=(device, device),
            taps=taps,
            unmatched=unmatched,
            gradients=gradients,
            float64=float64,
            whole=traces is not None,
            vertices=vertices,
        )


def judge_module(
    factory: Factory, weights: Path | str, item: Path | str, **options: Any
) -> Comparison:
    """Judge a port: run its factory's backend against the project's own PyTorch implementation.

    Args:
        factory: called with stage, dtype and device; returns a ``Backend``, for a
            ``torch.nn.Module`` a ``parity.traces.module_port.ModulePort``.
        weights: a file of weights in any format; its variables say which stage it is.
        item: the item's folder.
        options: those of ``run_pair``; ``reference`` is "torch" by default.

    Raises:
        InputError: a file cannot be read, or the port cannot be made or fails.
    """
    return run_pair(weights, item, **{"reference": "torch", **options}, candidate=factory)


def _choice(backend: str | Factory, metagraph: Path | None) -> BackendChoice:
    if isinstance(backend, str):
        return BackendChoice(backend, metagraph)
    return BackendChoice.of_factory(backend)


@contextmanager
def silent(_description: str, _total: int) -> Iterator[Advance]:
    """Progress that nobody sees."""
    yield lambda _unit: None
