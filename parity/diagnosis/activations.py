"""Other activations than a layer should read: in another order, rounded, or of another layer."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import scipy.sparse as sp

from network.program import Program, continued
from network.registry import network_of
from network.taps import IMAGES
from parity.diagnosis.operands import FEW, changed, orders_of, with_entries
from parity.diagnosis.question import Question, Variant
from parity.oracle.context import constant
from parity.oracle.number import Number
from parity.oracle.primitives.narrow import NARROWER, narrowed
from parity.oracle.primitives.products import entries_of

LEVELS = 6
"""Feature maps away from the right ones that are tried as well."""


def variants(question: Question) -> Iterator[Variant]:
    """Everything that may be read in place of a layer's activations."""
    yield from _activations(question)
    yield from _narrower(question)
    yield from _other_taps(question)


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
            for words, order in orders_of(array.shape[-1]):
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
        return constant(with_entries(value, narrowed(value.data, kind)))
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
