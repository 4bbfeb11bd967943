"""What layers read beside activations: weights and the fixed arrays of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from network.registry import network_of
from network.taps import TapRow
from parity.oracle.number import Number, exactly

INDICES, VALUES, SHAPE = "/indices", "/values", "/shape"
PREFIX = "inputs/"
MOST_ROWS = 1_000_000
"""Rows and columns of a sparse matrix, or 64 for each of its values: a damaged index may ask for a
matrix that fills the memory."""


@dataclass(frozen=True, eq=False)
class Context:
    """The constants of a run, float32 values widened to float64.

    Attributes:
        stage: the network's name.
        weights: variables by checkpoint key, in the checkpoint's layout.
        arrays: by their names under ``/inputs``; a sparse matrix under the name that its
            ``/indices``, ``/values`` and perhaps ``/shape`` have in common, and each of a stack of
            matrices under its number.
    """

    stage: str
    weights: Mapping[str, np.ndarray]
    arrays: Mapping[str, Any]
    _numbers: dict[str, Number] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, stage: str, arrays: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> "Context":
        """From inputs named as under ``/inputs`` of a trace, and weights by checkpoint key.

        Raises:
            KeyError, ValueError, IndexError: the arrays do not fit each other.
        """
        found: dict[str, Any] = {}
        for name, array in arrays.items():
            whole, _, part = name.rpartition("/")
            if f"/{part}" == INDICES:
                places, shape = sparse_places(arrays, whole)
                values = widened(arrays[whole + VALUES])
                found[whole] = sp.csr_array((values, tuple(places.T)), shape=shape)
            elif f"/{part}" not in (VALUES, SHAPE) or whole + INDICES not in arrays:
                found[name] = widened(array)
                if found[name].ndim == 3 and found[name].shape[1] == found[name].shape[2]:
                    found |= {f"{name}/{k}": matrix for k, matrix in enumerate(found[name])}
        return cls(stage, {key: widened(array) for key, array in weights.items()}, found)

    def given(self, name: str) -> np.ndarray | None:
        """An input by the name that ``TapRow.parents`` has for it; None where there is none."""
        found = self.arrays.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        return None if found is None else np.asarray(found)

    def numbers(self, row: TapRow) -> dict[str, Number]:
        """A layer's variables and constants by the names in its program."""
        found = {name: self._number("weights", key) for name, key in row.variables.items()}
        for name, key in row.constants.items():
            found[name] = self._number("arrays", key)
        return found

    def variables(self, row: TapRow) -> dict[str, np.ndarray]:
        """A layer's variables by the names in its program."""
        return {name: self.weights[key] for name, key in row.variables.items()}

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """The inputs that change through the network, by their names among ``TapRow.parents``."""
        names = network_of(self.stage).read
        return {name: self.arrays[name.removeprefix(PREFIX)] for name in names}

    @property
    def cameras(self) -> np.ndarray:
        """(views, 5); none in a network without."""
        return np.asarray(self.arrays.get("cameras", np.zeros((0, 5))))

    @property
    def offsets(self) -> np.ndarray:
        """(hypotheses, 3); none in a network without."""
        return np.asarray(self.arrays.get("hypotheses/offsets", np.zeros((0, 3))))

    @property
    def supports(self) -> tuple[tuple[Any, Any], ...]:
        """A pair of matrices a graph that the network works on."""
        pairs = {
            (row.constants["support_0"], row.constants["support_1"])
            for row in network_of(self.stage).taps
            if "support_0" in row.constants
        }
        return tuple((self.arrays[first], self.arrays[second]) for first, second in sorted(pairs))

    @property
    def unpooling(self) -> tuple[np.ndarray, ...]:
        """The vertex pairs of each unpooling."""
        rows = network_of(self.stage).taps
        names = [row.constants["pairs"] for row in rows if "pairs" in row.constants]
        return tuple(self.arrays[name].astype(np.int64) for name in names)

    def with_arrays(self, **changed: np.ndarray) -> "Context":
        """The same with other arrays, by name."""
        return replace(self, arrays={**self.arrays, **changed}, _numbers={})

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> "Context":
        """The same with other values of some variables."""
        return replace(self, weights={**self.weights, **weights}, _numbers={})

    def _number(self, group: str, key: str) -> Number:
        if key not in self._numbers:
            found = getattr(self, group)[key]
            self._numbers[key] = constant(found) if sp.issparse(found) else exactly(found)
        return self._numbers[key]


def sparse_places(
    arrays: Mapping[str, np.ndarray], name: str
) -> tuple[np.ndarray, tuple[int, int]]:
    """Where a sparse matrix has its values, (n, 2) int64, and its shape.

    The shape is ``NAME/shape`` where that is given. Else the matrix is square and ends with its
    last index, as those of the mesh template do.

    Raises:
        ValueError: an index is of no row or column.
    """
    places = np.asarray(arrays[name + INDICES]).astype(np.int64)
    if name + SHAPE in arrays:
        rows, columns = (int(each) for each in arrays[name + SHAPE])
    else:
        rows = columns = int(places.max(initial=-1)) + 1
    beyond = (places >= (rows, columns)).any() or places.min(initial=0) < 0
    if beyond or max(rows, columns) > max(MOST_ROWS, 64 * len(places)):
        raise ValueError(f"{name}{INDICES} holds an index of no row or column")
    return places, (rows, columns)


def constant(matrix: Any) -> Number:
    """A sparse matrix as an operand."""
    held = np.empty((), object)
    held[()] = matrix
    return Number(held)


def widened(array: Any) -> np.ndarray:
    """Float32 values in float64."""
    return np.asarray(array).astype(np.float32).astype(np.float64)
