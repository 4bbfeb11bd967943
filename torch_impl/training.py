"""Training steps on one item: TensorFlow 1's Adam on the total loss, resumable to the bit.

A step depends on the state before it and on its number alone: its points are drawn from the seed
and that number, and sums on the CPU are made in a fixed order. The decay of the variables is part
of the loss; the optimiser adds none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.sampling import Samples, step_draws
from network.weights import WEIGHTS
from torch_impl.cnn import float32_constant
from torch_impl.evaluation import (
    block_samples,
    block_surfaces,
    checkpoint_arrays,
    draw_blocks,
    reproducible,
    truth_of,
)
from torch_impl.loading import StageLoader, as_array, load_network
from torch_impl.losses import LossWeights, stage_losses
from torch_impl.precision import full_precision
from weight_conversion.errors import InputError

BETA_1, BETA_2, EPSILON = (float32_constant(value) for value in (0.9, 0.999, 1e-8))


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; the official settings by default.

    Attributes:
        learning_rate: Adam's, before its own correction; a float32 value, as all constants.
        seed: what the drawn points depend on, beside a step's number.
        frozen_cnn: keep the image encoder as it is, and what it makes of the images.
        loss_weights: factors of the loss terms; None for the stage's official ones.

    Raises:
        InputError: the learning rate is not positive and finite, or the seed is negative.
    """

    learning_rate: float = 1e-5
    seed: int = 0
    frozen_cnn: bool = False
    loss_weights: LossWeights | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError("learning rate", repr(self.learning_rate), "a positive number")
        if self.seed < 0:
            raise InputError("seed", repr(self.seed), "a number from 0 up")


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All that the steps to come depend on, beside the item and the settings.

    Attributes:
        step: steps taken.
        weights: variables by checkpoint key, in the checkpoint's layout and the run's precision.
        first_moments: Adam's mean of the gradients, likewise; zeros where nothing is trained.
        second_moments: Adam's mean of the squared gradients, likewise.
        beta_powers: β₁ and β₂ to the power of the next step, multiplied up step by step in the
            run's precision as TensorFlow does.
    """

    step: int
    weights: dict[str, np.ndarray]
    first_moments: dict[str, np.ndarray]
    second_moments: dict[str, np.ndarray]
    beta_powers: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Step:
    """One step taken.

    Attributes:
        number: counted from 1.
        losses: the terms before the update, by their trace names.
        samples: the points that were drawn.
        mesh: the output mesh (2466, 3) before the update, camera frame of view 0.
    """

    number: int
    losses: dict[str, float]
    samples: Samples
    mesh: np.ndarray


@dataclass(eq=False)
class Adam:
    """TensorFlow 1's update (Kingma & Ba, "Adam", 2015, the variant before section 2.1).

    With m += (g − m)(1 − β₁), v += (g² − v)(1 − β₂) and, in step t,
    α = lr √(1 − β₂ᵗ) / (1 − β₁ᵗ): w −= α m / (√v + ε). Torch's optimiser corrects v before the
    root, so that its ε counts for √(1 − β₂ᵗ) times as much: 30 times less in the first step.
    """

    variables: Sequence[Tensor]
    learning_rate: float
    first_moments: list[Tensor] = field(init=False)
    second_moments: list[Tensor] = field(init=False)
    beta_powers: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.first_moments = [torch.zeros_like(variable) for variable in self.variables]
        self.second_moments = [torch.zeros_like(variable) for variable in self.variables]
        like = self.variables[0]
        self.beta_powers = [like.new_tensor(beta) for beta in (BETA_1, BETA_2)]

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor | None]) -> None:
        """Take a step; a variable without gradient stays as it is."""
        power_1, power_2 = self.beta_powers
        rate = float32_constant(self.learning_rate) * (1.0 - power_2).sqrt() / (1.0 - power_1)
        for variable, gradient, m, v in zip(
            self.variables, gradients, self.first_moments, self.second_moments, strict=True
        ):
            if gradient is None:
                continue
            m.add_((gradient - m).mul_(1.0 - BETA_1))
            v.add_((gradient.square() - v).mul_(1.0 - BETA_2))
            variable.sub_((m * rate).div_(v.sqrt().add_(EPSILON)))
        self.beta_powers = [power_1 * BETA_1, power_2 * BETA_2]


class Trainer:
    """Trains one stage on one item, a step at a time."""

    def __init__(
        self,
        loader: StageLoader,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        settings: TrainingSettings | None = None,
    ) -> None:
        """Start from ``weights``, which are copied.

        Args:
            loader: the stage, precision and device.
            inputs: as ``TorchBackend.evaluate``; where ``samples`` are given, every step takes
                them instead of drawing.
            weights: by checkpoint key, in the checkpoint's layout.
            settings: the official ones by default.

        Raises:
            InputError: the weights are not the stage's.
        """
        self.settings = settings or TrainingSettings()
        self.taken = 0
        self._loader, self._inputs = loader, inputs
        self._network = load_network(loader.stage, weights, loader.dtype, loader.device)
        named = dict(self._network.named_parameters())
        if self.settings.frozen_cnn:
            self._network.cnn.requires_grad_(False)
        self._trained = [name for name, each in named.items() if each.requires_grad]
        self._variables = named
        trained = [named[name] for name in self._trained]
        self._adam = Adam(trained, self.settings.learning_rate)
        self._feeds = loader.feeds(inputs)
        self._maps: list[Tensor] | None = None
        self._surfaces = block_surfaces(loader.stage, inputs["template"], loader.tensor)
        self._truth = truth_of(inputs["ground_truth"], loader.tensor)
        self._factors = self.settings.loss_weights or LossWeights.of(loader.stage)

    def step(self, samples: Samples | None = None) -> Step:
        """Take one step, on ``samples`` where they are given.

        Raises:
            InputError: the loss is not finite; a mesh without area.
        """
        number = self.taken + 1
        with full_precision(), reproducible(self._loader.device):
            blocks = self._network(*self._feeds, maps=self._encoded())
            samples = samples or self._inputs.get("samples")
            if samples is None:
                draws = step_draws(self._loader.stage, self.settings.seed, number)
                template = self._inputs["template"]
                samples = draw_blocks(self._loader.stage, template, blocks, draws)
            drawn = block_samples(samples, self._loader.tensor)
            found = stage_losses(
                self._network, blocks, self._surfaces, drawn, self._truth, self._factors
            )
            # Together, so that a GPU is waited for once.
            losses = dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
            if not math.isfinite(losses["total"]):
                total = losses["total"]
                raise InputError(f"step {number}", f"the total loss is {total}", "a finite one")
            variables = [self._variables[name] for name in self._trained]
            self._adam.update(torch.autograd.grad(found["total"], variables, allow_unused=True))
        self.taken = number
        return Step(number, losses, samples, as_array(blocks[-1].after))

    def predict(self) -> np.ndarray:
        """The output mesh (2466, 3) with the weights as they are, camera frame of view 0."""
        with torch.no_grad(), full_precision(), reproducible(self._loader.device):
            return as_array(self._network(*self._feeds, maps=self._encoded())[-1].after)

    def variable(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copies of a variable, by checkpoint key, and of its two moments, in its layout."""
        row = next(row for row in WEIGHTS[self._loader.stage] if row.key == key)
        tensors: list[Tensor] = [self._variables[row.torch_key]]
        if row.torch_key in self._trained:
            place = self._trained.index(row.torch_key)
            tensors += [self._adam.first_moments[place], self._adam.second_moments[place]]
        else:
            tensors += [torch.zeros_like(tensors[0])] * 2
        value, first, second = (
            row.layout.to_checkpoint(each.detach().cpu().numpy()) for each in tensors
        )
        return value, first, second

    def state(self) -> TrainingState:
        """A copy of the state after the last step."""
        power_1, power_2 = (power.item() for power in self._adam.beta_powers)
        return TrainingState(
            step=self.taken,
            weights=self._by_key(self._variables),
            first_moments=self._by_key(self._of_all(self._adam.first_moments)),
            second_moments=self._by_key(self._of_all(self._adam.second_moments)),
            beta_powers=(power_1, power_2),
        )

    def restore(self, state: TrainingState) -> None:
        """Go on from ``state``: the next step is the one after it.

        Raises:
            InputError: an array is missing, or has another shape or precision.
        """
        first, second = self._adam.first_moments, self._adam.second_moments
        parts = (
            ("weight", state.weights, self._variables),
            ("first moment", state.first_moments, self._of_all(first)),
            ("second moment", state.second_moments, self._of_all(second)),
        )
        for word, arrays, _ in parts:
            self._check(word, arrays)
        with torch.no_grad():
            for _, arrays, tensors in parts:
                for row in WEIGHTS[self._loader.stage]:
                    values = row.layout.to_torch(arrays[row.key])
                    tensors[row.torch_key].copy_(torch.from_numpy(values))
        like = self._adam.beta_powers[0]
        self._adam.beta_powers = [like.new_tensor(power) for power in state.beta_powers]
        self.taken = state.step
        self._maps = None

    def _encoded(self) -> list[Tensor] | None:
        """The image features, where they are always the same."""
        if self.settings.frozen_cnn and self._maps is None:
            with torch.no_grad():
                self._maps = self._network.encode(self._feeds[0])
        return self._maps

    def _of_all(self, moments: Sequence[Tensor]) -> dict[str, Tensor]:
        """Moments by state-dict key; what is not trained has zeros."""
        found = dict(zip(self._trained, moments, strict=True))
        return {
            name: found[name] if name in found else torch.zeros_like(variable)
            for name, variable in self._variables.items()
        }

    def _by_key(self, tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        return checkpoint_arrays(self._loader.stage, tensors)

    def _check(self, word: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Compare names, shapes and types before anything is copied, because copies broadcast."""
        dtype = str(self._loader.dtype).removeprefix("torch.")
        for row in WEIGHTS[self._loader.stage]:
            if row.key not in arrays:
                raise InputError("training state", f"no {word} of {row.key}", "one a variable")
            found = arrays[row.key]
            if found.shape != row.shape or found.dtype != np.dtype(dtype):
                raise InputError(
                    f"training state, {word} of {row.key}",
                    f"{found.dtype} of shape {found.shape}",
                    f"{dtype} of shape {row.shape}",
                )
