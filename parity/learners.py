"""Training in either framework behind one small interface: a step, a state, a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inputs.sampling import samples_on, step_draws
from parity.record import BLOCK_TAPS, RunInputs
from weight_conversion.errors import InputError

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LearningSettings:
    """How to train; the official settings by default.

    ``loss_weights`` are factors by name (``torch_impl.losses.LossWeights``) that replace the
    stage's official ones.
    """

    learning_rate: float = 1e-5
    seed: int = 0
    frozen_cnn: bool = False
    loss_weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class LearningState:
    """All that the next step depends on: by checkpoint key, in the checkpoint's layout."""

    step: int
    weights: Arrays
    first_moments: Arrays
    second_moments: Arrays
    beta_powers: tuple[float, float]


class Learner(Protocol):
    """One stage that learns one item."""

    def step(self) -> dict[str, float]:
        """Take a step; the loss terms before it, by their trace names."""

    def state(self) -> LearningState:
        """A copy of the state."""

    def restore(self, state: LearningState) -> None:
        """Go on from a state."""

    def predict(self) -> np.ndarray:
        """The output mesh (2466, 3), camera frame of view 0."""


def learner(
    backend: str, device: str, inputs: RunInputs, weights: Arrays, settings: LearningSettings
) -> Learner:
    """A learner of ``inputs`` that starts from ``weights``.

    Raises:
        InputError: the backend cannot train, or settings or inputs are wrong.
    """
    if backend == "torch":
        return TorchLearner(device, inputs, weights, settings)
    if backend == "tf":
        return TensorFlowLearner(device, inputs, weights, settings)
    raise InputError("--backend", repr(backend), "torch or tf")


class TorchLearner:
    """Trains with ``torch_impl``."""

    def __init__(
        self, device: str, inputs: RunInputs, weights: Arrays, settings: LearningSettings
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
        self._trainer = Trainer(
            factory(inputs.stage, "float32", device),
            inputs.mapping(),
            weights,
            TrainingSettings(settings.learning_rate, settings.seed, settings.frozen_cnn, factors),
        )

    def step(self) -> dict[str, float]:
        return self._trainer.step().losses

    def state(self) -> LearningState:
        return LearningState(**vars(self._trainer.state()))

    def restore(self, state: LearningState) -> None:
        from torch_impl.training import TrainingState

        self._trainer.restore(TrainingState(**vars(state)))

    def predict(self) -> np.ndarray:
        return self._trainer.predict()


class TensorFlowLearner:
    """Trains with ``tf_reference``, one call a step."""

    def __init__(
        self, device: str, inputs: RunInputs, weights: Arrays, settings: LearningSettings
    ) -> None:
        from tf_reference.backend import factory
        from tf_reference.training import AdamState

        if settings.loss_weights:
            raise InputError("--loss-weight", "given for tf", "the official weights, or torch")
        self._backend = factory(inputs.stage, "float32", device)
        self._stage, self._inputs, self._settings = inputs.stage, inputs, settings
        self._weights, self._adam = dict(weights), AdamState()
        self._frozen = [key for key in weights if settings.frozen_cnn and "/cnn/" in key]

    def step(self) -> dict[str, float]:
        trained = self._backend.steps(
            self._inputs.mapping(),
            self._weights,
            self._adam,
            1,
            lr=self._settings.learning_rate,
            samples=self._samples,
            frozen=self._frozen,
        )
        self._weights, self._adam = trained.weights, trained.state
        return trained.losses[0]

    def state(self) -> LearningState:
        zeros = {key: np.zeros_like(value) for key, value in self._weights.items()}
        return LearningState(
            self._adam.taken,
            dict(self._weights),
            {**zeros, **self._adam.first},
            {**zeros, **self._adam.second},
            (0.0, 0.0),  # TensorFlow's side computes them from the number of steps
        )

    def restore(self, state: LearningState) -> None:
        from tf_reference.training import AdamState

        self._weights = state.weights
        self._adam = AdamState(state.step, state.first_moments, state.second_moments)

    def predict(self) -> np.ndarray:
        return self._backend.run(self._inputs.mapping(), self._weights, None)

    def _samples(self, number: int) -> Mapping[str, Any]:
        """The points of a step, on the meshes as they are, from the numbers both sides draw."""
        blocks = _BlockMeshes(self._stage)
        self._backend.run(self._inputs.mapping(), self._weights, blocks)
        draws = step_draws(self._stage, self._settings.seed, number)
        meshes = [blocks.found[tap] for tap in BLOCK_TAPS[self._stage]]
        return samples_on(self._stage, self._inputs.template, meshes, draws)


class _BlockMeshes:
    """Listens to the blocks' output meshes alone."""

    def __init__(self, stage: str) -> None:
        self._taps = frozenset(BLOCK_TAPS[stage])
        self.found: Arrays = {}

    def wants(self, tap: str) -> bool:
        return tap in self._taps

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if tap in self._taps:
            self.found[tap] = np.array(value)
