"""Going through large arrays a few rows at a time.

Bounds, errors and what they add up to take a dozen arrays of an activation's size. Of a large one
they would come from memory, and not from a processor's cache, each time.
"""

import math

import numpy as np

from parity.oracle.chunks import slices_of
from parity.oracle.number import Number, mapped

BLOCK = 2**17
"""Elements gone through at a time: a dozen arrays of so many stay in a processor's cache."""


def by_rows(array: np.ndarray) -> np.ndarray:
    """An array with rows along its first axis: those of a map are its pixels."""
    return array.reshape(-1, array.shape[-1]) if array.ndim > 3 else array


def blocks_of(shape: tuple[int, ...]) -> list[slice]:
    """The rows to go through, of an array as ``by_rows`` gives it."""
    if not shape:
        return [slice(0, 1)]
    if len(shape) > 3:
        shape = (math.prod(shape[:-1]), shape[-1])
    most = max(1, BLOCK // max(1, math.prod(shape[1:])))
    return slices_of(slice(0, shape[0]), most)


def rows_of(array: np.ndarray, rows: slice) -> np.ndarray:
    """Some rows of an array as ``by_rows`` gives it; a scalar is a row of its own."""
    return array[rows] if array.ndim else array


def numbers_at(number: Number, rows: slice) -> Number:
    """The same of a number with its bounds."""
    return mapped(number, lambda array: rows_of(by_rows(array), rows))
