"""One run of the study: the coarse stage overfitted on one item under named settings."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.initial import initial_weights
from inputs.sampling import choose_faces, step_draws
from parity.traces.record import RunInputs
from studies.spikes.losses import LOSS_CHANGES, irregular_terms, scaled, slope
from studies.spikes.network import (
    Levelled,
    autocast_cnn,
    convolving,
    coordinate_layers,
    graph_convolutions,
    half_camera,
    pad_symmetrically,
    remove_biases,
    start_at_centre,
    start_smooth,
)
from torch_impl.backend import factory
from torch_impl.coarse import BlockMeshes, Coarse
from torch_impl.evaluation import (
    block_samples,
    block_surfaces,
    checkpoint_arrays,
    reproducible,
    truth_of,
)
from torch_impl.graph import unpool
from torch_impl.loading import as_array, load_network
from torch_impl.losses import LossWeights, Surface, stage_losses
from torch_impl.precision import full_precision
from torch_impl.training import Adam
from weight_conversion.errors import InputError

FACTORS = (
    "frozen_cnn",
    "half_camera",
    "no_gcn_bias",
    "block1_unregularised",
    "symmetric_pad",
    "autocast_cnn",
    "edge_359",
    "coupled_l2",
)
"""What the paper's port does otherwise than the official code, while it trains."""

INTERVENTIONS = (
    "level_rows",
    "level_rows_coordinates",
    "level_rows_hidden",
    "bias_at_centre",
    "smooth_start",
    *LOSS_CHANGES,
)
"""Changes that no port has, made to find out what brings and what removes spikes."""

COUPLED_L2 = 1e-5
BLOCK1_LAPLACE = 0.2


@dataclass(frozen=True)
class RunSettings:
    """What one run is.

    Attributes:
        switched_on: factors and interventions by name.
        seed: of initial values and drawn points.
        learning_rate: Adam's.
        blocks: how many of the coarse stage's three blocks are run and trained. The first two have
            a quarter of the vertices and a fifth of the cost.
    """

    switched_on: frozenset[str]
    seed: int = 0
    learning_rate: float = 1e-4
    blocks: int = 3

    def __post_init__(self) -> None:
        unknown = sorted(self.switched_on - set(FACTORS) - set(INTERVENTIONS))
        if unknown:
            raise InputError(
                "study", f"no setting {unknown[0]!r}", ", ".join((*FACTORS, *INTERVENTIONS))
            )


class _DoneError(Exception):
    """The last wanted block is done."""


class StudyTrainer:
    """Trains the coarse stage, a step at a time, under ``RunSettings``.

    The steps are those of ``torch_impl.training`` where nothing is switched on.
    """

    def __init__(self, inputs: RunInputs, settings: RunSettings) -> None:
        if inputs.ground_truth is None:
            raise InputError("study", "an item without ground truth", "points to compare with")
        self.settings, self.taken = settings, 0
        self._on = settings.switched_on
        self._template = inputs.template
        self._backend = factory("coarse")
        weights = initial_weights("coarse", settings.seed)
        network = load_network("coarse", weights)
        assert isinstance(network, Coarse)
        self.network = network
        self._images, self._cameras, self._mesh, self._graph = self._backend.feeds(inputs.mapping())
        self._change_network()
        self._surfaces = block_surfaces("coarse", inputs.template, self._backend.tensor)
        self._truth = truth_of(inputs.ground_truth, self._backend.tensor)
        edge = 359.0 if "edge_359" in self._on else 350.0
        self._factors = scaled(LossWeights(edge=edge), self._on)
        self._variables: dict[str, Tensor] = {
            name: each for name, each in network.named_parameters() if each.requires_grad
        }
        self._adam = Adam(list(self._variables.values()), settings.learning_rate)
        self._maps: list[Tensor] | None = None
        layers = frozenset(graph_convolutions(network))
        last = frozenset(coordinate_layers(network))
        self._levelled = {
            "level_rows": Levelled(layers),
            "level_rows_coordinates": Levelled(last),
            "level_rows_hidden": Levelled(layers - last),
        }

    def _change_network(self) -> None:
        if "no_gcn_bias" in self._on:
            remove_biases(self.network)
        if "bias_at_centre" in self._on:
            start_at_centre(self.network, self._mesh)
        if "smooth_start" in self._on:
            start_smooth(self.network)
        if "symmetric_pad" in self._on:
            pad_symmetrically(self.network.cnn)
        if "frozen_cnn" in self._on:
            self.network.cnn.requires_grad_(False)

    @contextmanager
    def _deviating(
        self,
        extra: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
        levelled: frozenset[str] | None = None,
    ) -> Iterator[None]:
        """The run's changes of the forward pass in force, ``extra`` ones too, others not.

        ``levelled``: layers whose rows are levelled besides.
        """
        on = (self._on | extra) - without
        with ExitStack() as stack:
            stack.enter_context(full_precision())
            stack.enter_context(reproducible(self._backend.device))
            if "half_camera" in on:
                stack.enter_context(half_camera())
            if "autocast_cnn" in on:
                stack.enter_context(autocast_cnn(self.network.cnn))
            for name, change in self._levelled.items():
                if name in on:
                    stack.enter_context(convolving(change, self.network))
            if levelled is not None:
                stack.enter_context(convolving(Levelled(levelled), self.network))
            yield

    def _blocks(self) -> list[BlockMeshes]:
        maps = self._maps
        if "frozen_cnn" in self._on and maps is None:
            with torch.no_grad():
                maps = self._maps = self.network.encode(self._images)
        wanted = self.settings.blocks
        given = (self._images, self._cameras, self._mesh, self._graph)
        if wanted == 3:
            blocks: list[BlockMeshes] = self.network(*given, maps=maps)
            return blocks
        found: list[BlockMeshes] = []
        before = [self._mesh]

        def take(_: Any, __: Any, after: Tensor) -> None:
            found.append(BlockMeshes(before[-1], after))
            if len(found) == wanted:
                raise _DoneError
            before.append(unpool(after, self._graph.unpooling[len(found) - 1]))

        handles = [
            layer.register_forward_hook(take) for layer in coordinate_layers(self.network).values()
        ]
        try:
            self.network(*given, maps=maps)
        except _DoneError:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return found

    def step(self) -> dict[str, float]:
        """Take a step; the loss terms before it by their trace names, weighted as in the total.

        Raises:
            InputError: the loss is not finite.
        """
        number = self.taken + 1
        with self._deviating():
            terms = self._terms(self._blocks(), number)
            total = self._total(terms)
            if not math.isfinite(total.item()):
                raise InputError(f"step {number}", "the loss is not finite", "a finite one")
            variables = list(self._variables.values())
            gradients = list(torch.autograd.grad(total, variables, allow_unused=True))
            if "coupled_l2" in self._on:
                gradients = [
                    None if gradient is None else gradient + COUPLED_L2 * variable.detach()
                    for gradient, variable in zip(gradients, variables, strict=True)
                ]
            self._adam.update(gradients)
        self.taken = number
        losses = {name: value.item() for name, value in terms.items()}
        losses["total"] = total.item()
        return losses

    def _terms(self, blocks: list[BlockMeshes], number: int) -> dict[str, Tensor]:
        """All loss terms of step ``number``, weighted as in the official total."""
        draws = step_draws("coarse", self.settings.seed, number)
        samples: dict[str, np.ndarray] = {}
        for block, numbers in enumerate(draws[: len(blocks)], start=1):
            mesh = as_array(blocks[block - 1].after)
            face = choose_faces(mesh, self._template.faces[block - 1], numbers.place)
            samples |= {f"face_{block}": face, f"r1_{block}": numbers.r1}
            samples[f"r2_{block}"] = numbers.r2
        drawn = block_samples(samples, self._backend.tensor)
        surfaces: list[Surface] = list(self._surfaces[: len(blocks)])
        terms = stage_losses(self.network, blocks, surfaces, drawn, self._truth, self._factors)
        if "irregular_mean" in self._on:
            terms |= irregular_terms(blocks, surfaces, self._factors)
        return terms

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        if "block1_unregularised" in self._on:
            terms["laplace_1"] = terms["laplace_1"] * BLOCK1_LAPLACE
            terms["move_1"] = terms["move_1"] * 0.0
        elif not self._on & {"coupled_l2", "irregular_mean"}:
            return terms["total"]
        left_out = {"total"} | ({"decay"} if "coupled_l2" in self._on else set())
        return torch.stack([term for name, term in terms.items() if name not in left_out]).sum()

    def meshes(
        self,
        extra: frozenset[str] = frozenset(),
        without: frozenset[str] = frozenset(),
        levelled: frozenset[str] | None = None,
    ) -> list[np.ndarray]:
        """The output mesh of each block as the network is now, some changes added or left out.

        ``levelled`` names layers whose rows are levelled besides.
        """
        with torch.no_grad(), self._deviating(extra, without, levelled):
            return [as_array(block.after) for block in self._blocks()]

    def layers(self) -> list[str]:
        """The graph convolutions of the blocks that are run, in order."""
        ends = list(coordinate_layers(self.network))
        names = list(graph_convolutions(self.network))
        return names[: names.index(ends[self.settings.blocks - 1]) + 1]

    def slopes(self) -> dict[str, float]:
        """Each loss term's slope along the mode, in the block's own output; see ``slope``.

        Those of the next step's draws, weighted as in the run's total.
        """
        with torch.no_grad(), self._deviating():
            given = self._blocks()
        blocks = [
            BlockMeshes(block.before, block.after.detach().clone().requires_grad_())
            for block in given
        ]
        with full_precision(), reproducible(self._backend.device):
            terms = self._terms(blocks, self.taken + 1)
            self._total(terms)  # weighs block 1's terms as the run does
            return slope(terms, blocks, self._surfaces[: len(blocks)])

    def weights(self) -> dict[str, np.ndarray]:
        """All variables by checkpoint key, in the checkpoint's layout."""
        return checkpoint_arrays("coarse", self.network.state_dict())

    def arrays(self) -> dict[str, np.ndarray]:
        """All that the next step depends on, beside the item and the settings."""
        found = {"step": np.array(self.taken)}
        for part, tensors in self._parts().items():
            found |= {f"{part}|{name}": as_array(value) for name, value in tensors.items()}
        return found

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on from ``arrays``."""
        with torch.no_grad():
            for part, tensors in self._parts().items():
                for name, value in tensors.items():
                    value.copy_(torch.from_numpy(np.array(arrays[f"{part}|{name}"])))
        self.taken = int(arrays["step"])
        self._maps = None

    def _parts(self) -> dict[str, dict[str, Tensor]]:
        # What is frozen comes from the seed again.
        names = list(self._variables)
        return {
            "weight": dict(self._variables),
            "first": dict(zip(names, self._adam.first_moments, strict=True)),
            "second": dict(zip(names, self._adam.second_moments, strict=True)),
            "power": {str(k): power for k, power in enumerate(self._adam.beta_powers)},
        }
