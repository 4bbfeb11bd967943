"""Training steps with TensorFlow 1's Adam, by TensorFlow's own kernel of it.

With m and v the running means of the gradient and of its square, step t does

    lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t),    w -= lr_t m / (sqrt(v) + epsilon)

(Kingma and Ba, end of section 2): epsilon stands outside the bias correction, unlike in the
paper's algorithm 1. The graph's hyperparameters are float32, and the powers of beta are float32
products, one factor a step.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.weights import WEIGHTS
from tf_reference.gradients import stage_gradients
from tf_reference.measured import checked_measured
from tf_reference.parameters import as_real, checked_weights, network_inputs
from tf_reference.runtime import tf
from weight_conversion.errors import InputError

Samples = Callable[[int], Mapping[str, Any]]
"""The draws ``face_b``, ``r1_b``, ``r2_b`` of a step, by its number from 1."""


@dataclass(frozen=True)
class Adam:
    """Hyperparameters, as official; each is rounded to float32."""

    lr: float = 1e-5
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class AdamState:
    """What Adam remembers between steps.

    Attributes:
        taken: how many steps were taken.
        first: by checkpoint key the running mean of the gradient; zeros where missing.
        second: that of its square.
    """

    taken: int = 0
    first: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    second: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """What some steps led to.

    Attributes:
        weights: by checkpoint key, in the checkpoint's layout and the run's precision.
        state: to go on from.
        losses: the terms before each step.
    """

    weights: dict[str, NDArray[Any]]
    state: AdamState
    losses: list[dict[str, float]]


def _held(
    stage: str,
    values: Mapping[str, Any],
    name: str,
    real: type[np.floating[Any]],
) -> "dict[str, tf.Variable]":
    """TensorFlow variables by checkpoint key; zeros for those that ``values`` lacks."""
    held = {}
    for row in WEIGHTS[stage]:
        value = values.get(row.key)
        start = np.zeros(row.shape, real) if value is None else value
        held[row.key] = tf.Variable(as_real(start, f"{name}/{row.key}", row.shape, real))
    return held


def _power(base: np.floating[Any], exponent: int) -> np.floating[Any]:
    """The product as the graph's accumulators reach it, rounded after each factor."""
    product = base
    for _ in range(exponent - 1):
        product = product * base
    return product


class Training:
    """Training on one item, a step at a time; the variables stay with TensorFlow in between.

    Args:
        stage: "coarse" or "refine".
        inputs: as for the losses.
        weights: by checkpoint key, in the checkpoint's layout.
        state: ``AdamState()`` at the beginning.
        dtype: the run's precision.
        adam: hyperparameters; the official ones by default.
        frozen: checkpoint keys of variables that keep their values.

    Attributes:
        taken: how many steps were taken.

    Raises:
        InputError: inputs, weights or state are missing, of another shape or not of this stage.
    """

    def __init__(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        weights: Mapping[str, Any],
        state: AdamState,
        dtype: "tf.DType",
        adam: Adam | None = None,
        frozen: Collection[str] = (),
    ) -> None:
        real = dtype.as_numpy_dtype
        keys = {row.key for row in WEIGHTS[stage]}
        unknown = sorted((set(frozen) | set(state.first) | set(state.second)) - keys)
        if unknown:
            raise InputError("training", f"no variable {unknown[0]}", f"the {stage} stage's")
        settings = adam or Adam()
        self.taken = state.taken
        self._stage, self._inputs, self._frozen = stage, inputs, frozenset(frozen)
        self._lr, self._beta1, self._beta2, self._epsilon = (
            real(np.float32(value))
            for value in (settings.lr, settings.beta1, settings.beta2, settings.epsilon)
        )
        self._variables = _held(stage, checked_weights(stage, weights, real), "weights", real)
        self._first = _held(stage, state.first, "state", real)
        self._second = _held(stage, state.second, "state", real)
        self._prepared = network_inputs(stage, inputs, dtype)

    def step(self, samples: Mapping[str, Any] | None = None) -> dict[str, float]:
        """Take a step and give the loss terms before it.

        Args:
            samples: the step's draws; ``inputs["samples"]`` by default.

        Raises:
            InputError: there are no samples, or unusable ones.
        """
        drawn = {} if samples is None else {"samples": samples}
        measured = checked_measured(self._stage, {**self._inputs, **drawn})
        rows = WEIGHTS[self._stage]
        tensors = {row.torch_key: self._variables[row.key].value() for row in rows}
        with tf.device(next(iter(self._variables.values())).device):
            found = stage_gradients(self._stage, self._prepared, tensors, measured, "total")
        self.taken += 1
        powers = _power(self._beta1, self.taken), _power(self._beta2, self.taken)
        for row in rows:
            if row.key not in self._frozen:
                tf.raw_ops.ResourceApplyAdam(
                    var=self._variables[row.key].handle,
                    m=self._first[row.key].handle,
                    v=self._second[row.key].handle,
                    beta1_power=powers[0],
                    beta2_power=powers[1],
                    lr=self._lr,
                    beta1=self._beta1,
                    beta2=self._beta2,
                    epsilon=self._epsilon,
                    grad=found.gradients[row.torch_key],
                )
        return {name: float(term) for name, term in found.terms.items()}

    def variable(self, key: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Copies of a variable and of its two moments, in the checkpoint's layout."""
        held = (self._variables, self._first, self._second)
        value, first, second = (each[key].numpy().copy() for each in held)
        return value, first, second

    def weights(self) -> dict[str, NDArray[Any]]:
        """The variables by checkpoint key."""
        return {key: variable.numpy() for key, variable in self._variables.items()}

    def state(self) -> AdamState:
        """What Adam remembers."""
        first, second = (
            {key: variable.numpy() for key, variable in held.items()}
            for held in (self._first, self._second)
        )
        return AdamState(self.taken, first, second)


def steps(
    stage: str,
    inputs: Mapping[str, Any],
    weights: Mapping[str, Any],
    state: AdamState,
    n: int,
    dtype: "tf.DType",
    adam: Adam | None = None,
    samples: Samples | None = None,
    frozen: Collection[str] = (),
) -> Trained:
    """Take ``n`` training steps on one item.

    Args:
        stage: "coarse" or "refine".
        inputs: as for the losses.
        weights: by checkpoint key, in the checkpoint's layout.
        state: ``AdamState()`` at the beginning.
        n: how many steps.
        dtype: the run's precision.
        adam: hyperparameters; the official ones by default.
        samples: new draws for each step; ``inputs["samples"]`` for all of them by default.
        frozen: checkpoint keys of variables that keep their values.

    Raises:
        InputError: as ``Training`` and its ``step``.
    """
    training = Training(stage, inputs, weights, state, dtype, adam, frozen)
    losses = [
        training.step(None if samples is None else samples(number))
        for number in range(state.taken + 1, state.taken + n + 1)
    ]
    return Trained(training.weights(), training.state(), losses)
