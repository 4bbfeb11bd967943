"""The pass that gradients are taken of held against the run itself."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from parity.traces.gradients import DOUBLE, OWN, Groups
from parity.traces.trace import open_trace
from parity.verdict.gradient_comparison import GradientComparison
from parity_tests.parity.conftest import LAST, Build, values


@pytest.mark.parametrize(
    ("groups", "factor", "parted"),
    [
        (DOUBLE, 1 + 1e-12, ""),
        (DOUBLE, 1 + 1e-6, LAST),
        (DOUBLE, np.nan, ""),
        (OWN, 1 + 1e-3, ""),
        (OWN, 1.05, LAST),
    ],
    ids=["rounding", "another function", "not a number", "flips", "far"],
)
def test_a_pass_that_leaves_the_run_is_found(
    build: Build, groups: Groups, factor: float, parted: str
) -> None:
    run = values(LAST, (156, 3))

    def edit(file: h5py.File) -> None:
        if groups is DOUBLE:
            file[f"{groups.taps}/{LAST}"] = run.astype(np.float64)
        file[f"{groups.values}/{LAST}"] = run.astype(np.float64) * factor

    first, second = build("reference"), build("candidate", edit=edit)
    with open_trace(first) as reference, open_trace(second) as candidate:
        context = SimpleNamespace(stage="coarse")
        comparison = GradientComparison(reference, candidate, context)  # type: ignore[arg-type]
        assert comparison._parted(groups) == parted
