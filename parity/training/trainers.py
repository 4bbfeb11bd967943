"""Training in any framework behind one small interface: a step, its draws, a state."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inputs.sampling import Samples, samples_on, step_draws
from network.registry import network_of
from parity.traces.backends import Backend, BackendChoice
from parity.traces.record import RunInputs
from weight_conversion.errors import InputError

Arrays = dict[str, np.ndarray]
Variable = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A variable, Adam's mean of its gradient and that of the gradient's square."""
BUILT_IN = ("torch", "tf")


@dataclass(frozen=True)
class TrainerSettings:
    """How to train; the official settings by default.

    ``loss_weights`` are factors by name (``torch_impl.losses.LossWeights``) that replace the
    stage's official ones.

    Raises:
        InputError: the learning rate is not positive and finite.
    """

    learning_rate: float = 1e-5
    seed: int = 0
    frozen_cnn: bool = False
    loss_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError("learning rate", repr(self.learning_rate), "a positive number")


@dataclass(frozen=True)
class TrainerState:
    """All that the next step depends on: by checkpoint key, in the checkpoint's layout."""

    step: int
    weights: Arrays
    first_moments: Arrays
    second_moments: Arrays
    beta_powers: tuple[float, float]


class Trainer(Protocol):
    """One stage that takes training steps on one item."""

    @property
    def samples(self) -> Samples:
        """The points of the last step."""

    def step(self, samples: Samples | None = None) -> dict[str, float]:
        """Take a step; the loss terms before it, by their trace names.

        Without ``samples`` the inputs' are taken, or points are drawn on its own meshes.
        """

    def variable(self, key: str) -> Variable:
        """Copies of a variable as it is now and of its moments, in the checkpoint's layout."""

    def gradients(self, weights: Mapping[str, np.ndarray], samples: Samples) -> Arrays | None:
        """The total's gradient at other weights, None where the backend has no gradients."""


class ResumableTrainer(Trainer, Protocol):
    """A trainer that can stop and go on."""

    def state(self) -> TrainerState:
        """A copy of the state."""

    def restore(self, state: TrainerState) -> None:
        """Go on from a state."""

    def predict(self) -> np.ndarray:
        """The output mesh (V, 3), camera frame of view 0."""


def resumable_trainer(
    backend: str,
    device: str,
    inputs: RunInputs,
    weights: Arrays,
    settings: TrainerSettings,
    dtype: str = "float32",
) -> ResumableTrainer:
    """A trainer of ``inputs`` that starts from ``weights``.

    Raises:
        InputError: the backend cannot train, or settings or inputs are wrong.
    """
    if inputs.ground_truth is None:
        raise InputError("--ground-truth", "not given", "points to train towards")
    if backend == "torch":
        return TorchTrainer(device, inputs, weights, settings, dtype)
    if backend == "tf":
        return TensorFlowTrainer(device, inputs, weights, settings, dtype)
    raise InputError("--backend", repr(backend), "torch or tf")


def trainer_of(
    choice: BackendChoice,
    device: str,
    inputs: RunInputs,
    weights: Arrays,
    settings: TrainerSettings,
    dtype: str,
) -> Trainer:
    """Of any backend that can take steps: those built in, and ``module:factory`` with ``steps()``.

    Raises:
        InputError: the backend has no ``steps()``, or as ``resumable_trainer``.
    """
    if choice.name in BUILT_IN or inputs.ground_truth is None:
        return resumable_trainer(choice.name, device, inputs, weights, settings, dtype)
    # A port may train the very module that it is asked the gradients of in between.
    backend, beside = (_with_steps(choice, inputs.stage, dtype, device) for _ in range(2))
    return PortTrainer(choice.name, backend, inputs, weights, settings, beside)


def check_trains(choice: BackendChoice, stage: str, dtype: str, device: str) -> None:
    """Refuse a backend that cannot take steps, before anything is run.

    Raises:
        InputError: it has no ``steps()``, or a port cannot be made.
    """
    if choice.name not in BUILT_IN:
        _with_steps(choice, stage, dtype, device)


def _with_steps(choice: BackendChoice, stage: str, dtype: str, device: str) -> Backend:
    if ":" in choice.name:
        backend = choice.make(stage, dtype, device)
        if callable(getattr(backend, "steps", None)):
            return backend
    known = f"{', '.join(BUILT_IN)} or module:factory with steps()"
    raise InputError(f"backend {choice.name}", "cannot take training steps", known)


class TorchTrainer:
    """Trains with ``torch_impl``."""

    def __init__(
        self,
        device: str,
        inputs: RunInputs,
        weights: Arrays,
        settings: TrainerSettings,
        dtype: str = "float32",
    ) -> None:
        from torch_impl.backend import factory
        from torch_impl.losses import LossWeights
        from torch_impl.training import Trainer, TrainingSettings

        factors = LossWeights.of(inputs.stage)
        try:
            changed = {**vars(factors), **(settings.loss_weights or {})}
            factors = LossWeights(**changed)
        except TypeError:
            unknown = sorted(set(settings.loss_weights or {}) - set(vars(factors)))
            raise InputError(
                "--loss-weight", ", ".join(unknown), ", ".join(vars(factors))
            ) from None
        self._inputs, self._factors = inputs.mapping(), factors
        self._backend = factory(inputs.stage, dtype, device)
        self._trainer = Trainer(
            self._backend,
            self._inputs,
            weights,
            TrainingSettings(settings.learning_rate, settings.seed, settings.frozen_cnn, factors),
        )
        self.samples: Samples = {}

    def step(self, samples: Samples | None = None) -> dict[str, float]:
        taken = self._trainer.step(samples)
        self.samples = taken.samples
        return taken.losses

    def variable(self, key: str) -> Variable:
        return self._trainer.variable(key)

    def gradients(self, weights: Mapping[str, np.ndarray], samples: Samples) -> Arrays | None:
        # A mapping of its own, because the backend keeps the network of one that it has seen.
        given = {**self._inputs, "samples": samples}
        return self._backend.gradients(given, dict(weights), loss_weights=self._factors)

    def state(self) -> TrainerState:
        return TrainerState(**vars(self._trainer.state()))

    def restore(self, state: TrainerState) -> None:
        from torch_impl.training import TrainingState

        self._trainer.restore(TrainingState(**vars(state)))

    def predict(self) -> np.ndarray:
        return self._trainer.predict()


class TensorFlowTrainer:
    """Trains with ``tf_reference``."""

    def __init__(
        self,
        device: str,
        inputs: RunInputs,
        weights: Arrays,
        settings: TrainerSettings,
        dtype: str = "float32",
    ) -> None:
        from tf_reference.backend import factory

        if settings.loss_weights:
            raise InputError("--loss-weight", "given for tf", "the official weights, or torch")
        self._backend = factory(inputs.stage, dtype, device)
        self._inputs, self._mapping, self._settings = inputs, inputs.mapping(), settings
        encoder = network_of(inputs.stage).encoder if settings.frozen_cnn else ()
        self._frozen = [row.key for row in encoder]
        self._training = self._from(weights)
        self.samples: Samples = {}

    def _from(self, weights: Arrays, adam: Any = None) -> Any:
        rate = self._settings.learning_rate
        return self._backend.training(self._mapping, weights, rate, adam, self._frozen)

    def step(self, samples: Samples | None = None) -> dict[str, float]:
        drawn = self._inputs.samples if samples is None else samples
        if drawn is None:
            weights, number = self._training.weights(), self._training.taken + 1
            drawn = _drawn(self._backend, self._inputs, weights, self._settings.seed, number)
        self.samples = drawn
        losses: dict[str, float] = self._training.step(drawn)
        return losses

    def variable(self, key: str) -> Variable:
        found: Variable = self._training.variable(key)
        return found

    def gradients(self, weights: Mapping[str, np.ndarray], samples: Samples) -> Arrays | None:
        return self._backend.gradients({**self._mapping, "samples": samples}, weights)

    def state(self) -> TrainerState:
        adam = self._training.state()
        return TrainerState(
            adam.taken,
            self._training.weights(),
            dict(adam.first),
            dict(adam.second),
            (0.0, 0.0),  # TensorFlow's side computes them from the number of steps
        )

    def restore(self, state: TrainerState) -> None:
        from tf_reference.training import AdamState

        adam = AdamState(state.step, state.first_moments, state.second_moments)
        self._training = self._from(state.weights, adam)

    def predict(self) -> np.ndarray:
        return self._backend.run(self._mapping, self._training.weights(), None)


class PortTrainer:
    """Trains with a user's port behind its guard: ``steps(inputs, weights, samples, rate)``.

    It is a generator that, a step, takes the next of the iterator ``samples`` and yields the loss
    terms before the step and the state after it: a mapping with ``weights``, ``first_moments`` and
    ``second_moments``, each by checkpoint key in the checkpoint's layout. ``beside`` is another
    instance of the port, which is asked for meshes and gradients between steps.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        inputs: RunInputs,
        weights: Arrays,
        settings: TrainerSettings,
        beside: Backend,
    ) -> None:
        self._name, self._beside, self._inputs = name, beside, inputs
        self._seed, self._taken = settings.seed, 0
        self.samples: Samples = {}
        self._state: Mapping[str, Mapping[str, Any]] = {"weights": weights}
        steps: Callable[..., Any] = getattr(backend, "steps")  # noqa: B009 - the protocol has none
        self._steps = steps(inputs.mapping(), weights, self._next(), settings.learning_rate)

    def _next(self) -> Iterator[Samples]:
        while True:
            yield self.samples

    def step(self, samples: Samples | None = None) -> dict[str, float]:
        drawn = self._inputs.samples if samples is None else samples
        if drawn is None:
            weights = self._state["weights"]
            drawn = _drawn(self._beside, self._inputs, weights, self._seed, self._taken + 1)
        self.samples = drawn
        losses, self._state = self._unpacked()
        self._taken += 1
        return {name: float(value) for name, value in losses.items()}

    def _unpacked(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        where = f"backend {self._name}"
        try:
            yielded = next(self._steps)
        except StopIteration:
            ended = f"its steps() ended after {self._taken}"
            raise InputError(where, ended, "as many as asked") from None
        if not isinstance(yielded, tuple) or len(yielded) != 2:
            kind = type(yielded).__name__
            raise InputError(where, f"its steps() give a {kind}", "(losses, state)")
        losses, state = yielded
        for part in ("weights", "first_moments", "second_moments"):
            if part not in state:
                raise InputError(where, f"its steps() give no {part}", "a state")
        return losses, state

    def variable(self, key: str) -> Variable:
        found = []
        for part in ("weights", "first_moments", "second_moments"):
            if key not in self._state[part]:
                where = f"backend {self._name}, step {self._taken}"
                raise InputError(where, f"no {part} of {key}", "one a variable")
            found.append(np.array(self._state[part][key]))
        return found[0], found[1], found[2]

    def gradients(self, weights: Mapping[str, np.ndarray], samples: Samples) -> Arrays | None:
        compute = getattr(self._beside, "gradients", None)
        if compute is None:
            return None
        mapping = {**self._inputs.mapping(), "samples": samples}
        return dict(compute(mapping, weights))


def _drawn(
    backend: Any, inputs: RunInputs, weights: Mapping[str, np.ndarray], seed: int, number: int
) -> Samples:
    """The points of a step, on the meshes as they are, from the numbers all sides draw."""
    blocks = _BlockMeshes(inputs.stage)
    backend.run(inputs.mapping(), weights, blocks)
    draws = step_draws(inputs.stage, seed, number)
    for tap in network_of(inputs.stage).meshes:
        if tap not in blocks.found:
            raise InputError(f"tap {tap}", "not given", "every block's mesh, to draw samples on")
    meshes = [blocks.found[tap] for tap in network_of(inputs.stage).meshes]
    return samples_on(inputs.stage, inputs.template, meshes, draws)


class _BlockMeshes:
    """Listens to the blocks' output meshes alone."""

    def __init__(self, stage: str) -> None:
        self._taps = frozenset(network_of(stage).meshes)
        self.found: Arrays = {}

    def wants(self, tap: str) -> bool:
        return tap in self._taps

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if tap in self._taps:
            self.found[tap] = np.array(value)
