"""One stage on two backends: two traces, a third where decisions flipped, one comparison."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from network.taps import TAPS
from parity.traces.backends import BackendChoice
from parity.traces.record import RunInputs, read_decisions, read_samples, record
from parity.verdict.compare import compare
from parity.verdict.result import Comparison, Verdict
from weight_conversion.formats import WeightSet

Advance = Callable[[str], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a task of so many units; the block's value is called once a unit."""


@dataclass(frozen=True)
class PairPaths:
    """Where the traces of a pair go; ``pinned`` is written only where decisions flipped."""

    reference: Path
    candidate: Path
    pinned: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "PairPaths":
        return cls(folder / "reference.h5", folder / "candidate.h5", folder / "candidate-pinned.h5")


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
    truth: bool = False,
) -> Comparison:
    """Record both sides and compare them.

    Where the sides differ and pixel decisions flipped, the candidate is run again with the
    reference's decisions, so that a flip cannot be mistaken for a difference nor hide one. Losses
    of both sides are taken at the reference's samples. With ``truth`` the float64 runs are recorded
    too and decide; a flip is then judged without another run. ``unmatched`` as in ``compare``.
    """
    total = len(TAPS[inputs.stage])
    sides = ((reference, paths.reference, devices[0]), (candidate, paths.candidate, devices[1]))
    for choice, path, device in sides:
        if inputs.ground_truth is not None and inputs.samples is None and path != paths.reference:
            inputs = replace(inputs, samples=read_samples(paths.reference))
        with progress(f"{inputs.stage} on {choice.name}", total) as advance:
            record(
                choice, inputs, weights, path,
                dtype=dtype, device=device, taps=taps, gradients=gradients, truth=truth,
                on_tap=advance,
            )  # fmt: skip
    with progress(f"{inputs.stage} compared", 1):
        comparison = compare(paths.reference, paths.candidate, taps=taps, unmatched=unmatched)
    if truth or comparison.verdict is not Verdict.DIFFER or not comparison.flip_count:
        return comparison
    pinned = replace(inputs, pinned=read_decisions(paths.reference))
    with progress(f"{inputs.stage} on {candidate.name}, decisions pinned", total) as advance:
        record(
            candidate, pinned, weights, paths.pinned,
            dtype=dtype, device=devices[1], taps=taps, gradients=gradients, on_tap=advance,
        )  # fmt: skip
    with progress(f"{inputs.stage} compared", 1):
        return compare(
            paths.reference,
            paths.candidate,
            taps=taps,
            pinned=paths.pinned,
            unmatched=unmatched,
        )
