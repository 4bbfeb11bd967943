"""The torch implementation as a backend: NumPy in the checkpoint's layout in and out."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.sampling import step_draws
from torch_impl.coarse import BlockMeshes, Coarse
from torch_impl.evaluation import (
    Evaluation,
    block_samples,
    block_surfaces,
    draw_blocks,
    gradient_of,
    reproducible,
    truth_of,
)
from torch_impl.listening import Listener
from torch_impl.loading import StageLoader, as_array, load_network
from torch_impl.losses import LossWeights, stage_losses
from torch_impl.precision import full_precision
from torch_impl.refine import Refine
from torch_impl.tap_gradients import Watch, watching
from torch_impl.training import Step, Trainer, TrainingState
from weight_conversion.errors import InputError

Listen = Callable[[str, np.ndarray], None]


def factory(stage: str, dtype: str = "float32", device: str = "cpu") -> "TorchBackend":
    """A backend for one stage.

    Args:
        stage: "coarse" or "refine".
        dtype: "float32" or "float64".
        device: a torch device, such as "cpu" or "cuda:0".

    Raises:
        InputError: an unknown dtype, or a device that torch does not see.
    """
    return TorchBackend(stage, dtype, device)


class TorchBackend(StageLoader):
    """Runs ``Coarse`` or ``Refine`` on one device in one precision."""

    def __init__(self, stage: str, dtype: str, device: str) -> None:
        super().__init__(stage, dtype, device)
        self._loaded: tuple[Mapping[str, np.ndarray], Coarse | Refine] | None = None

    def load(self, weights: Mapping[str, np.ndarray]) -> Coarse | Refine:
        """The network with these weights, kept for further runs with the same mapping."""
        if self._loaded is None or self._loaded[0] is not weights:
            self._loaded = (weights, load_network(self.stage, weights, self.dtype, self.device))
        return self._loaded[1]

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray:
        """Run the stage forward.

        Args:
            inputs: ``images``, ``cameras``, ``mesh``, ``template`` (coarse) or ``hypotheses``
                (refine).
            weights: checkpoint variables by key, in the checkpoint's layout.
            listen: called once a tap with its name and value; its attribute ``wants(tap)``, where
                it has one, selects taps.

        Returns:
            The output mesh (2466, 3), camera frame of view 0.
        """
        network = self.load(weights)
        with torch.no_grad(), full_precision():
            blocks = self.forward(network, inputs, None if listen is None else _ToNumPy(listen))
        return as_array(blocks[-1].after)

    def by_vertices(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen
    ) -> Callable[[slice, Listen], None]:
        """Run the refine stage, which mixes nothing between vertices, on some of them at a time.

        Args:
            inputs: as ``run``.
            weights: as ``run``.
            listen: told the taps of the images, which are computed once.

        Returns:
            To be called with some vertices, as a slice of the mesh, and whom to tell their taps.
        """
        network = self.load(weights)
        images, cameras, mesh, *graph = self.feeds(inputs)
        with torch.no_grad(), full_precision():
            maps = network.encode(images, _ToNumPy(listen))

        def some(vertices: slice, listen: Listen) -> None:
            with torch.no_grad(), full_precision():
                network(images, cameras, mesh[vertices], *graph, _ToNumPy(listen), maps)

        return some

    def losses(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], **options: Any
    ) -> dict[str, float]:
        """All loss terms by their trace names; arguments and errors as ``evaluate``."""
        return self.evaluate(inputs, weights, **options).losses

    def gradients(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        term: str = "total",
        **options: Any,
    ) -> dict[str, np.ndarray]:
        """The gradient of a loss term; arguments and errors as ``evaluate``."""
        return self.evaluate(inputs, weights, term=term, **options).gradients

    def watched_gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Watch
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Losses and the total's gradients; ``watch`` is told value and gradient at every tap."""
        found = self.evaluate(inputs, weights, term="total", watch=watch)
        return found.losses, found.gradients

    def evaluate(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        *,
        term: str | None = None,
        loss_weights: LossWeights | None = None,
        watch: Watch | None = None,
    ) -> Evaluation:
        """Losses, and the gradient of one of them.

        Args:
            inputs: as ``run``, the template for both stages, and ``ground_truth``; ``samples``,
                or else points are drawn with ``sampling_seed`` (0 by default).
            weights: as ``run``.
            term: the loss term to differentiate; None for no gradients.
            loss_weights: factors of the terms, the official ones of the stage by default.
            watch: told the value and the gradient at every tap.

        Raises:
            InputError: no such term, ground truth without normals, or a mesh without area.
        """
        network = self.load(weights)
        factors = LossWeights.of(self.stage) if loss_weights is None else loss_weights
        mesh = self.tensor(inputs["mesh"]).requires_grad_(term is not None)
        with (
            full_precision(),
            reproducible(self.device),
            torch.set_grad_enabled(term is not None),
            watching(network, watch) as taps,
        ):
            blocks = self.forward(network, inputs, taps, mesh)
            samples = inputs.get("samples")
            if samples is None:
                draws = step_draws(self.stage, inputs.get("sampling_seed", 0), 0)
                samples = draw_blocks(self.stage, inputs["template"], blocks, draws)
            terms = stage_losses(
                network,
                blocks,
                block_surfaces(self.stage, inputs["template"], self.tensor),
                block_samples(samples, self.tensor),
                truth_of(inputs["ground_truth"], self.tensor),
                factors,
            )
            gradients: dict[str, np.ndarray] = {}
            if term is not None:
                if term not in terms:
                    raise InputError("loss term", repr(term), ", ".join(terms))
                gradients = gradient_of(self.stage, terms[term], network, mesh)
        return Evaluation(
            losses=dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True)),
            gradients=gradients,
            samples=samples,
            meshes=tuple(as_array(block.after) for block in blocks),
        )

    def steps(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        count: int,
        **options: Any,
    ) -> Iterator[tuple[Step, TrainingState]]:
        """``count`` optimiser steps from ``weights``: each with the state that it leaves.

        Arguments and errors as ``training.Trainer``; its ``settings`` are the official ones by
        default.
        """
        trainer = Trainer(self, inputs, weights, **options)
        for _ in range(count):
            yield trainer.step(), trainer.state()

    def forward(
        self,
        network: Coarse | Refine,
        inputs: Mapping[str, Any],
        listen: Listener | None = None,
        mesh: Tensor | None = None,
        maps: list[Tensor] | None = None,
    ) -> list[BlockMeshes]:
        """The forward pass on ``inputs``, or on ``mesh`` and ``maps`` in place of theirs."""
        images, cameras, given, *graph = self.feeds(inputs)
        mesh = given if mesh is None else mesh
        blocks: list[BlockMeshes] = network(images, cameras, mesh, *graph, listen, maps)
        return blocks


def versions() -> dict[str, str]:
    """Versions that the numbers of this backend depend on."""
    found = {"torch": str(torch.__version__)}
    if torch.version.cuda is not None:
        found["cuda"] = torch.version.cuda
    return found


class _ToNumPy:
    """Passes the network's tensors on to a backend's listener as NumPy arrays."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._wants: Callable[[str], bool] = getattr(listen, "wants", lambda _: True)

    def tap(self, name: str, value: Tensor) -> None:
        if self._wants(name):
            self._listen(name, as_array(value))
