"""From the loss back through one run: what every gradient should be, given the run's own.

A tap's gradient is the sum of what the layers that read it hand back, and of what the loss gives it
directly; a variable's is what its layer makes of it, and its decay. Each layer is given what the
run recorded: its inputs, its output and the gradient there. So an error shows where it is made, and
nothing that follows from it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from network.kinds import Kind, kind_of, variables_of
from network.taps import BLOCK_TAPS, IMAGES, MESH, TAPS, TapRow
from network.weights import WEIGHTS
from parity.oracle.backward import convolution, pointwise
from parity.oracle.backward.loss import DECAY_CNN, DECAY_GRAPH, measured_of, terms_by_meshes
from parity.oracle.backward.reading import through_projection
from parity.oracle.backward.sums import HandedBack, Sum, zeros
from parity.oracle.chunks import Part, parts_of, rows_in
from parity.oracle.context import Context

LOSS = "the losses"
"""Who hands back what no layer does."""
THROUGH = " through the block's input"
"""What is said of a term that compares a block's output with its input."""

Backward = Callable[[TapRow, list[np.ndarray], np.ndarray, np.ndarray, Context], HandedBack]


class BackwardRun(Protocol):
    """What is known of one side's float64 run: values and gradients at every tap."""

    @property
    def vertices(self) -> int:
        """Of the mesh that the stage starts from."""

    @property
    def measured(self) -> Mapping[str, np.ndarray]:
        """What the losses read, see ``backward.loss.measured_of``."""

    def value(self, name: str, part: Part) -> np.ndarray:
        """Part of a tap, or of an input, as the gradient's own pass computed it."""

    def gradient(self, name: str, part: Part) -> np.ndarray:
        """The total loss's gradient there; ``inputs/mesh`` is one of the names."""

    def knows_mesh(self) -> bool:
        """Whether the gradient at the input mesh is known."""

    def variable(self, key: str) -> np.ndarray:
        """The total loss's gradient of a variable, by checkpoint key."""


_BACKWARDS: dict[Kind, Backward] = {
    Kind.IMAGE_CONVOLUTION: convolution.image_convolution,
    Kind.PROJECTION: through_projection,
    Kind.CONCATENATION: pointwise.concatenation,
    Kind.UNPOOLING: pointwise.unpooling,
    Kind.GRAPH_CONVOLUTION: convolution.graph_convolution,
    Kind.HALVED_SUM: pointwise.halved_sum,
    Kind.HYPOTHESES: pointwise.hypotheses,
    Kind.LOCAL_CONVOLUTION: convolution.local_convolution,
    Kind.PLAIN_SUM: pointwise.plain_sum,
    Kind.SOFTMAX: pointwise.softmax,
    Kind.MOVED: pointwise.moved,
}


def backward_of(row: TapRow) -> Backward:
    """The way back through a tap's layer."""
    return _BACKWARDS[kind_of(row)]


def handed_back(
    row: TapRow,
    parents: list[np.ndarray],
    out: np.ndarray,
    gradient: np.ndarray,
    context: Context,
) -> HandedBack:
    """What a layer hands back from ``gradient`` at its output ``out``."""
    out = out.reshape(gradient.shape)
    if not np.any(gradient):
        backs = tuple(
            None if name == IMAGES else zeros(parent.shape)
            for name, parent in zip(row.parents, parents, strict=True)
        )
        variables = {
            name: zeros(context.weights[key].shape) for name, key in variables_of(row).items()
        }
        return HandedBack(backs, variables)
    with np.errstate(invalid="ignore", over="ignore"):
        return backward_of(row)(row, parents, out, gradient, context)


def consumers(stage: str) -> dict[str, list[str]]:
    """Who reads each tap, and ``inputs/mesh``, in the order of computation; the losses last."""
    found: dict[str, list[str]] = {}
    for row in TAPS[stage]:
        for parent in row.parents:
            found.setdefault(parent, []).append(row.name)
        found.setdefault(row.name, [])
    for name in (MESH, *BLOCK_TAPS[stage]):
        found[name].append(LOSS)
    return found


class Walk:
    """Goes back through a run, layer by layer and part by part; see ``backwards`` for the order."""

    def __init__(self, context: Context, run: BackwardRun) -> None:
        self._context, self._run = context, run
        self._pending: dict[tuple[str, int], Sum] = {}
        self._variables: dict[str, Sum] = {}
        self._direct = direct(context, run)

    def step(self, row: TapRow, part: Part) -> None:
        """Take what one layer hands back."""
        run = self._run
        parents = [run.value(name, part) for name in row.parents]
        out, gradient = run.value(row.name, part), run.gradient(row.name, part)
        back = handed_back(row, parents, out, gradient, self._context)
        for name, found in zip(row.parents, back.parents, strict=True):
            if found is not None:
                self._add(self._pending, (name, _start(name, part)), found)
        for name, key in variables_of(row).items():
            self._add(self._variables, key, back.variables[name])

    def expected(self, name: str, part: Part, shape: tuple[int, ...]) -> Sum:
        """What a tap's gradient should be, once all its readers have been gone through."""
        found = self._pending.pop((name, _start(name, part)), None)
        if name in self._direct:
            direct = self._direct[name]
            if part is not None:
                direct = direct.rows(rows_in(name, part))
            found = direct if found is None else found.shaped(direct.value.shape) + direct
        return zeros(shape) if found is None else found.shaped(shape)

    def expected_variable(self, key: str) -> Sum:
        """What a variable's gradient should be, decay included."""
        weights = self._context.weights[key]
        found = self._variables.pop(key, None) or zeros(weights.shape)
        rate = decay_of(self._context.stage, key)
        if not rate:
            return found
        decay = Sum(rate * weights, np.abs(rate * weights), 3)
        return found + decay

    def _add(self, to: dict, key: object, found: Sum) -> None:
        to[key] = to[key] + found if key in to else found


def _start(name: str, part: Part) -> int:
    """Feature maps are whole whatever part of the vertices is gone through."""
    return 0 if part is None or name.startswith("cnn.") else part.start


def decay_of(stage: str, key: str) -> float:
    """The factor of a variable in its own gradient."""
    (row,) = (each for each in WEIGHTS[stage] if each.key == key)
    if row.torch_key.startswith("cnn."):
        return DECAY_CNN if row.torch_key.endswith(".weight") else 0.0
    return DECAY_GRAPH if stage == "coarse" else 0.0


def backwards(stage: str, vertices: int) -> list[tuple[TapRow, Part]]:
    """Layers and parts, so that all readers of a tap come before it.

    The refine stage mixes nothing between vertices: a block is gone through a few at a time, which
    keeps what is between two layers small.
    """
    rows = list(reversed(TAPS[stage]))
    found: list[tuple[TapRow, Part]] = []
    groups: dict[str, list[TapRow]] = {}
    for row in rows:
        groups.setdefault(_block(row), []).append(row)
    for group in groups.values():
        for part in parts_of(group[0], vertices):
            found += [(row, part) for row in group]
    return found


def _block(row: TapRow) -> str:
    """What is gone through together: a block of the refine stage; else everything, in order."""
    if row.stage == "coarse" or row.name.startswith("cnn."):
        return "cnn" if row.name.startswith("cnn.") else "coarse"
    return "1" if row.order < _SECOND else "2"


_SECOND = next(
    row.order for row in TAPS["refine"] if row.name.startswith("graph_sample_hypothesis_2")
)


def direct(context: Context, run: BackwardRun) -> dict[str, Sum]:
    """What the losses give each mesh directly, by tap and ``inputs/mesh``."""
    found: dict[str, Sum] = {}
    for name, terms in direct_terms(context, run).items():
        for _, term in terms:
            found[name] = found[name] + term if name in found else term
    return found


def direct_terms(context: Context, run: BackwardRun) -> dict[str, list[tuple[str, Sum]]]:
    """The same, term by term, under their names in traces."""
    stage = context.stage
    names = (MESH, *BLOCK_TAPS[stage])
    meshes = [np.asarray(run.value(name, None), np.float64) for name in names]
    found: dict[str, list[tuple[str, Sum]]] = {name: [] for name in names}
    for block, after in enumerate(meshes[1:], start=1):
        before, pairs = meshes[block - 1], None
        if stage == "coarse" and block > 1:
            pairs = context.unpooling[block - 2]
            middles = 0.5 * (before[pairs[:, 0]] + before[pairs[:, 1]])
            before = np.concatenate([before, middles])
        terms = terms_by_meshes(stage, before, after, measured_of(run.measured, block))
        for term, (by_before, by_after) in terms.items():
            found[names[block]].append((f"{term}_{block}", by_after))
            if by_before is None:
                continue
            if pairs is not None:
                by_before = _unpooled(by_before, pairs, len(meshes[block - 1]))
            found[names[block - 1]].append((f"{term}_{block}{THROUGH}", by_before))
    return found


def _unpooled(gradient: Sum, pairs: np.ndarray, vertices: int) -> Sum:
    """At the mesh before it was unpooled."""
    magnitude = np.broadcast_to(gradient.magnitude, gradient.value.shape)
    back = pointwise.unpooled(gradient.value, pairs, vertices)
    size = pointwise.unpooled(magnitude, pairs, vertices).value
    return Sum(back.value, size, gradient.roundings + back.roundings)
