"""A whole network as data: its activations, variables, inputs, meshes and losses."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from network.layers import PROGRAMS
from network.layout import Layout
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
        follows: the network whose output is its input mesh; None where that is the template's.
        trajectory: how far, of a variable's greatest magnitude, two float32 trainings may part and
            count as together: what a run may differ in anything.
        gradient_rounding: how far two right float32 gradients of the same state may differ, RMS
            over RMS: three times the worst of the authors' own graph against float64 in five runs
            that differ in nothing that matters (docs/gradients.md). That holds ReLUs that flip,
            which no limit for rounding alone does: three of 12.5 million move a gradient of the
            demo sofa by 6e-4 of its greatest magnitude.
        graph: the official file of its exported TensorFlow 1.12 graph, in the folder of such files.
    """

    name: str
    taps: tuple[TapRow, ...]
    variables: tuple[WeightRow, ...]
    inputs: Mapping[str, tuple[int, ...]]
    meshes: tuple[str, ...]
    output: str
    vertices: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()
    losses: LossFactors | None = None
    follows: str | None = None
    trajectory: float = 2e-5
    gradient_rounding: float = 3 * 1.1e-3
    graph: str = ""

    def check(self) -> None:
        """Hold the rows against each other.

        Raises:
            ValueError: a tap is of another network, not in its place, reads what does not come
                before it, has no formula and a layer that is not known, has inputs that its program
                does not name, or rows by vertex where what it reads has none; a name is given
                twice; or the output or a mesh is no tap.
        """
        there = {f"inputs/{name}" for name in self.inputs}
        for order, row in enumerate(self.taps):
            where = f"network {self.name}, tap {row.name}"
            if (row.stage, row.order) != (self.name, order):
                raise ValueError(f"{where}: number {row.order} of {row.stage}, found at {order}")
            if row.formula is None and row.layer not in PROGRAMS:
                known = ", ".join(sorted(PROGRAMS))
                raise ValueError(
                    f"{where}: has no formula, and layer {row.layer} is none of {known}"
                )
            strange = [name for name in row.parents if name not in there]
            strange += [key for key in row.variables.values() if key not in self.variables_by_key]
            if strange:
                raise ValueError(f"{where}: reads {', '.join(strange)}, which do not come before")
            named = {*row.program.inputs} - {*row.program.activations}
            if {*row.variables, *row.constants} != named:
                raise ValueError(
                    f"{where}: has {sorted({*row.variables, *row.constants})}, its program reads "
                    f"{sorted(named)}"
                )
            mixed = [
                name
                for name in row.parents
                if name in self.rows and not self.rows[name].is_map
                and self.rows[name].rows_per_vertex is None
            ]  # fmt: skip
            if row.rows_per_vertex is not None and mixed:
                raise ValueError(f"{where}: has rows by vertex, {', '.join(mixed)} none")
            there.add(row.name)
        if (len(self.rows), len(self.variables_by_key)) != (len(self.taps), len(self.variables)):
            raise ValueError(f"network {self.name}: a tap or variable is there twice")
        if self.taps and not {self.output, *self.meshes} <= {*self.rows}:
            raise ValueError(f"network {self.name}: its output and meshes are to be taps")

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
    def read(self) -> tuple[str, ...]:
        """The inputs that change through the network, such as ``inputs/images``."""
        parents = dict.fromkeys(name for row in self.taps for name in row.parents)
        return tuple(name for name in parents if name not in self.rows)

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """The fixed arrays that layers read, by their names under ``/inputs``."""
        return tuple(dict.fromkeys(name for row in self.taps for name in row.constants.values()))

    @property
    def starts_with(self) -> int:
        """Vertices of the mesh that it starts from; 0 in a network without."""
        return self.vertices[0] if self.vertices else 0

    def rows_per_vertex(self, name: str) -> int | None:
        """How many rows of a tap or input belong to one vertex; None where it is always whole."""
        if name == MESH:
            return 1
        return self.rows[name].rows_per_vertex if name in self.rows else None

    def decay(self, key: str) -> float:
        """The factor of a variable in the gradient that weight decay adds to its own."""
        if self.losses is None:
            return 0.0
        if not self.readers[key].is_map:
            return self.losses.decay_graph
        first, second = self.losses.decay_cnn
        return first * second if self.variables_by_key[key].layout is Layout.CONV else 0.0

    @cached_property
    def encoder(self) -> tuple[WeightRow, ...]:
        """The variables of the image network."""
        return tuple(row for row in self.variables if self.readers[row.key].is_map)

    @cached_property
    def cancelling(self) -> frozenset[str]:
        """Biases whose gradients cancel: those before a softmax, which adds up to 0 over its axis.

        Nothing is left of their sums but what clipped logits leave, and at worst rounding. They are
        measured by the layer's weights, whose gradients are sums of the same terms, times features
        of order 1.
        """
        scored = {row.parents[0] for row in self.of_layer("softmax")}
        rows = (self.rows[name] for name in scored if name in self.rows)
        return frozenset(row.variables["bias"] for row in rows if "bias" in row.variables)

    @cached_property
    def projected(self) -> tuple[TapRow, ...]:
        """The feature maps that points are projected on, in the order of computation."""
        read = {name for row in self.taps if not row.is_map for name in row.parents}
        return tuple(row for row in self.maps if row.name in read)

    @cached_property
    def vertexwise(self) -> bool:
        """Whether no layer mixes vertices, so that a few can be computed by themselves."""
        return all(row.rows_per_vertex is not None for row in self.taps if not row.is_map)

    @cached_property
    def maps(self) -> tuple[TapRow, ...]:
        """The feature maps of the image network."""
        return tuple(row for row in self.taps if row.is_map)

    def of_layer(self, *layers: str) -> tuple[TapRow, ...]:
        """The taps that these kinds of layers compute, in the order of computation."""
        return tuple(row for row in self.taps if row.layer in layers)
