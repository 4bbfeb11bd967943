"""Arrays that are solved for: a bias, offsets, an image, weights, a matrix's entry, an index.

An array has many numbers, and an output can often be had with some. So it counts only where nothing
simpler fits, and where it has fewer unknown numbers than the output shows.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from network.layers import INPUTS
from network.taps import IMAGES
from parity.diagnosis.factors import (
    SOLVED,
    Term,
    outermost,
    shown,
    some_rows,
    values_of,
)
from parity.diagnosis.operands import changed
from parity.diagnosis.orders import same_order, told
from parity.diagnosis.question import Part, Question, Variant
from parity.oracle.context import constant
from parity.oracle.evaluate import evaluate
from parity.oracle.number import exactly
from parity.oracle.primitives.products import convolved, entries_of, input_gradient

CG_STEPS = 250
FEW_ROWS = 16
"""Wrong rows up to which single entries and indices are solved for."""
SURPLUS = 1.5
"""Equations for each unknown number of a matrix, at least."""
HELD = 2.0**-24
"""How far a byte over 255 may be from its float32."""
NEAR = 1e-5
"""What may be left of a wrong row, relatively, for one entry to explain it."""


def variants(question: Question) -> Iterator[Variant]:
    """The layer with an array that is solved for."""
    yield from _arrays(question)
    yield from _entries(question)
    yield from _indices(question)
    yield from _weights(question)
    yield from _image(question)


def _terms(question: Question) -> tuple[Sequence[Term], list[np.ndarray], np.ndarray]:
    """The terms of the outermost sum, their values, and what is observed where it is seen."""
    terms, rectified = outermost(question.program)
    parts, seen = shown(question, terms, Part())
    parts = [each.factor * part for each, part in zip(terms, parts, strict=True)]
    return terms, parts, np.where(seen > 0, seen, np.nan) if rectified else seen


def _entries(question: Question) -> Iterator[Variant]:
    """One entry of a matrix of a graph in each wrong row, another or missing."""
    wrong = np.flatnonzero(question.share_by_row > 1.0)
    terms, _ = outermost(question.program)
    nodes = question.program.nodes
    if question.observed.ndim != 2 or len(wrong) > FEW_ROWS or len(terms) < 2:
        return
    _, parts, seen = _terms(question)
    left = seen - sum(parts)
    for term in terms:
        node = nodes[term.index]
        if node.primitive != "sparse_matmul" or nodes[node.operands[0]].primitive != "input":
            continue
        name = nodes[node.operands[0]].settings["name"]
        matrix = sp.lil_array(entries_of(question.inputs[name].value))
        (product,) = values_of(question, [node.operands[1]], Part())
        places = []
        for row in wrong:
            on = np.isfinite(left[row])
            if np.count_nonzero(on) < 2:
                break
            columns = product[:, on]
            square = np.maximum(np.square(columns).sum(axis=1), np.finfo(float).tiny)
            by = columns @ left[row, on] / square
            rest = np.square(left[row, on] - by[:, None] * columns).sum(axis=1)
            at = int(np.argmin(rest))
            if rest[at] > NEAR**2 * np.square(left[row, on]).sum():
                break
            there = float(np.float32(matrix[row, at] + by[at]))
            scale = float(np.abs(matrix[row, at]) + np.abs(by[at]))
            there = 0.0 if abs(there) <= NEAR * scale else there
            places.append(f"[{row}, {at}] {there:.4g} instead of {float(matrix[row, at]):.4g}")
            matrix[row, at] = there
        else:
            yield changed(
                question, INPUTS.get(name, name), f"the entry {' and '.join(places)} of {name}",
                rank=SOLVED, inputs={name: constant(sp.csr_array(matrix))},
            )  # fmt: skip


def _indices(question: Question) -> Iterator[Variant]:
    """One index of each wrong row of a table of indices."""
    wrong = np.flatnonzero(question.share_by_row > 1.0)
    for name in question.row.constants:
        table = entries_of(question.inputs[name].value)
        if INPUTS.get(name) != "index order" or np.ndim(table) != 2 or len(wrong) > FEW_ROWS:
            continue
        # The rows that are made with the table come last.
        before = len(question.observed) - len(table)
        found, words = table.copy(), []
        if before < 0 or (wrong < before).any():
            continue
        for row in wrong:
            best = _best_index(question, name, table, before, int(row))
            if best is None:
                break
            column, index = best
            place = row - before, column
            words.append(
                f"{index} instead of {int(table[place])} at {[int(each) for each in place]}"
            )
            found[place] = index
        else:
            if words:
                yield changed(question, "index order", f"{', '.join(words)} of {name}",
                              rank=SOLVED, inputs={name: found})  # fmt: skip


def _best_index(
    question: Question, name: str, table: np.ndarray, before: int, row: int
) -> tuple[int, int] | None:
    """The column and the index with which a row comes out, all of them tried at once."""
    count = before
    for column in range(table.shape[1]):
        tried = np.repeat(table[row - before][None], count, axis=0)
        tried[:, column] = np.arange(count)
        inputs = {**question.inputs, name: exactly(tried)}
        number = evaluate(question.program, inputs, question.arithmetic).number
        if len(number.value) != before + count:
            return None
        limit = np.broadcast_to(question.arithmetic.limit(number), number.value.shape)[before:]
        away = np.abs(number.value[before:] - question.observed[row])
        fits = np.flatnonzero((away <= limit).all(axis=tuple(range(1, away.ndim))))
        if len(fits):
            return column, int(fits[0])
    return None


def _weights(question: Question) -> Iterator[Variant]:
    """A matrix of a product, by least squares on the rows that the activation lets through."""
    terms, _ = outermost(question.program)
    nodes = question.program.nodes
    if len(terms) < 2 or question.row.is_map or not question.row.variables:
        return
    channels = question.observed.shape[-1]
    rows = int(np.prod(question.observed.shape[:-1]))
    bad = np.flatnonzero(question.share.reshape(-1, channels).max(axis=0) > 1.0)
    _, parts, seen = _terms(question)
    for term, own in zip(terms, parts, strict=True):
        place = _product(question, term)
        if place is None:
            continue
        name, reads = place
        matrix = question.inputs[name].value
        if rows < SURPLUS * len(matrix):
            continue
        (x,) = values_of(question, [reads], Part())
        node = nodes[term.index]
        if node.primitive == "sparse_matmul":
            support = entries_of(question.inputs[nodes[node.operands[0]].settings["name"]].value)
            x = support @ x
        design = term.factor * x.reshape(-1, x.shape[-1])
        rest = (seen - sum(part for part in parts if part is not own)).reshape(-1, channels)
        solved = matrix.copy()
        for channel in bad:
            on = np.isfinite(rest[:, channel])
            if np.count_nonzero(on) < SURPLUS * len(matrix):
                break
            answer, _, rank, _ = np.linalg.lstsq(design[on], rest[on, channel], rcond=1e-12)
            if rank < len(matrix):
                break
            # What float32 held is had again exactly.
            solved[:, channel] = answer.astype(np.float32)
        else:
            where = np.argwhere(solved != matrix)
            if len(where):
                first = where[0].tolist()
                words = (
                    f"{len(where)} of {matrix.size} numbers of {name} others, at {first} "
                    f"{solved[tuple(first)]:.8g} instead of {matrix[tuple(first)]:.8g}"
                )
                yield changed(question, INPUTS.get(name, name), words, rank=SOLVED,
                              inputs={name: solved})  # fmt: skip


def _product(question: Question, term: Term) -> tuple[str, int] | None:
    """The variable of a term's product, and the node that it is multiplied with."""
    nodes = question.program.nodes
    node = nodes[term.index]
    if node.primitive == "sparse_matmul":
        node = nodes[node.operands[1]]
    if node.primitive != "matmul":
        return None
    name = nodes[node.operands[1]].settings.get("name")
    return (str(name), node.operands[0]) if name in question.row.variables else None


def _arrays(question: Question) -> Iterator[Variant]:
    """A variable or a constant that is a term itself, solved for: what is left of the output."""
    terms, rectified = outermost(question.program)
    nodes = question.program.nodes
    for term in terms if len(terms) > 1 else ():
        name = str(nodes[term.index].settings.get("name"))
        if name not in question.row.variables and name not in question.row.constants:
            continue
        official = question.inputs[name].value
        others = [each for each in terms if each is not term]
        parts, seen = shown(question, others, some_rows(question))
        rest = seen - sum(each.factor * part for each, part in zip(others, parts, strict=True))
        if rectified:
            rest = np.where(seen > 0, rest, np.nan)
        axes = tuple(range(rest.ndim - official.ndim))
        rest = np.where(np.isfinite(rest), rest, np.nan)
        if len(rest) < 2 or not axes or np.isnan(rest).all():
            continue
        with np.errstate(invalid="ignore"):
            known = np.isfinite(rest).sum(axis=axes) >= min(8, len(rest))
            found = np.where(known, _median(rest, axes) / term.factor, official)
        operand = INPUTS.get(name, name)
        tolerance = 8 * question.arithmetic.roundoff * float(np.nanmax(np.abs(rest)))
        if official.ndim > 1:
            order = same_order(found.T, official.T, tolerance)
            if order is not None and (order != np.arange(len(order))).any():
                yield changed(question, operand, f"the rows of {name} in another order"
                              + told(order), rank=1, inputs={name: official[order]})  # fmt: skip
        wrong = np.abs(found - official) > tolerance
        where = np.argwhere(wrong)
        if len(where):
            words = f"{len(where)} of {official.size} numbers of {name} others"
            words += f", the first at {where[0].tolist()}"
            solved = np.where(wrong, found.astype(np.float32), official)
            yield changed(question, operand, words, rank=SOLVED, inputs={name: solved})


def _median(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axes))


def _image(question: Question) -> Iterator[Variant]:
    """Another image: the one that explains the output of a convolution of images best.

    Three numbers a pixel are sought and sixteen are known, of which the ReLU hides about half: an
    image that gives all of them to rounding is no accident.
    """
    if question.row.parents != (IMAGES,) or "weight" not in question.row.variables:
        return
    (name,) = question.activations
    image, kernel, bias = (question.inputs[each].value for each in (name, "weight", "bias"))
    stride = int(question.row.settings["stride"])
    first = question.sample.rows
    if first is None:
        return
    solved = image.copy()
    for view in (*first, *(view for view in range(len(image)) if view not in first)):
        found = _solved(image[view : view + 1], kernel, bias, stride,
                        question.observed[view : view + 1])[0]  # fmt: skip
        for held in (_bytes(found), found):
            solved[view] = held
            other = changed(question, "image", "another image", rank=SOLVED,
                            inputs={name: solved})  # fmt: skip
            if question.excess(other, Part(rows=np.array([view]))) <= 1.0:
                break
        else:
            return
    yield changed(question, "image", "another image", rank=SOLVED, inputs={name: solved})


def _bytes(image: np.ndarray) -> np.ndarray:
    """Pixels that are bytes over 255 but for the solution's error, as float32 has them.

    Where a pixel is 0 the layer rounds next to nothing, and an error of 1e-16 there is one.
    """
    nearest = (np.round(image * 255).astype(np.float32) / np.float32(255)).astype(np.float64)
    return np.where(np.abs(image - nearest) <= HELD, nearest, image)


def _solved(
    image: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, observed: np.ndarray
) -> np.ndarray:
    """By conjugate gradients on the equations of the outputs that are positive.

    CGLS (Björck, "Numerical methods for least squares problems", algorithm 7.4.1), from the
    official image.
    """
    on = (observed > 0).astype(np.float64)
    target = on * (observed - bias)

    def forward(x: np.ndarray) -> np.ndarray:
        return on * convolved(x, kernel, stride)

    def adjoint(y: np.ndarray) -> np.ndarray:
        return input_gradient(y, kernel, image.shape, stride)

    x = image.copy()
    residual = target - forward(x)
    gradient = adjoint(residual)
    direction, size = gradient, float((gradient**2).sum())
    first = size
    for _ in range(CG_STEPS):
        if size <= 1e-32 * first:
            break
        moved = forward(direction)
        step = size / float((moved**2).sum())
        x = x + step * direction
        residual = residual - step * moved
        gradient = adjoint(residual)
        size, last = float((gradient**2).sum()), size
        direction = gradient + (size / last) * direction
    return x
