"""The loss terms of a run: their values and their gradients at the meshes, with bounds.

The terms are programs of primitives (``network.terms``), evaluated on the meshes that the run
itself recorded. Nearest neighbours are found anew; where rounding may have decided otherwise the
bounds take in both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from network.program import Program
from network.registry import network_of
from network.terms import terms_of
from parity.oracle.context import Context, constant, widened
from parity.oracle.evaluate import run
from parity.oracle.number import Arithmetic, Number, exactly
from parity.oracle.primitives import State
from parity.oracle.vjp import GRADIENT, vjp_of

FEW_SUMS = 8
"""Roundings of a variable's decay beside those of its sum of squares: factors and further sums."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What one block's mesh is held against; floats are float32 values, widened.

    Attributes:
        points: (N, 3), ground truth, camera frame of view 0.
        normals: (N, 3), or None.
        triangles: (S, 3), the corners of each sample's triangle.
        r1, r2: (S,).
        pairs: (n, 2), both directions of every edge and every vertex with itself.
        neighbours: (V, 8), the number V where there are fewer.
        degrees: (V,).
    """

    points: np.ndarray
    normals: np.ndarray | None
    triangles: np.ndarray
    r1: np.ndarray
    r2: np.ndarray
    pairs: np.ndarray
    neighbours: np.ndarray
    degrees: np.ndarray


def measured_of(arrays: Mapping[str, np.ndarray], block: int) -> Measured:
    """One block's, from arrays named as in a trace's ``/measured``."""
    table = arrays[f"laplace_{block}"].astype(np.int64)
    neighbours = table[:, :8]
    normals = arrays.get("normals")
    return Measured(
        points=widened(arrays["points"]),
        normals=None if normals is None else widened(normals),
        triangles=arrays[f"faces_{block}"].astype(np.int64)[arrays[f"face_{block}"].astype(int)],
        r1=widened(arrays[f"r1_{block}"]),
        r2=widened(arrays[f"r2_{block}"]),
        pairs=arrays[f"pairs_{block}"].astype(np.int64),
        neighbours=np.where(neighbours >= 0, neighbours, len(table)),
        degrees=table[:, -1].astype(np.float64),
    )


def kind_of(name: str) -> str:
    """A term's name without the number of its block."""
    return name.rpartition("_")[0] or name


@dataclass(frozen=True, eq=False)
class Term:
    """A loss term of a block.

    Attributes:
        label: its name in traces, ``chamfer_1``.
        program: the term, weighted.
        meshes: by the program's names of activations, the tap (or ``inputs/mesh``) that each is.
        inputs: the program's constants.
    """

    label: str
    program: Program
    meshes: Mapping[str, str]
    inputs: Mapping[str, Number]

    def value(self, meshes: Mapping[str, np.ndarray], arithmetic: Arithmetic) -> Number:
        """The term of meshes (V, 3) by the names of ``meshes``: a scalar."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = run(self.program, self.given(meshes), State(arithmetic))["value"]
            return arithmetic.close(found)

    def gradients(
        self,
        meshes: Mapping[str, np.ndarray],
        arithmetic: Arithmetic,
        forward: Program | None = None,
        backward: Program | None = None,
    ) -> dict[str, Number]:
        """Of the term, at each of its meshes, by the mesh's name.

        Args:
            meshes: as ``value`` has them.
            arithmetic: of the run's backward pass.
            forward: the term, where it is another than the official one.
            backward: its vector–Jacobian product, likewise.
        """
        program = self.program if forward is None else forward
        given = {**self.given(meshes), GRADIENT: exactly(np.asarray(1.0))}
        back = vjp_of(program, tuple(self.meshes)) if backward is None else backward
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            found = run(back, given, State(arithmetic))
        zero = {name: exactly(np.zeros(given[name].value.shape)) for name in self.meshes}
        return {mesh: found.get(name, zero[name]) for name, mesh in self.meshes.items()}

    def given(self, meshes: Mapping[str, np.ndarray]) -> dict[str, Number]:
        """All that the program reads, by its names."""
        own = {name: exactly(meshes[mesh]) for name, mesh in self.meshes.items()}
        return {**self.inputs, **own}


def loss_terms(context: Context, measured: Mapping[str, np.ndarray]) -> Iterator[Term]:
    """The terms of every block; ``measured`` as ``measured_of`` reads it."""
    network = network_of(context.stage)
    factors = network.losses
    assert factors is not None, "losses of a network without any"
    unpoolings = iter(context.unpooling)
    sizes = pairwise(network.vertices)
    for block, (before, after) in enumerate(network.blocks, start=1):
        first, last = next(sizes)
        to = measured_of(measured, block)
        inputs = _inputs(to, next(unpoolings) if first != last else None)
        for kind, program in terms_of(factors, first != last, to.normals is not None).items():
            of = {"before": before, "after": after}
            yield Term(
                f"{kind}_{block}", program, {name: of[name] for name in program.activations}, inputs
            )


def _inputs(to: Measured, pairs: np.ndarray | None) -> dict[str, Number]:
    """A block's constants by the names in the terms' programs."""
    count = len(to.degrees)
    rows = np.repeat(np.arange(count), to.neighbours.shape[1])
    columns = to.neighbours.ravel()
    there = columns < count
    ones = np.ones(int(there.sum()))
    neighbours = sp.csr_array((ones, (rows[there], columns[there])), shape=(count, count))
    found = {
        "points": exactly(to.points),
        "r1": exactly(to.r1[:, None]),
        "r2": exactly(to.r2[:, None]),
        "first": exactly(to.pairs[:, 0]),
        "second": exactly(to.pairs[:, 1]),
        "neighbours": constant(neighbours),
        "degrees": exactly(to.degrees[:, None]),
    }
    found |= {f"corner_{name}": exactly(to.triangles[:, place]) for place, name in enumerate("abc")}
    if to.normals is not None:
        found["normals"] = exactly(to.normals)
    if pairs is not None:
        found["pairs"] = exactly(pairs)
    return found


def decay_value(context: Context, arithmetic: Arithmetic) -> Number:
    """Half the sum of squares of all variables that decay, each with its rate."""
    total, longest, network = 0.0, 0, network_of(context.stage)
    for key, array in context.weights.items():
        rate = network.decay(key)
        if rate:
            total += rate * 0.5 * float(np.square(array).sum())
            longest = max(longest, array.size)
    value = np.asarray(total)
    count = longest + len(context.weights) + FEW_SUMS
    return arithmetic.close(Number(value, size=np.abs(value), count=count))


def total_of(terms: Mapping[str, Number], arithmetic: Arithmetic) -> Number:
    """The sum of all terms, in whatever order."""
    value = np.asarray(sum(float(each.value) for each in terms.values()))
    size = np.asarray(sum(abs(float(each.value)) for each in terms.values()))
    error = sum(float(np.max(each.error)) for each in terms.values())
    undecided = sum(float(np.max(each.undecided)) for each in terms.values())
    return arithmetic.close(Number(value, error, size, len(terms) + 1, undecided=undecided))
