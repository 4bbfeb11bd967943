"""Faults of training: Adam, what it is given, what is trained, what a resumed run forgets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studies.faults.injection import Injection, swapped
from torch_impl.cnn import float32_constant
from torch_impl.evaluation import Evaluation
from torch_impl.training import BETA_1, BETA_2, EPSILON, Adam, TrainingSettings

Update = Callable[[Adam, Sequence[Tensor | None]], None]


@torch.no_grad()
def updated(
    adam: Adam,
    gradients: Sequence[Tensor | None],
    *,
    inside: bool = False,
    corrected: bool = True,
    decoupled: float = 0.0,
) -> None:
    """One update of TensorFlow 1's Adam with parts that can be wrong.

    Args:
        adam: the optimiser and its state.
        gradients: one a variable.
        inside: whether v is corrected before its root is taken, as torch's Adam does, so that ε
            counts for more.
        corrected: whether the moments are corrected for having started at zero.
        decoupled: decay of the variables beside the gradient, in units of the learning rate.
    """
    power_1, power_2 = adam.beta_powers
    rate = float32_constant(adam.learning_rate)
    states = zip(adam.variables, gradients, adam.first_moments, adam.second_moments, strict=True)
    for variable, gradient, m, v in states:
        if gradient is None:
            continue
        variable.sub_(variable * (rate * decoupled))
        m.add_((gradient - m) * (1.0 - BETA_1))
        v.add_((gradient.square() - v) * (1.0 - BETA_2))
        if not corrected:
            variable.sub_(m * rate / (v.sqrt() + EPSILON))
        elif inside:
            root = (v / (1.0 - power_2)).sqrt()
            variable.sub_(m / (1.0 - power_1) * rate / (root + EPSILON))
        else:
            step = rate * (1.0 - power_2).sqrt() / (1.0 - power_1)
            variable.sub_(m * step / (v.sqrt() + EPSILON))
    adam.beta_powers = [power_1 * BETA_1, power_2 * BETA_2]


def update(function: Update) -> Injection:
    """Another update."""

    def around() -> AbstractContextManager[None]:
        return swapped(Adam, "update", lambda _: function)

    return Injection(around=(around,))


def gradients(edit: Callable[[Tensor, Tensor], Tensor]) -> Injection:
    """The official update given other gradients: ``edit`` of a gradient and its variable."""

    def make(official: Update) -> Update:
        def changed(adam: Adam, given: Sequence[Tensor | None]) -> None:
            with torch.no_grad():
                edited = [
                    None if gradient is None else edit(gradient, variable)
                    for gradient, variable in zip(given, adam.variables, strict=True)
                ]
            official(adam, edited)

        return changed

    def around() -> AbstractContextManager[None]:
        return swapped(Adam, "update", make)

    return Injection(around=(around,))


def settings(**changed: Any) -> Injection:
    """A training run set up with other settings."""

    def edit(given: TrainingSettings) -> TrainingSettings:
        return replace(given, **changed)

    return Injection(settings=edit)


def frozen() -> Injection:
    """The image network left out of training: no gradient and no step."""

    def edit(found: Evaluation) -> Evaluation:
        kept = {
            key: np.zeros_like(value) if "/cnn/" in key else value
            for key, value in found.gradients.items()
        }
        return replace(found, gradients=kept)

    return replace(settings(frozen_cnn=True), evaluation=edit)


def one_power_ahead() -> Injection:
    """Steps counted from 1 where they are counted from 0: both powers one step ahead."""

    def make(official: Update) -> Update:
        def changed(adam: Adam, given: Sequence[Tensor | None]) -> None:
            power_1, power_2 = adam.beta_powers
            adam.beta_powers = [power_1 * BETA_1, power_2 * BETA_2]
            official(adam, given)
            adam.beta_powers = [power_1 * BETA_1, power_2 * BETA_2]

        return changed

    def around() -> AbstractContextManager[None]:
        return swapped(Adam, "update", make)

    return Injection(around=(around,))
