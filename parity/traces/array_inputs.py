"""What a network reads that is fed with arrays, not with an item and a mesh template."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from network.description import Network
from network.registry import names, network_of
from network.weights import STAGES
from parity.oracle.context import INDICES, SHAPE, VALUES, sparse_places
from weight_conversion.containers import npz
from weight_conversion.errors import InputError
from weight_conversion.recognise import listing


@dataclass(frozen=True)
class ArrayInputs:
    """What both sides of such a network read.

    Attributes:
        stage: the network's name.
        given: arrays by their names under ``/inputs``: those of ``Network.inputs``, float32 and
            finite, and the constants that its layers read; a sparse matrix as ``NAME/indices``
            (n, 2) and ``NAME/values`` (n,), square and as large as its last index where there is
            no ``NAME/shape`` (2,).

    Raises:
        InputError: one is missing, of another shape or type, or not finite, or indices are of no
            row or column.
    """

    stage: str
    given: Mapping[str, np.ndarray]
    ground_truth: None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        network = network_of(self.stage)
        for name, shape in network.inputs.items():
            found = f"shape {self.given[name].shape}" if name in self.given else "nothing"
            if found != f"shape {shape}":
                raise InputError(f"input {name}", found, f"{shape}")
            array = self.given[name]
            if array.dtype != np.float32:
                raise InputError(f"input {name}", f"{array.dtype}", "float32, in either precision")
            if not np.isfinite(array).all():
                raise InputError(f"input {name}", "NaN or infinity", "finite numbers")
        for name in network.constants:
            if not _holds(self.given, name):
                expected = f"an array, or {name}{INDICES} and {name}{VALUES}"
                raise InputError(f"constant {name}", "nothing", expected)
            _check_constant(network, self.given, name)

    def mapping(self) -> dict[str, Any]:
        """The ``inputs`` argument of ``Backend.run``."""
        return dict(self.given)

    def arrays(self) -> dict[str, np.ndarray]:
        """What the network reads, by its name under ``/inputs``, all of it hashed."""
        return dict(self.given)

    def faces(self) -> None:
        """The triangles of the output mesh: there are none."""


@dataclass(frozen=True)
class ArraySources:
    """The one source of a network that is fed with arrays; as ``parity.traces.sources.Sources``."""

    inputs: ArrayInputs
    ground_truth: None = None
    notes: tuple[str, ...] = ()

    def of(self, stage: str, mesh: np.ndarray | None = None) -> ArrayInputs:  # noqa: ARG002
        """The inputs; there is one stage and no mesh that another one could give."""
        assert stage == self.inputs.stage
        return self.inputs


def load_array_inputs(path: Path, stage: str) -> ArrayInputs:
    """Read a network's inputs and constants from an ``.npz`` file.

    Raises:
        InputError: the file is no archive of arrays, or they are not what the network reads.
    """
    with npz.opened(path) as contents:
        arrays = {each.name: contents.read(each.name) for each in contents.variables}
    try:
        return ArrayInputs(stage, arrays)
    except InputError as error:
        raise InputError(path, str(error)) from error


def network_in(path: Path) -> str:
    """The network of a user's own whose inputs and constants a file names.

    Raises:
        InputError: the file is no archive of arrays, or fits no registered network, or several.
    """
    with npz.opened(path) as contents:
        there = {each.name for each in contents.variables}
    own = [name for name in names() if name not in STAGES]
    fitting = [name for name in own if _complete(name, there)]
    if len(fitting) != 1:
        found = f"{listing(there)}, as {' and '.join(fitting) or 'no registered network'} reads"
        raise InputError(path, found, f"the inputs of one of {', '.join(own) or 'none registered'}")
    return fitting[0]


def _complete(stage: str, there: Collection[str]) -> bool:
    """Whether all that a network reads is there."""
    network = network_of(stage)
    return all(_holds(there, name) for name in (*network.inputs, *network.constants))


def _check_constant(network: Network, given: Mapping[str, np.ndarray], name: str) -> None:
    stack = name.rpartition("/")[0]
    dense = given.get(name, given.get(stack))
    values = dense if dense is not None else given[name + VALUES]
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"constant {name}", f"{values.dtype}, not all finite", "finite numbers")
    if dense is not None:
        return
    places = given[name + INDICES]
    count = values.size
    if values.ndim != 1 or places.shape != (count, 2) or places.dtype.kind not in "iu":
        found = f"{places.dtype} {places.shape} for values {values.shape}"
        raise InputError(f"constant {name}{INDICES}", found, f"whole numbers ({count}, 2)")
    shape = given.get(name + SHAPE)
    if shape is not None and (shape.shape != (2,) or shape.dtype.kind not in "iu"):
        raise InputError(f"constant {name}{SHAPE}", f"{shape.dtype} {shape.shape}", "two numbers")
    try:
        _, (rows, columns) = sparse_places(given, name)
    except ValueError as error:
        raise InputError(f"constant {name}", f"{error}", "rows and columns of a matrix") from error
    for row in network.taps:
        # Of a layer of the project's own it is known which rows the matrix joins.
        if row.formula is None and name in row.constants.values():
            joined = row.shape[0] if len(row.shape) == 2 else row.shape[1]
            if (rows, columns) != (joined, joined):
                expected = f"({joined}, {joined}) as {row.name} reads; {name}{SHAPE} says so"
                raise InputError(f"constant {name}", f"a matrix ({rows}, {columns})", expected)


def _holds(there: Collection[str], name: str) -> bool:
    """Whether there is an array of that name, a stack that it is one of, or a sparse matrix."""
    stack, _, number = name.rpartition("/")
    return (
        name in there
        or (number.isdecimal() and stack in there)
        or (name + INDICES in there and name + VALUES in there)
    )
