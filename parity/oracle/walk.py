"""From the loss back through one run: what every gradient should be, given the run's own.

A tap's gradient is the sum of what the layers that read it hand back, and of what the loss gives it
directly; a variable's is what its layer makes of it, and its decay. Each layer is given what the
run recorded: its inputs, its output and the gradient there. So an error shows where it is made, and
nothing that follows from it.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from network.program import Program
from network.registry import network_of
from network.taps import MESH, TapRow
from parity.oracle.chunks import Part, parts_of, rows_in
from parity.oracle.confidence import arithmetic_of, backward_arithmetic_of
from parity.oracle.context import PREFIX, Context
from parity.oracle.evaluate import evaluate, run
from parity.oracle.local import layer_inputs
from parity.oracle.losses import loss_terms
from parity.oracle.number import Arithmetic, Number, exactly, mapped
from parity.oracle.primitives import RULES, State
from parity.oracle.vjp import GRADIENT, vjp_of

LOSS = "the losses"
"""Who hands back what no layer does."""
THROUGH = " through the block's input"
"""What is said of a term that compares a block's output with its input."""


class BackwardRun(Protocol):
    """What is known of one side's run in one precision: values and gradients at every tap."""

    dtype: str

    @property
    def vertices(self) -> int:
        """Of the mesh that the stage starts from."""

    @property
    def measured(self) -> Mapping[str, np.ndarray]:
        """What the losses read, see ``parity.oracle.losses.measured_of``."""

    def value(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input, as the gradient's own pass computed it."""

    def gradient(self, name: str, part: Part) -> np.ndarray:
        """The total loss's gradient there; ``inputs/mesh`` is one of the names."""

    def knows_mesh(self) -> bool:
        """Whether the gradient at the input mesh is known."""

    def variable(self, key: str) -> np.ndarray:
        """The total loss's gradient of a variable, by checkpoint key."""


def handed_back(
    row: TapRow,
    parents: Mapping[str, np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
    dtype: str,
    forward: Program | None = None,
    backward: Program | None = None,
) -> dict[str, Number]:
    """What a layer hands back from ``gradient`` at its output ``out``.

    Args:
        row: the layer's tap.
        parents: the run's own values of ``row.parents``.
        out: the run's own output.
        gradient: the run's own gradient there.
        context: weights and fixed arrays.
        dtype: the run's precision.
        forward: the layer; the official one by default.
        backward: its vector–Jacobian product; derived from ``forward`` by default.

    Returns:
        By the names of its activations and variables in its program; inputs get nothing, but for
        the mesh.
    """
    program = row.program if forward is None else forward
    wanted = [
        name
        for name, parent in zip(program.activations, row.parents, strict=True)
        if parent == MESH or not parent.startswith(PREFIX)
    ]
    wanted += row.variables
    inputs = layer_inputs(row, program, parents, context)
    if not np.any(gradient):
        return {name: exactly(np.zeros(inputs[name].value.shape)) for name in wanted}
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # The decisions are those that fit what the run recorded, as in the forward pass.
        forced: Any = {}
        if any(node.primitive == "decide" for node in program.nodes):
            forced = evaluate(program, inputs, arithmetic_of(context.stage, dtype), out).forced
        state = State(backward_arithmetic_of(context.stage, dtype), forced or {})
        known = {program.outputs["value"]: exactly(np.asarray(out))}
        inputs[GRADIENT] = exactly(np.asarray(gradient))
        found = run(vjp_of(program, wanted) if backward is None else backward, inputs, state, known)
    zero = {name: exactly(np.zeros(inputs[name].value.shape)) for name in wanted}
    return {name: found.get(name, zero[name]) for name in wanted}


def consumers(stage: str) -> dict[str, list[str]]:
    """Who reads each tap, and ``inputs/mesh``, in the order of computation; the losses last."""
    network = network_of(stage)
    found = {name: [row.name for row in rows] for name, rows in network.consumers.items()}
    for name in (MESH, *network.meshes):
        found.setdefault(name, []).append(LOSS)
    return found


class Walk:
    """Goes back through a run, layer by layer and part by part; see ``backwards`` for the order."""

    def __init__(self, context: Context, run: BackwardRun) -> None:
        self._context, self._run, self._network = context, run, network_of(context.stage)
        self.arithmetic = backward_arithmetic_of(context.stage, run.dtype)
        self._state = State(self.arithmetic)
        self._maps = {row.name for row in self._network.maps}
        self._pending: dict[tuple[str, int], Number] = {}
        self._variables: dict[str, Number] = {}
        self._direct = self._from_losses()

    def step(self, row: TapRow, part: Part) -> None:
        """Take what one layer hands back."""
        run = self._run
        parents = {name: run.value(name, part) for name in row.parents}
        back = handed_back(
            row, parents, run.value(row.name, part), run.gradient(row.name, part), self._context,
            run.dtype,
        )  # fmt: skip
        for name, parent in zip(row.program.activations, row.parents, strict=True):
            if name in back:
                self._add(self._pending, (parent, self._start(parent, part)), back[name])
        for name, key in row.variables.items():
            self._add(self._variables, key, back[name])

    def expected(self, name: str, part: Part, shape: tuple[int, ...]) -> Number:
        """What a tap's gradient should be, once all its readers have been gone through."""
        found = self._pending.pop((name, self._start(name, part)), None)
        if name in self._direct:
            direct = self._direct[name]
            if part is not None:
                direct = rows_of(direct, rows_in(self._network.rows_per_vertex(name) or 1, part))
            found = (
                direct if found is None else self._sum(shaped(found, direct.value.shape), direct)
            )
        return exactly(np.zeros(shape)) if found is None else shaped(found, shape)

    def expected_variable(self, key: str) -> Number:
        """What a variable's gradient should be, decay included."""
        weights = self._context.weights[key]
        found = self._variables.pop(key, None) or exactly(np.zeros(weights.shape))
        rate = self._network.decay(key)
        if not rate:
            return found
        decay = rate * weights
        return self._sum(found, Number(decay, size=np.abs(decay), count=3))

    def _sum(self, a: Number, b: Number) -> Number:
        return RULES["add"].number(self._state, {}, a, b)

    def _add(self, to: dict, key: object, found: Number) -> None:
        to[key] = self._sum(shaped(to[key], found.value.shape), found) if key in to else found

    def _start(self, name: str, part: Part) -> int:
        """Feature maps are whole whatever part of the vertices is gone through."""
        return 0 if part is None or name in self._maps else part.start

    def _from_losses(self) -> dict[str, Number]:
        """What the losses give each mesh directly, by tap and ``inputs/mesh``."""
        found: dict[str, Number] = {}
        for name, terms in direct_terms(self._context, self._run, self.arithmetic).items():
            for _, term in terms:
                found[name] = self._sum(found[name], term) if name in found else term
        return found


def rows_of(number: Number, part: slice) -> Number:
    """Some rows of the same numbers."""
    return mapped(number, lambda array: array[part])


def shaped(number: Number, shape: tuple[int, ...]) -> Number:
    """The same numbers in another shape."""
    if number.value.shape == shape:
        return number
    return mapped(number, lambda array: array.reshape(shape))


def backwards(stage: str, vertices: int) -> list[tuple[TapRow, Part]]:
    """Layers and parts, so that all readers of a tap come before it.

    A block that mixes nothing between vertices is gone through a few at a time, which keeps what is
    between two layers small.
    """
    found: list[tuple[TapRow, Part]] = []
    for _, rows in groupby(reversed(network_of(stage).taps), key=_split_block):
        group = list(rows)
        for part in parts_of(group[0], [slice(0, vertices)]):
            found += [(row, part) for row in group]
    return found


def _split_block(row: TapRow) -> int | None:
    """The block, of a layer that mixes nothing between vertices."""
    return None if row.rows_per_vertex is None else row.block


def meshes_of(stage: str, run: BackwardRun) -> dict[str, np.ndarray]:
    """The meshes that the losses are of, by tap and ``inputs/mesh``."""
    return {
        name: np.asarray(run.value(name, None), np.float64)
        for name in (MESH, *network_of(stage).meshes)
    }


def direct_terms(
    context: Context, run: BackwardRun, arithmetic: Arithmetic
) -> dict[str, list[tuple[str, Number]]]:
    """What each loss term gives each mesh directly, by tap, under the terms' names in traces."""
    meshes = meshes_of(context.stage, run)
    found: dict[str, list[tuple[str, Number]]] = {name: [] for name in meshes}
    for term in loss_terms(context, run.measured):
        for mesh, number in term.gradients(meshes, arithmetic).items():
            before = mesh == term.meshes.get("before")
            found[mesh].append((f"{term.label}{THROUGH}" if before else term.label, number))
    return found
