"""Asking a backend what a probe is about, one named result after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from network.registry import network_of
from studies.faults.order import gradient_order, step_order
from studies.faults.probes import Probe

Take = Callable[[str, np.ndarray], None]
"""Takes a result by its name: a tap, ``losses/T``, ``gradients/KEY``, ``steps/N/KEY``."""

STEPS = 2
"""Steps of a training run that are looked at: in the first one Adam's state is still empty."""


class Enough(Exception):  # noqa: N818 - not an error: it ends a run that has nothing more to tell
    """Raise it out of ``Take`` to end the run."""


class _Listening:
    """Hands on the taps that a probe wants, and ends the run after the last of them."""

    def __init__(self, probe: Probe, take: Take) -> None:
        self._probe, self._take = probe, take

    def wants(self, tap: str) -> bool:
        return self._probe.wants(tap)

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if self._probe.wants(tap):
            self._take(tap, value)
        if self._probe.cnn_only and tap == network_of(self._probe.stage).maps[-1].name:
            raise Enough


def ask(backend: Any, probe: Probe, take: Take) -> None:
    """Hand the results that a probe is about to ``take``, in the order of computation.

    Args:
        backend: made for the probe's stage and precision.
        probe: says what is asked in ``group``.
        take: may raise ``Enough`` to end the run.
    """
    inputs, weights = probe.inputs, probe.weights.arrays
    try:
        if probe.group == "forward":
            backend.run(inputs, weights, _Listening(probe, take))
        elif probe.group == "loss":
            for term, value in backend.losses(inputs, weights).items():
                take(f"losses/{term}", np.asarray(value))
        elif probe.group == "gradient":
            found = backend.gradients(inputs, weights)
            for key in gradient_order(probe.stage):
                take(f"gradients/{key}", found[key])
        else:
            # The change is asked for and not the weights: it is five orders smaller.
            for step, state in backend.steps(inputs, weights, STEPS):
                for key in step_order(probe.stage):
                    take(f"steps/{step.number}/{key}", state.weights[key] - weights[key])
    except Enough:
        return


def answers(backend: Any, probe: Probe) -> dict[str, np.ndarray]:
    """All results by name; arrays are copies."""
    found: dict[str, np.ndarray] = {}
    ask(backend, probe, lambda name, value: found.update({name: np.array(value)}))
    return found
