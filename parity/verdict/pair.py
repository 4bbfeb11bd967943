"""One stage on two backends: two traces, one comparison."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from network.taps import TAPS
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, read_samples, record
from parity.verdict.compare import compare
from parity.verdict.result import Comparison
from weight_conversion.formats import WeightSet

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
    inputs: RunInputs,
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
) -> Comparison:
    """Record both sides and compare them.

    Losses of both sides are taken at the reference's samples. With ``float64`` the runs in float64
    are recorded too. ``unmatched`` as in ``compare``.
    """
    total = len(TAPS[inputs.stage])
    sides = ((reference, paths.reference, devices[0]), (candidate, paths.candidate, devices[1]))
    for choice, path, device in sides:
        if inputs.ground_truth is not None and inputs.samples is None and path != paths.reference:
            inputs = replace(inputs, samples=read_samples(paths.reference))
        with progress(f"{inputs.stage} on {choice.name}", total) as advance:
            record(
                choice, inputs, weights, path,
                dtype=dtype, device=device, taps=taps, gradients=gradients, float64=float64,
                on_tap=advance,
            )  # fmt: skip
    with progress(f"{inputs.stage} compared", 1):
        return compare(paths.reference, paths.candidate, taps=taps, unmatched=unmatched)
