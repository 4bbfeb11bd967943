"""Other variables and constants than a layer should read."""

from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sp

from network.layers import INPUTS
from network.registry import network_of
from parity.diagnosis.question import Question, Variant
from parity.oracle.context import constant
from parity.oracle.number import Number, exactly
from parity.oracle.primitives.products import entries_of

FEW = 4
"""How many rows or columns of a constant are put into every order."""


def variants(question: Question) -> Iterator[Variant]:
    """Everything that may be read in place of a layer's variables and constants."""
    yield from _variables(question)
    yield from _constants(question)


def changed(
    question: Question,
    operand: str,
    change: str,
    *,
    inputs: Mapping[str, np.ndarray | Number],
    rank: int = 0,
    whole: bool = False,
) -> Variant:
    """The official layer on other inputs, by their names."""
    given = {
        name: value if isinstance(value, Number) else exactly(value)
        for name, value in inputs.items()
    }
    return Variant(operand, change, question.program, given, rank=rank, whole=whole)


def _variables(question: Question) -> Iterator[Variant]:
    own = {name: question.inputs[name].value for name in question.row.variables}
    for name, array in own.items():
        operand = INPUTS.get(name, name)
        if array.ndim == 1:
            continue
        transposed = "weights transposed"
        if array.ndim == 2 and array.shape[0] == array.shape[1]:
            yield changed(question, transposed, f"{name} transposed", inputs={name: array.T})
        if array.ndim == 4:
            turned = array[::-1, ::-1]
            yield changed(question, transposed, "the kernel's height and width swapped",
                          inputs={name: array.transpose(1, 0, 2, 3)})  # fmt: skip
            if array.shape[2] == array.shape[3]:
                yield changed(question, transposed, "the kernel's channels swapped",
                              inputs={name: array.transpose(0, 1, 3, 2)})  # fmt: skip
            yield changed(question, "index order", "the kernel turned by half a turn",
                          inputs={name: turned})  # fmt: skip
            yield changed(
                question, "index order", "the kernel upside down", inputs={name: array[::-1]}
            )
            yield changed(
                question, "index order", "the kernel mirrored", inputs={name: array[:, ::-1]}
            )
        for words, order in orders_of(array.shape[-2]):
            yield changed(question, "channel order", f"input channels of {name} {words}", rank=1,
                          inputs={name: array[..., order, :]})  # fmt: skip
        yield changed(question, operand, f"zeros for {name}", rank=1, inputs={name: 0.0 * array})
    yield from _of_this_layer(question, own)
    for name, other in layers_alike(question):
        yield changed(
            question, "weights of another layer", f"the variables of {name}", inputs=other
        )
        for key, array in other.items():
            # A variable of zeros is one that is left out, whosever it is.
            if array.any():
                yield changed(
                    question, "weights of another layer", f"{key} of {name}", inputs={key: array}
                )


def _of_this_layer(question: Question, own: Mapping[str, np.ndarray]) -> Iterator[Variant]:
    """Variables of one shape, one in place of the other."""
    alike: dict[tuple[int, ...], list[str]] = {}
    for name, array in own.items():
        alike.setdefault(array.shape, []).append(name)
    for names in alike.values():
        if len(names) < 2:
            continue
        square = all(own[name].ndim == 2 and len(set(own[name].shape)) == 1 for name in names)
        if square:
            yield changed(question, "weights transposed", f"{' and '.join(names)} transposed",
                          inputs={name: own[name].T for name in names})  # fmt: skip
        for number, first in enumerate(names):
            for second in names[number + 1 :]:
                pair = {first: own[second], second: own[first]}
                # The products swapped are the products that each other's support is multiplied by.
                supports = own[first].ndim == 2 and "support_0" in question.row.constants
                operand = "support" if supports else "weights swapped"
                yield changed(question, operand, f"{first} and {second} swapped", inputs=pair)
                for kept in (first, second):
                    both = {first: own[kept], second: own[kept]}
                    yield changed(question, "weights of another layer",
                                  f"{kept} for {first} and {second}", inputs=both)  # fmt: skip


def layers_alike(question: Question) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Layers of the network with variables of the same names and shapes."""
    own = question.context.variables(question.row)
    shapes = {name: array.shape for name, array in own.items()}
    seen = {question.row.module}
    for row in network_of(question.row.stage).taps if own else ():
        if row.module in seen or set(row.variables) != set(shapes):
            continue
        seen.add(row.module)
        found = question.context.variables(row)
        if {name: array.shape for name, array in found.items()} == shapes:
            yield row.module, found


def _constants(question: Question) -> Iterator[Variant]:
    for name in question.row.constants:
        number = question.inputs[name]
        value = entries_of(number.value)
        operand = INPUTS.get(name, name)
        if sp.issparse(value) or (value.ndim == 2 and value.shape[0] == value.shape[1] > FEW):
            for words, other in other_matrices(value):
                given = constant(other) if sp.issparse(other) else exactly(other)
                yield changed(question, operand, f"{words} for {name}", inputs={name: given})
        elif value.ndim == 2:
            yield from _table(question, name, operand, value)


def _table(question: Question, name: str, operand: str, value: np.ndarray) -> Iterator[Variant]:
    """A constant of few rows or columns that mean something each: their order and signs."""
    rows, columns = value.shape
    of_rows = "view order" if operand == "camera" else operand
    if rows <= FEW:
        for order in permutations(range(rows)):
            if order != tuple(range(rows)):
                yield changed(question, of_rows, f"the rows of {name} in the order {order}",
                              inputs={name: value[list(order)]})  # fmt: skip
        yield changed(question, of_rows, f"the first row of {name} for all of them",
                      inputs={name: np.repeat(value[:1], rows, axis=0)})  # fmt: skip
    else:
        for words, places in orders_of(rows):
            yield changed(question, of_rows, f"the rows of {name} {words}",
                          inputs={name: value[places]})  # fmt: skip
    if columns <= 2 * FEW:
        of_columns = "index order" if operand != "camera" else operand
        for first in range(columns):
            for second in range(first + 1, columns):
                swapped = np.arange(columns)
                swapped[[first, second]] = second, first
                yield changed(question, of_columns, f"columns {first}, {second} of {name} swapped",
                              inputs={name: value[:, swapped]})  # fmt: skip
            turned = value.copy()
            turned[:, first] *= -1.0
            yield changed(question, operand, f"the sign of column {first} of {name} turned",
                          inputs={name: turned})  # fmt: skip


def other_matrices(matrix: Any) -> Iterator[tuple[str, Any]]:
    """What is mistaken for the scaled Laplacian of a graph, or another square matrix."""
    sparse = sp.csr_array(matrix)
    kept: Callable[[Any], Any] = (
        (lambda found: sp.csr_array(found))
        if sp.issparse(matrix)
        else (lambda found: sp.csr_array(found).toarray())
    )
    yield "the transpose", kept(sparse.T)
    yield "the negative", kept(-sparse)
    size = sparse.shape[0]
    diagonal = sp.csr_array(sp.dia_array((sparse.diagonal()[None], [0]), shape=sparse.shape))
    beside = sp.csr_array(sparse - diagonal)
    beside.eliminate_zeros()
    if not beside.nnz:
        return
    linked = sp.csr_array((np.ones_like(beside.data), beside.indices, beside.indptr), beside.shape)
    loops = sp.csr_array(sp.eye_array(size))
    degree = np.asarray(linked.sum(axis=1)).ravel()
    at = np.repeat(np.arange(size), np.diff(linked.indptr))
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rows = with_entries(linked, linked.data / degree[at])
        normal = with_entries(linked, linked.data / np.sqrt(degree[at] * degree[linked.indices]))
        # Off the diagonal the scaled Laplacian is −2/λmax times the normalised adjacency matrix.
        scale = float(np.abs(beside.data).sum() / normal.data.sum())
        unscaled = kept(sp.csr_array((sparse + loops) / scale))
    looped = sp.csr_array(linked + loops)
    rows = np.repeat(np.arange(size), np.diff(looped.indptr))
    spread = looped.data / np.sqrt((degree[rows] + 1.0) * (degree[looped.indices] + 1.0))
    yield "no diagonal", kept(beside)
    yield "the Laplacian, not scaled,", unscaled
    yield "the adjacency matrix", kept(linked)
    yield "the adjacency matrix, rows normalised,", kept(by_rows)
    yield (
        "the adjacency matrix with loops, rows normalised,",
        kept(with_entries(looped, looped.data / (degree[rows] + 1.0))),
    )
    yield "the normalised adjacency matrix", kept(normal)
    yield "the normalised adjacency matrix with loops", kept(with_entries(looped, spread))
    sums = np.asarray(sparse.sum(axis=1)).ravel()
    if np.all(sums != 0):
        there = np.repeat(np.arange(size), np.diff(sparse.indptr))
        yield "the matrix with rows of sum 1", kept(with_entries(sparse, sparse.data / sums[there]))


def with_entries(of: Any, values: np.ndarray) -> Any:
    """A sparse matrix with other entries at the same places."""
    return sp.csr_array((values, of.indices, of.indptr), of.shape)


def orders_of(count: int) -> Iterator[tuple[str, np.ndarray]]:
    """Usual orders of many things."""
    every = np.arange(count)
    if count > 1:
        yield "reversed", every[::-1]
    if count > 2:
        yield "turned by one", np.roll(every, 1)
        yield "turned back by one", np.roll(every, -1)
    if count > FEW:
        yield "turned by three", np.roll(every, 3)
        yield "turned back by three", np.roll(every, -3)
        if count % 2 == 0:
            yield "in halves swapped", np.roll(every, count // 2)
