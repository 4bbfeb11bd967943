"""Every loss term's value and bound against torch in both precisions, on both stages' meshes."""

from collections.abc import Callable

import numpy as np
import pytest

from network.losses import LOSSES
from network.taps import BLOCK_TAPS, MESH, TAPS
from parity.oracle.confidence import arithmetic_of
from parity.oracle.context import Context
from parity.oracle.losses import decay_value, loss_terms, total_of
from parity.oracle.number import Number
from studies.faults.asking import answers
from studies.faults.memory import context_of, measured_in
from studies.faults.probes import probe
from torch_impl.backend import factory

STAGES = tuple(LOSSES)
Run = Callable[[str, str], tuple[dict[str, Number], dict[str, float], Context]]


@pytest.fixture(scope="module")
def run() -> Run:
    kept: dict[tuple[str, str], tuple[dict[str, Number], dict[str, float], Context]] = {}

    def made(stage: str, dtype: str) -> tuple[dict[str, Number], dict[str, float], Context]:
        if (stage, dtype) not in kept:
            asked = probe("plane", stage, "loss")
            context, given = context_of(asked), asked.inputs
            meshes = {MESH: np.asarray(given["mesh"], np.float64)}
            backend = factory(stage, dtype, "cpu")
            backend.run(
                given, asked.weights.arrays,
                lambda tap, value: meshes.update(
                    {tap: np.asarray(value, np.float64)} if tap in BLOCK_TAPS[stage] else {}
                ),
            )  # fmt: skip
            measured = measured_in(
                stage, given["ground_truth"], given["template"], given["samples"]
            )
            arithmetic = arithmetic_of(stage, dtype)
            expected = {
                term.label: term.value(meshes, arithmetic) for term in loss_terms(context, measured)
            }
            expected["decay"] = decay_value(context, arithmetic)
            expected["total"] = total_of(expected, arithmetic)
            seen = {
                name.partition("/")[2]: float(value)
                for name, value in answers(backend, asked).items()
            }
            kept[stage, dtype] = expected, seen, context
        return kept[stage, dtype]

    return made


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("stage", STAGES)
def test_torchs_terms_only_round(stage: str, dtype: str, run: Run) -> None:
    expected, seen, _ = run(stage, dtype)
    assert set(seen) == set(expected)
    arithmetic = arithmetic_of(stage, dtype)
    for name, number in expected.items():
        limit = float(arithmetic.limit(number) + np.max(number.undecided))
        assert abs(seen[name] - float(number.value)) <= limit, name
        # A limit as large as the value would say nothing.
        assert limit <= (1e-9 if dtype == "float64" else 1e-2) * abs(seen[name]) + 1e-12, name


@pytest.mark.parametrize("stage", STAGES)
def test_a_factor_a_little_off_is_no_rounding(stage: str, run: Run) -> None:
    expected, seen, _ = run(stage, "float64")
    arithmetic = arithmetic_of(stage, "float64")
    for name, number in expected.items():
        limit = float(arithmetic.limit(number) + np.max(number.undecided))
        assert abs(seen[name] * (1 + 1e-8) - float(number.value)) > limit, name


@pytest.mark.parametrize("stage", STAGES)
def test_every_block_has_every_term(stage: str, run: Run) -> None:
    expected, _, _ = run(stage, "float64")
    blocks = len({row.block for row in TAPS[stage]} - {0})
    assert len(expected) == 5 * blocks + 2
