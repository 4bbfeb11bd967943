"""What a layer reads, changed: its variables, its constants and its activations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import scipy.sparse as sp

from network.layers import INPUTS
from network.program import Program, continued
from network.registry import network_of
from network.taps import IMAGES
from parity.diagnosis.question import Question, Variant
from parity.oracle.context import constant
from parity.oracle.number import Number, exactly
from parity.oracle.primitives.narrow import NARROWER, narrowed
from parity.oracle.primitives.products import entries_of

FEW = 4
"""How many rows or columns of a constant are put into every order."""
LEVELS = 6
"""Feature maps away from the right ones that are tried as well."""


def variants(question: Question) -> Iterator[Variant]:
    """Everything that may be read in place of what the layer should read."""
    yield from _variables(question)
    yield from _constants(question)
    yield from _activations(question)
    yield from _narrower(question)
    yield from _other_taps(question)


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
        for words, order in _orders(array.shape[-2]):
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
                operand = "support" if own[first].ndim == 2 else "weights of another layer"
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
        for words, places in _orders(rows):
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
        by_rows = _entries(linked, linked.data / degree[at])
        normal = _entries(linked, linked.data / np.sqrt(degree[at] * degree[linked.indices]))
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
        kept(_entries(looped, looped.data / (degree[rows] + 1.0))),
    )
    yield "the normalised adjacency matrix", kept(normal)
    yield "the normalised adjacency matrix with loops", kept(_entries(looped, spread))
    sums = np.asarray(sparse.sum(axis=1)).ravel()
    if np.all(sums != 0):
        there = np.repeat(np.arange(size), np.diff(sparse.indptr))
        yield "the matrix with rows of sum 1", kept(_entries(sparse, sparse.data / sums[there]))


def _entries(of: Any, values: np.ndarray) -> Any:
    return sp.csr_array((values, of.indices, of.indptr), of.shape)


def _activations(question: Question) -> Iterator[Variant]:
    given = {name: question.inputs[name].value for name in question.activations}
    parents = question.parents
    maps = [name for name, array in given.items() if array.ndim == 4]
    if maps:
        yield from _of_maps(question, {name: given[name] for name in maps})
    for name, array in given.items():
        if parents[name] == IMAGES:
            yield from _images(question, name, array)
        elif name not in maps and array.shape[-1] > 1:
            for words, order in _orders(array.shape[-1]):
                yield changed(question, "channel order", f"channels of {parents[name]} {words}",
                              rank=1, inputs={name: array[..., order]})  # fmt: skip
    names = [name for name in given if name not in maps]
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            if given[first].shape == given[second].shape:
                yield changed(question, "index order", f"{first} and {second} swapped", rank=1,
                              inputs={first: given[second], second: given[first]})  # fmt: skip


def _of_maps(question: Question, maps: Mapping[str, np.ndarray]) -> Iterator[Variant]:
    """Views, channels and layouts of maps (views, H, W, C)."""

    def all_of(function: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        return {name: function(array) for name, array in maps.items()}

    views = len(next(iter(maps.values())))
    for order in permutations(range(views)) if views <= FEW else ():
        if order != tuple(range(views)):
            yield changed(question, "view order", f"views in the order {order}",
                          inputs=all_of(lambda e, order=order: e[list(order)]))  # type: ignore[misc] # fmt: skip
    yield changed(question, "channel order", "channels-first maps read as if channels came last",
                  inputs=all_of(lambda e: e.transpose(0, 3, 1, 2).reshape(e.shape)))  # fmt: skip
    yield changed(question, "channel order", "channels of every map reversed",
                  inputs=all_of(lambda e: e[..., ::-1]))  # fmt: skip
    yield changed(question, "index order", "rows and columns of every map swapped",
                  inputs=all_of(lambda e: e.transpose(0, 2, 1, 3)))  # fmt: skip


def _images(question: Question, name: str, images: np.ndarray) -> Iterator[Variant]:
    for order in permutations(range(images.shape[-1])):
        if order != tuple(range(images.shape[-1])):
            yield changed(question, "channel order", f"the images' channels in the order {order}",
                          inputs={name: images[..., list(order)]})  # fmt: skip
    grid = np.round(images * 255) / 255
    for words, other in {
        "transposed": images.transpose(0, 2, 1, 3),
        "upside down": images[:, ::-1],
        "mirrored": images[:, :, ::-1],
        "rounded to multiples of 1/255": grid,
        "from 0 to 255": images * 255,
        "from −1 to 1": images * 2.0 - 1.0,
    }.items():
        yield changed(question, "image", f"images {words}", inputs={name: other})


def _orders(count: int) -> Iterator[tuple[str, np.ndarray]]:
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


def _narrower(question: Question) -> Iterator[Variant]:
    given = list(question.activations)
    variables = list(question.row.variables)
    maps = [name for name in given if question.inputs[name].value.ndim == 4]
    groups: dict[str, list[str]] = {"the input": given}
    if maps and len(maps) < len(given):
        groups["the maps"] = maps
    if variables:
        wide = [name for name in variables if question.inputs[name].value.ndim > 1]
        groups["the weights"] = wide
        groups["weights and bias"] = variables
        groups["input and weights"] = given + wide
        groups["input, weights and bias"] = given + variables
        groups |= {name: [name] for name in variables}
    constants = [
        name for name in question.row.constants
        if not float(np.abs(_values(question.inputs[name])).max(initial=0.0)).is_integer()
    ]  # fmt: skip
    if constants:
        groups |= {name: [name] for name in constants}
        groups[" and ".join(constants)] = constants
    for kind in NARROWER:
        for words, names in groups.items():
            inputs = {name: _narrow(question.inputs[name], kind) for name in names}
            yield changed(question, "precision", f"{words} rounded to {kind}", inputs=inputs)
            result = Variant(
                "precision", f"{words} and the result rounded to {kind}",
                _narrow_result(question, kind), inputs,
            )  # fmt: skip
            yield result


def _narrow_result(question: Question, kind: str) -> Program:
    return continued(question.program, lambda x: x.tape.apply("narrow", x, kind=kind))


def _values(number: Number) -> np.ndarray:
    value = entries_of(number.value)
    return np.asarray(value.data if sp.issparse(value) else value)


def _narrow(number: Number, kind: str) -> Number:
    value = entries_of(number.value)
    if sp.issparse(value):
        return constant(_entries(value, narrowed(value.data, kind)))
    return replace(number, value=narrowed(value, kind))


@dataclass(frozen=True)
class _Place:
    """Where another tap may be read: the program's name, and the parent that it has there."""

    name: str
    parent: str


def _other_taps(question: Question) -> Iterator[Variant]:
    """Taps of the run read in place of the right ones."""
    pairs = [_Place(*pair) for pair in question.parents.items()]
    maps = [place for place in pairs if question.inputs[place.name].value.ndim == 4]
    if maps and len(maps) < len(pairs):
        yield from _other_levels(question, maps)
    for place in pairs:
        if place in maps:
            continue
        shape = question.inputs[place.name].value.shape
        for name, other in question.others.items():
            if name in (*question.row.parents, question.row.name) or np.size(other) != np.prod(
                shape
            ):
                continue
            mesh = shape[-1] == 3 and not _role(question)
            operand = _role(question) or ("mesh" if mesh else "input")
            wide = np.asarray(other, np.float64).reshape(shape)
            yield changed(
                question, operand, f"{name} for {place.parent}", inputs={place.name: wide}
            )


def _role(question: Question) -> str:
    """The role that all of a layer has, if it has one."""
    roles = {
        node.role for node in question.program.nodes
        if node.primitive not in ("input", "literal")
    }  # fmt: skip
    return roles.pop() if len(roles) == 1 else ""


def _other_levels(question: Question, maps: list[_Place]) -> Iterator[Variant]:
    """Maps of earlier or later layers, of which as many channels are read."""
    rows = [row for row in network_of(question.row.stage).taps if row.is_map]
    number = {row.name: place for place, row in enumerate(rows)}
    sides = [row.shape[1] for row in rows]
    # The last map of every side, and the very last.
    last = [i for i, side in enumerate(sides) if i + 1 == len(sides) or sides[i + 1] < side]
    places = [number[place.parent] for place in maps]
    others = [[each - 1 for each in places], [each + 1 for each in places]]
    for away in range(-LEVELS, LEVELS + 1):
        where = [last.index(each) + away if each in last else -1 for each in places]
        if away and min(where) >= 0 and max(where) < len(last):
            others.append([last[each] for each in where])
    read = {place.parent: question.inputs[place.name].value for place in maps}
    for found in others:
        if min(found) < 0 or max(found) >= len(rows):
            continue
        names = [rows[each].name for each in found]
        given = [read.get(name) if name in read else question.others.get(name) for name in names]
        channels = [question.inputs[place.name].value.shape[-1] for place in maps]
        # A map of fewer channels than are read cannot have been read.
        if all(g is not None and g.shape[-1] >= c for g, c in zip(given, channels, strict=True)):
            arrays = {
                place.name: np.asarray(g, np.float64)[..., :c]
                for place, g, c in zip(maps, given, channels, strict=True) if g is not None
            }  # fmt: skip
            yield changed(question, "map levels", f"the maps of {', '.join(names)}", inputs=arrays)
