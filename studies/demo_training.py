"""One coarse stage overfitted on several items: how the demo's weights are made.

The network is the official one; how it is trained is free, and chosen so that minutes of one core
do. It learns to put every vertex where a mesh fitted to the item's points has it
(``inputs.demo.fit``), so that it never has to unfold anything.

Blocks are trained one after the other, each on what the ones before it give. A block's last layer
is linear in its weights, so it is not trained but solved for in every step, by least squares over
the vertices of all items (variable projection: Golub and Pereyra 1973; the gradient at the solution
needs no derivative of it). The block's other matrices follow Muon (Jordan 2024): momentum whose
singular values are evened out by five Newton-Schulz steps; biases follow Adam. The learning rate
rises, then falls along half a cosine. The image encoder is frozen.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inputs.graphs import edges_of
from network.registry import network_of
from parity.traces.record import RunInputs
from torch_impl.backend import factory
from torch_impl.coarse import HIDDEN, LAYERS, Coarse, CoarseGraph, layer_name
from torch_impl.evaluation import checkpoint_arrays, reproducible
from torch_impl.graph import GraphConvolution, Support, mix, unpool
from torch_impl.loading import as_array, load_network
from torch_impl.precision import full_precision
from torch_impl.projection import nearest_cells, nearest_features, pixels, view_statistics
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

PLACE = 3000.0
"""Factor of the mean squared distance of vertices from where they should be."""
SHAPE = 2.0
"""What a vertex's difference from its neighbours' mean counts against its place."""
RIDGE = 1e-7
"""Of the least squares, against the features' mean square."""
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
BIAS_RATE = 0.03
"""A bias's learning rate against a matrix's, whose step has singular values of about 1."""


@dataclass(frozen=True)
class DemoTraining:
    """What one training is.

    Attributes:
        steps: of each block.
        learning_rate: at its highest, after ``warm_up`` steps of a block.
        warm_up: steps over which it rises in proportion.
    """

    steps: tuple[int, int, int]
    learning_rate: float
    warm_up: int = 10

    def rate(self, block: int, step: int) -> float:
        """The learning rate of a block's step, counted from 1."""
        fall = 0.5 * (1.0 + math.cos(math.pi * (step - 1) / self.steps[block]))
        return self.learning_rate * min(1.0, step / self.warm_up) * fall


@dataclass(eq=False)
class _Item:
    """One item: what it feeds, where its vertices should be, and what the blocks so far gave."""

    maps: list[Tensor]
    cameras: Tensor
    graph: CoarseGraph
    target: Tensor
    mesh: Tensor
    hidden: Tensor | None = None
    read: Tensor = field(init=False)


class CoarseTrainer:
    """Trains the graph convolutions of the coarse stage, all items in every step."""

    def __init__(
        self,
        training: DemoTraining,
        inputs: Mapping[str, RunInputs],
        targets: Mapping[str, np.ndarray],
        weights: Mapping[str, np.ndarray],
    ) -> None:
        """Start from ``weights``.

        Args:
            training: how.
            inputs: by item.
            targets: by item, where the finest level's vertices (V, 3) go, camera frame of
                view 0; the first of them are the coarser levels'.
            weights: by checkpoint key, in the checkpoint's layout.

        Raises:
            InputError: the weights are not the stage's.
        """
        self.training, self.block, self.taken = training, 0, 0
        backend = factory("coarse")
        network = load_network("coarse", weights).requires_grad_(False)
        assert isinstance(network, Coarse)
        self._network = network
        self._items: dict[str, _Item] = {}
        for name, item in inputs.items():
            images, cameras, mesh, graph = backend.feeds(item.mapping())
            with torch.no_grad(), full_precision():
                maps = network.encode(images)
            target = backend.tensor(targets[name])
            self._items[name] = _Item(maps, cameras, graph, target, mesh)
        template = next(iter(inputs.values())).template
        self._differences = [neighbour_differences(faces) for faces in template.faces]
        self._middle = torch.cat([item.target for item in self._items.values()]).mean(dim=0)
        self._begin()

    @property
    def done(self) -> bool:
        """Whether all blocks are trained."""
        return self.block == len(LAYERS)

    def step(self) -> dict[str, float]:
        """Take a step, or go on to the next block where all are taken.

        Returns:
            The block's loss before the step, and each item's root mean square distance.

        Raises:
            InputError: the loss is not finite.
        """
        with full_precision(), reproducible(torch.device("cpu")):
            while not self.done and self.taken == self.training.steps[self.block]:
                self._finish()
            return {} if self.done else self._step()

    def weights(self) -> dict[str, np.ndarray]:
        """All variables by checkpoint key, in the checkpoint's layout."""
        return checkpoint_arrays("coarse", self._network.state_dict())

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on, beside the items and the start."""
        arrays: dict[str, Any] = {
            "training": np.array(json.dumps(asdict(self.training))),
            "at": np.array([self.block, self.taken]),
        }
        for part, tensors in self._parts().items():
            arrays |= {f"{part}|{name}": as_array(value) for name, value in tensors.items()}
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    def restore(self, path: Path) -> None:
        """Go on from what ``save`` wrote.

        Raises:
            InputError: damaged, or the state of another training.
        """
        expected = json.loads(json.dumps(asdict(self.training)))
        found = None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                found = json.loads(str(file["training"]))
                if found == expected:
                    self._take(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(path, "damaged", "the state of a training") from error
        if found != expected:
            raise InputError(path, f"the training {found}", f"{expected}, to go on with it")

    def _take(self, file: Mapping[str, np.ndarray]) -> None:
        block, taken = (int(number) for number in file["at"])
        variables = dict(self._graph_variables())
        for name, value in variables.items():
            _copy(value, file[f"weight|{name}"])
        with full_precision(), reproducible(torch.device("cpu")):
            for _ in range(block):
                self._pass_on()
        for part in ("first", "second"):
            for name, value in self._parts()[part].items():
                _copy(value, file[f"{part}|{name}"])
        self.taken = taken

    def _graph_variables(self) -> list[tuple[str, Tensor]]:
        named = self._network.named_parameters()
        encoder = {row.torch_key for row in network_of("coarse").encoder}
        return [(name, value) for name, value in named if name not in encoder]

    def _parts(self) -> dict[str, dict[str, Tensor]]:
        return {
            "weight": dict(self._graph_variables()),
            "first": {str(place): value for place, value in enumerate(self._first)},
            "second": {str(place): value for place, value in enumerate(self._second)},
        }

    def _begin(self) -> None:
        """Read what the block reads, and forget the moments."""
        self._variables = []
        if not self.done:
            layers = [self._layer(index) for index in range(LAYERS[self.block] - 1)]
            self._variables = [each for layer in layers for each in layer.parameters()]
            for item in self._items.values():
                cells = nearest_cells(pixels(item.mesh, item.cameras))
                parts = [item.mesh, view_statistics(nearest_features(item.maps, cells))]
                parts += [] if item.hidden is None else [item.hidden]
                item.read = torch.cat(parts, dim=1)
        self._first = [torch.zeros_like(variable) for variable in self._variables]
        self._second = [torch.zeros_like(variable) for variable in self._variables]
        self.taken = 0

    def _layer(self, index: int) -> GraphConvolution:
        layer = self._network.get_submodule(layer_name(self.block, index))
        assert isinstance(layer, GraphConvolution)
        return layer

    def _features(self, item: _Item) -> tuple[Tensor, Tensor]:
        """The last residual (V, 192), and what the last layer multiplies (V, 385).

        As ``Coarse.forward`` but for the order of two sums: products come before unpooling, on a
        quarter of the vertices, because both are linear and the first layer costs most.
        """
        first = self._layer(0)
        products = item.read @ torch.cat([first.weights_0, first.weights_1], dim=1)
        if self.block:
            products = unpool(products, item.graph.unpooling[self.block - 1])
        support = item.graph.supports[self.block]
        left, right = products.chunk(2, dim=1)
        x = residual = (mix(support[0], left) + mix(support[1], right) + first.bias).relu()
        for index in range(1, LAYERS[self.block] - 1):
            x = self._layer(index)(x, support)
            if index % 2 == 0:
                x = residual = (x + residual) * 0.5
        return residual, last_layers_input(x, support)

    def _solved(self, features: Mapping[str, Tensor]) -> Tensor:
        """The last layer's weights (385, 3) that fit all items best."""
        differences = self._differences[self.block].double()
        system, right, squares = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for name, found in features.items():
            wide = found.double()
            target = (self._items[name].target[: len(wide)] - self._middle).double()
            uneven, wanted = SHAPE * (differences @ wide), SHAPE * (differences @ target)
            system = system + wide.T @ wide + uneven.T @ uneven
            right = right + wide.T @ target + uneven.T @ wanted
            squares = squares + wide.square().sum()
        size = len(system)
        ridge = RIDGE * squares / size * torch.eye(size, dtype=torch.double)
        weights = torch.linalg.solve(system + ridge, right)
        weights[-1] += self._middle
        return weights.float()

    def _step(self) -> dict[str, float]:
        for variable in self._variables:
            variable.requires_grad_(True)
        features = {name: self._features(item)[1] for name, item in self._items.items()}
        with torch.no_grad():
            weights = self._solved(features)
        losses: dict[str, float] = {}
        total = torch.zeros(())
        for name, found in features.items():
            off = found @ weights - self._items[name].target[: len(found)]
            uneven = SHAPE * (self._differences[self.block] @ off)
            place = off.square().sum(dim=1).mean()
            total = total + PLACE * (place + uneven.square().sum(dim=1).mean())
            losses[name] = math.sqrt(place.item())
        if not math.isfinite(total.item()):
            raise InputError(f"block {self.block + 1}", "the loss is not finite", "a finite one")
        gradients = torch.autograd.grad(total, self._variables)
        for variable in self._variables:
            variable.requires_grad_(False)
        self.taken += 1
        rate = self.training.rate(self.block, self.taken)
        for place_, gradient in enumerate(gradients):
            self._update(place_, gradient, rate)
        return {"loss": total.item(), **losses}

    def _update(self, place: int, gradient: Tensor, rate: float) -> None:
        variable, first = self._variables[place], self._first[place]
        if variable.dim() == 2:
            first.mul_(MOMENTUM).add_(gradient)
            shape = math.sqrt(max(1.0, variable.shape[1] / variable.shape[0]))
            variable.sub_(rate * shape * evened(gradient + MOMENTUM * first))
            return
        second = self._second[place]
        first.add_((gradient - first) * 0.1)
        second.add_((gradient.square() - second) * 0.01)
        mean, square = first / (1 - 0.9**self.taken), second / (1 - 0.99**self.taken)
        variable.sub_(rate * BIAS_RATE * mean / (square.sqrt() + 1e-8))

    def _finish(self) -> None:
        """Round the block to float16, solve for its last layer, and go on to the next block.

        Solved after the rounding, the last layer makes up for most of what that did.
        """
        for variable in self._variables:
            variable.copy_(variable.half())
        features = {name: self._features(item)[1] for name, item in self._items.items()}
        weights = self._solved(features)
        last = self._layer(LAYERS[self.block] - 1)
        last.weights_0.copy_(weights[:HIDDEN].half())
        last.weights_1.copy_(weights[HIDDEN:-1].half())
        last.bias.copy_(weights[-1].half())
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the next block what this one makes."""
        last = self._layer(LAYERS[self.block] - 1)
        weights = torch.cat([last.weights_0, last.weights_1, last.bias[None]])
        for item in self._items.values():
            item.hidden, found = self._features(item)
            item.mesh = found @ weights
        self.block += 1
        self._begin()


def last_layers_input(x: Tensor, support: Support) -> Tensor:
    """(V, 2·C + 1): both supports times x (V, C), and ones for the bias."""
    return torch.cat([mix(support[0], x), mix(support[1], x), torch.ones(len(x), 1)], dim=1)


def evened(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors, its singular values brought near to 1.

    Five steps X ← aX + (bA + cA²)X, A = XXᵀ, with the coefficients of Jordan (2024), which leave
    them between about 0.7 and 1.2.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-12)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if tall else x


def neighbour_differences(faces: np.ndarray) -> Tensor:
    """(V, V) sparse: a vertex minus the mean of its neighbours."""
    edges = edges_of(faces)
    both = np.concatenate([edges, edges[:, ::-1]])
    size = int(faces.max()) + 1
    degrees = np.bincount(both[:, 0], minlength=size)
    diagonal = np.arange(size)
    rows = np.concatenate([both[:, 0], diagonal])
    columns = np.concatenate([both[:, 1], diagonal])
    values = np.concatenate([-1.0 / degrees[both[:, 0]], np.ones(size)]).astype(np.float32)
    indices = torch.from_numpy(np.stack([rows, columns]))
    return torch.sparse_coo_tensor(
        indices, torch.from_numpy(values), (size, size), check_invariants=True
    ).coalesce()


def _copy(value: Tensor, array: np.ndarray) -> None:
    if value.shape != array.shape:
        raise ValueError("another shape")
    value.copy_(torch.from_numpy(array))
