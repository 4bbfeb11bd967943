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

from tf_reference.decisions import checked_pinned
from tf_reference.gradients import stage_gradients
from tf_reference.measured import checked_measured
from tf_reference.parameters import as_real, checked_weights, network_inputs
from tf_reference.runtime import tf
from weight_conversion.errors import InputError
from weight_conversion.weights import WEIGHTS

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
        InputError: inputs, weights or state are missing, of another shape or not of this stage.
    """
    real = dtype.as_numpy_dtype
    keys = {row.key for row in WEIGHTS[stage]}
    unknown = sorted((set(frozen) | set(state.first) | set(state.second)) - keys)
    if unknown:
        raise InputError("training", f"no variable {unknown[0]}", f"the {stage} stage's")
    settings = adam or Adam()
    lr, beta1, beta2, epsilon = (
        real(np.float32(value))
        for value in (settings.lr, settings.beta1, settings.beta2, settings.epsilon)
    )
    variables = _held(stage, checked_weights(stage, weights, real), "weights", real)
    first = _held(stage, state.first, "state", real)
    second = _held(stage, state.second, "state", real)
    prepared = network_inputs(stage, inputs, dtype)
    pinned = checked_pinned(stage, inputs.get("pinned"))
    losses = []
    for number in range(state.taken + 1, state.taken + n + 1):
        drawn = {"samples": samples(number)} if samples is not None else {}
        measured = checked_measured(stage, {**inputs, **drawn})
        tensors = {row.torch_key: variables[row.key].value() for row in WEIGHTS[stage]}
        found = stage_gradients(stage, prepared, tensors, measured, pinned, "total")
        losses.append({name: float(term) for name, term in found.terms.items()})
        powers = _power(beta1, number), _power(beta2, number)
        for row in WEIGHTS[stage]:
            if row.key not in frozen:
                tf.raw_ops.ResourceApplyAdam(
                    var=variables[row.key].handle,
                    m=first[row.key].handle,
                    v=second[row.key].handle,
                    beta1_power=powers[0],
                    beta2_power=powers[1],
                    lr=lr,
                    beta1=beta1,
                    beta2=beta2,
                    epsilon=epsilon,
                    grad=found.gradients[row.torch_key],
                )

    def arrays(held: "Mapping[str, tf.Variable]") -> dict[str, NDArray[Any]]:
        return {key: variable.numpy() for key, variable in held.items()}

    after = AdamState(state.taken + n, arrays(first), arrays(second))
    return Trained(arrays(variables), after, losses)
