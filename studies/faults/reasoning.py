"""Faults of the refine stage's own parts: hypotheses, reasoning blocks, scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.hypotheses import HYPOTHESES, Hypotheses
from network.registry import network_of
from studies.faults.injection import Arrays, Injection, Inputs, swapped
from studies.faults.places import block_end, local
from torch_impl import refine
from torch_impl.graph import Support
from torch_impl.listening import Listener, tell

Join = Callable[[Tensor, Tensor], Tensor]


def _plus(x: Tensor, other: Tensor) -> Tensor:
    return x + other


@dataclass(frozen=True)
class Reasoning:
    """What a block does beside its six convolutions, with parts that can be wrong.

    Attributes:
        first: makes x3 from the third convolution's output and x1.
        second: makes x5 from the fifth convolution's output and x3.
        from_first: x1 instead of x3 goes into ``second``.
        score: logits (V, 43, 1) to weights of the same shape.
        used: what the weights go through after they were told and before they are used.
    """

    first: Join = _plus
    second: Join = _plus
    from_first: bool = False
    score: Callable[[Tensor], Tensor] = lambda logits: logits.softmax(dim=1)
    used: Callable[[Tensor], Tensor] = lambda score: score

    def forward(
        self, block: Any, features: Tensor, support: Support, listen: Listener | None
    ) -> Tensor:
        """As ``ReasoningBlock.forward``."""

        def convolve(index: int, x: Tensor) -> Tensor:
            layer = local(block.first + index).removeprefix(f"{block.name}.")
            result: Tensor = block.get_submodule(layer)(x, support)
            tell(listen, f"{block.name}.{layer}", result)
            return result

        x1 = convolve(0, features)
        x3 = self.first(convolve(2, convolve(1, x1)), x1)
        tell(listen, f"{block.name}.residual_1", x3)
        x5 = self.second(convolve(4, convolve(3, x3)), x1 if self.from_first else x3)
        tell(listen, f"{block.name}.residual_2", x5)
        score = self.score(convolve(5, x5))
        tell(listen, f"{block.name}.score", score)
        return self.used(score)


def reasoning(variant: Reasoning, block: int) -> Injection:
    """One block (counted from 0) computed by a variant."""

    def edit(network: Any) -> None:
        module = network.get_submodule(block_end(block + 1))

        def forward(features: Tensor, support: Support, listen: Listener | None = None) -> Tensor:
            return variant.forward(module, features, support, listen)

        module.forward = forward

    return Injection(network=edit)


def best_alone(score: Tensor) -> Tensor:
    """All weight on the hypothesis of the highest score."""
    best = score.argmax(dim=1, keepdim=True)
    return torch.zeros_like(score).scatter(1, best, 1.0)


def over_vertices(logits: Tensor) -> Tensor:
    """A softmax over the wrong axis, as when vertices and hypotheses are mixed up."""
    return logits.softmax(dim=0)


def normalised(logits: Tensor) -> Tensor:
    """Weights that add up to 1 without an exponential."""
    return logits / logits.sum(dim=1, keepdim=True).clamp(min=1e-12)


def hypotheses(edit: Callable[[Hypotheses], Hypotheses]) -> Injection:
    """Other hypotheses than the ones given."""

    def change(_: str, inputs: Inputs) -> Inputs:
        return {**inputs, "hypotheses": edit(inputs["hypotheses"])}

    return Injection(inputs=change)


def centre_missing() -> Injection:
    """The 42 points alone, and the graph without the centre's row and column."""

    def edit(given: Hypotheses) -> Hypotheses:
        return replace(given, offsets=given.offsets[1:], supports=given.supports[:, 1:, 1:])

    found = hypotheses(edit)
    if not hasattr(refine, "OFFSETS"):
        return found
    return replace(found, around=(lambda: swapped(refine, "OFFSETS", lambda _: HYPOTHESES - 1),))


def centre_last(given: Hypotheses) -> Hypotheses:
    """The offsets with the centre last, while the graph has it first."""
    return replace(given, offsets=np.roll(given.offsets, -1, axis=0))


def other_support(edit: Callable[[np.ndarray], np.ndarray]) -> Injection:
    """An edit of the second support (43, 43)."""

    def change(given: Hypotheses) -> Hypotheses:
        first, second = given.supports
        return replace(given, supports=np.stack([first, edit(second)]).astype(np.float32))

    return hypotheses(change)


def without_loops(matrix: np.ndarray) -> np.ndarray:
    """The support without what stands on its diagonal."""
    return matrix - np.diag(np.diag(matrix))


def second_block_as_first() -> Injection:
    """The second block run with the weights of the first."""

    def change(stage: str, weights: Arrays) -> Arrays:
        found = dict(weights)
        layers = network_of(stage).of_layer("local_graph_convolution")
        half = len(layers) // 2
        for first, second in zip(layers[:half], layers[half:], strict=True):
            for name, key in second.variables.items():
                found[key] = weights[first.variables[name]]
        return found

    return Injection(weights=change)
