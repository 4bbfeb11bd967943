"""Runs of probes in memory, as sides of a judgement: in place of traces."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from inputs.constants import constants_of
from inputs.ground_truth import GroundTruth
from inputs.template import Template
from network.registry import network_of
from network.taps import MESH
from parity.oracle.chunks import Part, cut
from parity.oracle.context import Context
from parity.traces.backends import Factory
from studies.faults.asking import ask
from studies.faults.probes import Probe

JUDGED = 48
"""Vertices of a refine probe that are judged, from the first. Nothing mixes between vertices there,
so that a fault of an operand is one at each; the placed vertices of ``integer`` and ``eye`` are the
first. A coarse probe's taps are judged whole."""


@dataclass(eq=False)
class MemoryRun:
    """One side in memory; see ``parity.verdict.judgement.Run``."""

    context: Context
    dtype: str
    taps: dict[str, np.ndarray] = field(default_factory=dict)
    exact: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def recorded(self) -> list[slice]:
        return [slice(0, min(len(self.context.inputs[MESH]), JUDGED))]

    def tap(self, name: str, part: Part) -> np.ndarray:
        return self._of(self.taps, name, part)

    def float64(self, name: str, part: Part) -> np.ndarray:
        return self._of(self.exact, name, part)

    def _of(self, values: Mapping[str, np.ndarray], name: str, part: Part) -> np.ndarray:
        found = self.context.inputs.get(name)
        rows = network_of(self.context.stage).rows_per_vertex(name)
        return cut(values[name] if found is None else found, rows, part)


class MemoryBackward:
    """Takes what a differentiated run tells, and is one side: a ``BackwardRun``."""

    def __init__(self, context: Context, measured: Mapping[str, np.ndarray], dtype: str) -> None:
        self.context, self.measured, self.dtype = context, measured, dtype
        self.vertices = len(context.inputs[MESH])
        self.gradients: Mapping[str, np.ndarray] = {}
        self._told: tuple[dict[str, list[Any]], dict[str, list[Any]]] = ({}, {})
        self._joined: dict[tuple[int, str], np.ndarray] = {}

    @classmethod
    def of(cls, backend: Any, probe: Probe, context: Context) -> "MemoryBackward":
        """Run the ``watched_gradients`` of a backend that was made for a probe's precision."""
        truth, template, samples = (
            probe.inputs[name] for name in ("ground_truth", "template", "samples")
        )
        run = cls(context, measured_in(probe.stage, truth, template, samples), probe.dtype)
        run.gradients = backend.watched_gradients(probe.inputs, probe.weights.arrays, run.watch)[1]
        return run

    def take(self, which: int, tap: str, rows: slice | None, array: np.ndarray) -> None:
        self._told[which].setdefault(tap, []).append((rows, np.array(array, np.float64)))

    @property
    def watch(self) -> "_Watch":
        """Whom a backend tells."""
        return _Watch(self)

    def value(self, name: str, part: Part) -> np.ndarray:
        given = self.context.inputs.get(name)
        return cut(self._whole(0, name) if given is None else given, self._rows(name), part)

    def knows_mesh(self) -> bool:
        return "mesh" in self.gradients

    def gradient(self, name: str, part: Part) -> np.ndarray:
        found = self.gradients["mesh"] if name == MESH else self._whole(1, name)
        return cut(found, self._rows(name), part)

    def _rows(self, name: str) -> int | None:
        return network_of(self.context.stage).rows_per_vertex(name)

    def variable(self, key: str) -> np.ndarray:
        return np.asarray(self.gradients[key], np.float64)

    def _whole(self, which: int, name: str) -> np.ndarray:
        if (which, name) not in self._joined:
            told = self._told[which].get(name, [])
            if len(told) == 1 and told[0][0] is None:
                self._joined[which, name] = told[0][1]
            elif which == 0:
                parts = sorted(told, key=lambda each: each[0].start)
                self._joined[which, name] = np.concatenate([array for _, array in parts])
            else:
                # What the loss does not reach is told nobody.
                whole = np.zeros_like(self._whole(0, name))
                for rows, array in told:
                    whole[rows] = array
                self._joined[which, name] = whole
        return self._joined[which, name]


class _Watch:
    def __init__(self, run: MemoryBackward) -> None:
        self._run = run

    def value(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        self._run.take(0, tap, rows, array)

    def gradient(self, tap: str, rows: slice | None, array: np.ndarray) -> None:
        self._run.take(1, tap, rows, array)


def measured_in(
    stage: str, truth: GroundTruth, template: Template, samples: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """What the losses read, by the names that ``loss.measured_of`` has for it."""
    found = {"points": np.asarray(truth.points)}
    if truth.normals is not None:
        found["normals"] = np.asarray(truth.normals)
    for block, level in enumerate(network_of(stage).levels, start=1):
        found[f"faces_{block}"] = np.asarray(template.faces[level])
        found[f"laplace_{block}"] = np.asarray(template.laplace[level])
        found[f"pairs_{block}"] = np.asarray(template.supports[level][1].indices)
    found |= {name: np.asarray(values) for name, values in samples.items()}
    return found


class MemoryStepper:
    """A backend's training on a probe, step by step; see ``parity.training.trainers.Trainer``.

    Both sides take the probe's own samples.
    """

    def __init__(self, factory: Factory, probe: Probe, count: int) -> None:
        backend: Any = factory(probe.stage, probe.dtype, "cpu")
        self.samples = probe.inputs["samples"]
        self._steps = backend.steps(probe.inputs, probe.weights.arrays, count)
        self._state: Any = None

    def step(self, samples: Any = None) -> dict[str, float]:  # noqa: ARG002 - the protocol's
        taken, self._state = next(self._steps)
        return dict(taken.losses)

    def variable(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        state = self._state
        return state.weights[key], state.first_moments[key], state.second_moments[key]

    def gradients(self, *_: Any) -> None:
        """None: steps are judged in float64 first, where none are needed."""


def context_of(probe: Probe) -> Context:
    """What the layers of a probe need."""
    inputs: Mapping[str, Any] = probe.inputs
    arrays = {name: inputs[name] for name in ("images", "cameras", "mesh")}
    arrays |= constants_of(probe.stage, inputs["template"], inputs["hypotheses"])
    return Context.of(probe.stage, arrays, probe.weights.arrays)


def meshes_of(factory: Factory, probe: Probe) -> dict[str, np.ndarray]:
    """The meshes that a probe's losses are of, float64, by tap and ``inputs/mesh``."""
    found = {MESH: np.asarray(probe.inputs["mesh"], np.float64)}

    def take(name: str, value: np.ndarray) -> None:
        if name in network_of(probe.stage).meshes:
            found[name] = np.array(value, np.float64)

    backend = factory(probe.stage, probe.dtype, "cpu")
    ask(backend, replace(probe, group="forward", cnn_only=False), take)
    return found
