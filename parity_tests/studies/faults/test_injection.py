"""Faults are put in, and taken out again whatever happens in between."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from studies.faults.fault import Fault
from studies.faults.faults import FAULTS
from studies.faults.harmless import HARMLESS, Harmless
from studies.faults.injection import Injection, Mutant, constant, replaced, replacing
from studies.faults.probes import probe
from torch_impl import coarse, projection, refine
from torch_impl.losses import LossWeights
from torch_impl.nearest import Targets
from torch_impl.training import Adam

CLASSES = (LossWeights, Targets, Adam)
INJECTED = [each for each in (*FAULTS, *HARMLESS)
            if each.backend("coarse").__class__ is Mutant]  # fmt: skip


def state() -> dict[str, Any]:
    """Every name of ``torch_impl`` and what it stands for, and torch's settings."""
    found: dict[str, Any] = {}
    modules = {key: each for key, each in sys.modules.items()
               if key.partition(".")[0] == "torch_impl"}  # fmt: skip
    for key, module in modules.items():
        assert isinstance(module, ModuleType)
        found |= {f"{key}.{name}": id(value) for name, value in vars(module).items()}
    for owner in CLASSES:
        found |= {f"{owner.__name__}.{name}": id(value) for name, value in vars(owner).items()}
    found["threads"] = torch.get_num_threads()
    found["onednn"] = torch.backends.mkldnn.enabled
    found["no_grad"] = torch.no_grad
    found["deterministic"] = torch.are_deterministic_algorithms_enabled()
    return found


@pytest.mark.parametrize("subject", INJECTED, ids=lambda subject: subject.id)
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_everything_is_put_back(subject: Fault | Harmless, raises: bool) -> None:
    before = state()
    backend = subject.backend(next(iter(subject.stages)).replace("pipeline", "coarse"))
    try:
        with backend._injected():
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert raises
    assert state() == before


def test_a_function_is_replaced_wherever_it_was_imported() -> None:
    original = projection.pixels
    with replaced("projection.pixels", lambda old: lambda *given: old(*given) + 1.0):
        assert projection.pixels is not original
        assert coarse.pixels is refine.pixels is projection.pixels
    assert coarse.pixels is refine.pixels is projection.pixels is original


def test_what_is_injected_is_in_force_during_a_run_and_once() -> None:
    """A backend's method may call another one: the fault must not be put in twice."""
    asked = probe("plane", "coarse", "loss")
    calls: list[int] = []

    def counting(old: Any) -> Any:
        def stage_losses(*given: Any, **named: Any) -> Any:
            calls.append(1)
            return old(*given, **named)

        return stage_losses

    backend = Mutant(replacing("losses.stage_losses", counting), "coarse", "float32", "cpu")
    backend.losses(asked.inputs, asked.weights.arrays)
    assert calls == [1]


def test_nothing_injected_changes_no_bit() -> None:
    asked = probe("plane", "refine")
    taps: dict[str, list[np.ndarray]] = {}

    def listen(tap: str, value: np.ndarray) -> None:
        taps.setdefault(tap, []).append(np.array(value))

    from torch_impl.backend import factory

    factory("refine", "float32", "cpu").run(asked.inputs, asked.weights.arrays, listen)
    Mutant(Injection(), "refine", "float32", "cpu").run(asked.inputs, asked.weights.arrays, listen)
    assert all(np.array_equal(*both) for both in taps.values())


def test_swaps_are_undone_between_two_steps() -> None:
    asked = probe("plane", "coarse", "step")
    before = state()
    backend = Mutant(constant("training.EPSILON", 1.0), "coarse", "float32", "cpu")
    steps = backend.steps(asked.inputs, asked.weights.arrays, 2)
    next(steps)
    assert state() == before
    steps.close()
    assert state() == before
