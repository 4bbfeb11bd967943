"""A whole network as data: its activations, variables, inputs, meshes and losses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from network.losses import LossFactors
from network.taps import MESH, TapRow
from network.weights import WeightRow


@dataclass(frozen=True, eq=False)
class Network:
    """A network.

    Attributes:
        name: what traces call it in their ``stage``.
        taps: its activations, in the order of computation.
        variables: its variables, bottom up.
        inputs: shapes of what it reads in every run, by names under ``/inputs``: images, cameras,
            mesh.
        meshes: the taps that are the output meshes of its blocks.
        output: the tap that is its result.
        vertices: of the input mesh, then of each block's output.
        levels: the template's level, counted from 0, of each block's output.
        losses: the factors of the loss terms.
    """

    name: str
    taps: tuple[TapRow, ...]
    variables: tuple[WeightRow, ...]
    inputs: Mapping[str, tuple[int, ...]] = field(hash=False)
    meshes: tuple[str, ...]
    output: str
    vertices: tuple[int, ...]
    levels: tuple[int, ...]
    losses: LossFactors

    @cached_property
    def rows(self) -> dict[str, TapRow]:
        """The taps by name."""
        return {row.name: row for row in self.taps}

    def row(self, name: str) -> TapRow:
        """A tap by its name.

        Raises:
            KeyError: the network has no such tap.
        """
        return self.rows[name]

    @cached_property
    def variables_by_key(self) -> dict[str, WeightRow]:
        """The variables by checkpoint key."""
        return {row.key: row for row in self.variables}

    @cached_property
    def variables_by_module(self) -> dict[str, dict[str, WeightRow]]:
        """By module of the torch model, its variables by the last part of their state-dict key."""
        found: dict[str, dict[str, WeightRow]] = {}
        for row in self.variables:
            module, _, name = row.torch_key.rpartition(".")
            found.setdefault(module, {})[name] = row
        return found

    @cached_property
    def readers(self) -> dict[str, TapRow]:
        """The tap whose layer reads a variable, by checkpoint key."""
        return {key: row for row in self.taps for key in row.variables.values()}

    @cached_property
    def consumers(self) -> dict[str, tuple[TapRow, ...]]:
        """Who reads each tap or input, in the order of computation; empty for the output."""
        found: dict[str, list[TapRow]] = {}
        for row in self.taps:
            for parent in row.parents:
                found.setdefault(parent, []).append(row)
            found.setdefault(row.name, [])
        return {name: tuple(rows) for name, rows in found.items()}

    @cached_property
    def blocks(self) -> tuple[tuple[str, str], ...]:
        """The mesh that each block starts from, unpooled or not, and the one that it gives."""
        return tuple(zip((MESH, *self.meshes), self.meshes, strict=False))

    @cached_property
    def maps(self) -> tuple[TapRow, ...]:
        """The feature maps of the image network."""
        return tuple(row for row in self.taps if row.is_map)

    def of_layer(self, *layers: str) -> tuple[TapRow, ...]:
        """The taps that these kinds of layers compute, in the order of computation."""
        return tuple(row for row in self.taps if row.layer in layers)
