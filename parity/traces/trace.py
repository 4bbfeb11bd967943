"""Trace files: one recorded run, in HDF5, written and read one tap at a time.

A refine trace holds 4.5 GB with its float64 run and is never in memory whole. ``docs/trace.md``
describes the layout, ``parity.traces.layout`` has its names.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as short
from typing import Any, TypeVar

import h5py
import numpy as np

from network.description import Network
from network.registry import names, network_of
from parity.oracle.chunks import Part, cut, rows_in
from parity.traces.layout import (
    CHECKSUM,
    FLOAT64,
    FORMER_SCHEMA,
    READ_GROUPS,
    ROOT_ATTRIBUTES,
    TAPS,
    TRACE_SCHEMA,
)
from parity.traces.untrusted import (
    SMALL,
    checked,
    dataset_names,
    reading,
    selections,
    text,
)
from weight_conversion.attributes import attribute
from weight_conversion.crc32c import array_crc32c, crc32c
from weight_conversion.errors import InputError

Kind = TypeVar("Kind", dict[str, Any], list[Any])


@dataclass(frozen=True)
class Side:
    """Where one side of a comparison came from, read from its trace's root attributes.

    ``path`` is empty where the trace was not kept.
    """

    path: str
    backend: str
    dtype: str
    device: str
    weights_sha256: str
    inputs_sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TraceHeader:
    """The root attributes of a trace.

    ``requested`` is the glob of ``--taps`` that it was recorded with; ``unmatched`` maps taps that
    the backend does not have to its reason. ``vertices`` are the ranges [start, stop) that taps
    were recorded at, of a mesh whose vertices the network does not mix, empty for all of them; the
    blocks' output meshes are whole all the same. ``float64_missing`` says why there is no run in
    float64, where one was asked for and the backend could not make it. ``notes`` say what is
    unlikely to be meant in the inputs.
    """

    stage: str
    backend: str
    dtype: str
    device: str
    weights_sha256: str
    inputs_sha256: str
    versions: Mapping[str, str] = field(default_factory=dict)
    requested: str = "*"
    unmatched: Mapping[str, str] = field(default_factory=dict)
    float64_missing: str = ""
    notes: tuple[str, ...] = ()
    vertices: tuple[tuple[int, int], ...] = ()


def inputs_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of inputs: over the sorted names, shapes and little-endian float32 bytes.

    Integers are hashed as float32 too, which is exact below 2**24, far above any index here.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name} {list(array.shape)}\n".encode(errors="surrogateescape"))
        digest.update(array.tobytes())
    return digest.hexdigest()


def root_crc32c(attributes: Mapping[str, Any]) -> int:
    """The checksum of a trace's root attributes.

    It covers those in ``ROOT_ATTRIBUTES``, sorted by name: the name, a zero byte, the value as
    text, a newline. What other programs add to the root is not covered.
    """
    lines = (
        f"{name}\0{attributes[name]}\n" for name in sorted(ROOT_ATTRIBUTES) if name in attributes
    )
    return crc32c("".join(lines).encode(errors="surrogateescape"))


class TraceReader:
    """Reads a trace, one tap at a time, without trusting the file."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self._groups: dict[str, dict[str, None]] = {}
        self.header = _read_header(path, file)

    @property
    def network(self) -> Network:
        """The network that the trace is of.

        Raises:
            InputError: nobody has described it.
        """
        if self.header.stage not in names():
            raise InputError(self.path, f"stage {short(self.header.stage)}", " or ".join(names()))
        return network_of(self.header.stage)

    @property
    def side(self) -> Side:
        """This trace as one side of a comparison."""
        header = self.header
        return Side(
            path=str(self.path),
            backend=header.backend,
            dtype=header.dtype,
            device=header.device,
            weights_sha256=header.weights_sha256,
            inputs_sha256=header.inputs_sha256,
            versions=header.versions,
        )

    @property
    def recorded(self) -> list[slice]:
        """The vertices that taps were recorded at, of the mesh that the stage starts from."""
        ranges = self.header.vertices or ((0, network_of(self.header.stage).starts_with),)
        return [slice(*each) for each in ranges]

    def names(self, group: str) -> list[str]:
        """Names in a group, such as ``/taps``, ``/losses``, ``/gradients`` or ``/inputs``.

        A name may contain slashes, as checkpoint keys do. Taps come in the order of their attribute
        ``order``, those without one last.

        Raises:
            InputError: the group holds anything but numbers stored in this file.
        """
        return list(self._members(group))

    def has(self, group: str, name: str) -> bool:
        """Whether the trace holds this dataset."""
        return name in self._members(group)

    def dataset(self, group: str, name: str) -> h5py.Dataset:
        """The dataset, checked but not read; its values through ``slabs`` or ``array``."""
        where = f"/{group}/{name}"
        if not self.has(group, name):
            raise InputError(self.path, f"no {where}", "a whole trace")
        with reading(self.path, where):
            return checked(self.path, self._file[where], where)

    def array(self, group: str, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """A whole dataset, which must be small, and of ``shape`` where that is given."""
        dataset = self.dataset(group, name)
        if shape is not None and dataset.shape != shape:
            raise InputError(self.path, f"/{group}/{name} has shape {dataset.shape}", f"{shape}")
        if dataset.size > SMALL:
            raise InputError(
                self.path,
                f"/{group}/{name} has shape {dataset.shape}",
                f"at most {SMALL:,} numbers",
            )
        return self.read(group, name, dataset, ())

    def slabs(
        self, group: str, name: str, most: int, *others: "TraceReader"
    ) -> Iterator[tuple[int, list[np.ndarray]]]:
        """What was recorded of a dataset, in C order, here and in other traces of its shape.

        The same elements of each, whichever way a file is divided.

        Yields:
            The place of the first value, and values of all traces, flat, at most ``most`` of each.
        """
        dataset, start = self.dataset(group, name), 0
        sides = [(self, dataset), *((each, each.dataset(group, name)) for each in others)]
        if not dataset.chunks or not dataset.shape:
            for selection in selections(dataset.shape, most):
                found = [side.read(group, name, of, selection).ravel() for side, of in sides]
                yield start, found
                start += found[0].size
            return
        # Slabs would cut chunks, and each cut would read and check the whole chunk again.
        rows, size = dataset.chunks[0], math.prod(dataset.shape[1:])
        whole = [slice(0, dataset.shape[0])]
        for window in rows_recorded(self.header, group, name, dataset.shape) or whole:
            for row in range(window.start, window.stop, rows):
                part = slice(row, min(row + rows, window.stop))
                blocks = [side.read(group, name, of, part).ravel() for side, of in sides]
                for first in range(0, blocks[0].size, most):
                    yield row * size + first, [each[first : first + most] for each in blocks]

    def values(self, group: str, name: str, part: Part) -> np.ndarray:
        """A dataset's values at some vertices, see ``parity.oracle.chunks``."""
        dataset = self.dataset(group, name)
        with reading(self.path, f"/{group}/{name}"):
            return cut(dataset, self._rows_per_vertex(name), part)

    def _rows_per_vertex(self, name: str) -> int | None:
        stage = self.header.stage
        return network_of(stage).rows_per_vertex(name) if stage in names() else None

    def read(self, group: str, name: str, dataset: h5py.Dataset, selection: Any) -> np.ndarray:
        """Part of a dataset, as h5py selects it."""
        with reading(self.path, f"/{group}/{name}"):
            found = np.asarray(dataset[selection])
            self._check(dataset, found, f"/{group}/{name}")
            return found

    def _check(self, dataset: h5py.Dataset, found: np.ndarray, where: str) -> None:
        """Hold a scalar against its checksum; HDF5 itself checks every chunk of an array."""
        if dataset.shape or CHECKSUM not in dataset.attrs:
            return
        if attribute(self.path, dataset, CHECKSUM) != array_crc32c(found):
            raise InputError(self.path, f"{where} has not its checksum", "an undamaged trace")

    def significand(self, group: str, name: str) -> int:
        """Bits of the significand of the type that the file holds the numbers in; 0 for integers.

        NumPy's type does not say it: bfloat16 reads as float32.
        """
        dataset = self.dataset(group, name)
        with reading(self.path, f"/{group}/{name}"):
            kind = dataset.id.get_type()
            return kind.get_fields()[4] + 1 if isinstance(kind, h5py.h5t.TypeFloatID) else 0

    def faces(self) -> np.ndarray | None:
        """The output mesh's triangles, where the trace has them."""
        return self.array("mesh", "faces") if self.has("mesh", "faces") else None

    def _members(self, group: str) -> dict[str, None]:
        """The names of a group in order; checked, and read from the file, but once."""
        if group not in self._groups:
            names = dataset_names(self.path, self._file, group)
            if group == "taps":
                names.sort(key=self._order)
            self._groups[group] = dict.fromkeys(names)
        return self._groups[group]

    def _order(self, tap: str) -> float:
        with reading(self.path, f"tap {tap}'s order"):
            value = attribute(self.path, self._file[f"taps/{tap}"], "order")
        if value is None:
            return math.inf
        if not isinstance(value, np.integer | np.floating) or np.isnan(value):
            raise InputError(self.path, f"tap {tap} has order {short(value)}", "an integer")
        return float(value)


_TEXTS = ("stage", "backend", "dtype", "device", "weights_sha256", "inputs_sha256")


def _read_header(path: Path, file: h5py.File) -> TraceHeader:
    with reading(path, "the root attributes"):
        schema = attribute(path, file, "schema")
        if schema == FORMER_SCHEMA:
            raise InputError(
                path, f"schema {short(schema)}, of an earlier version", "the trace recorded again"
            )
        if schema != TRACE_SCHEMA:
            raise InputError(path, f"schema {short(schema)}", repr(TRACE_SCHEMA))
        complete = attribute(path, file, "complete")
        if not isinstance(complete, bool | np.bool_) or not complete:
            raise InputError(
                path, "an incomplete trace: its recording did not finish", "a complete one"
            )
        _check_root(path, file)
        texts = {name: text(path, file, name) for name in _TEXTS}
        # Optional: traces of other programs may lack these.
        texts |= {
            name: text(path, file, name)
            for name in ("requested", "float64_missing")
            if name in file.attrs
        }
        return TraceHeader(
            **texts,
            versions=_mapping(path, file, "versions"),
            unmatched=_mapping(path, file, "unmatched"),
            notes=tuple(map(str, _json(path, file, "notes", list))),
            vertices=_vertices(path, file, texts["stage"]),
        )


def _vertices(path: Path, file: h5py.File, stage: str) -> tuple[tuple[int, int], ...]:
    """The ranges of vertices that a trace holds, if it says so.

    Raises:
        InputError: they are no ranges of the network's vertices, one after the other.
    """
    found = _json(path, file, "vertices", list)
    if not found:
        return ()
    network = network_of(stage) if stage in names() else None
    most = network.starts_with if network is not None and network.vertexwise else 0
    numbers = [0]
    for each in found:
        if not isinstance(each, list) or len(each) != 2 or not all(type(n) is int for n in each):
            break
        numbers += each
    # Ranges may touch, but none is empty.
    ranges = tuple(zip(numbers[1::2], numbers[2::2], strict=True))
    whole = len(ranges) == len(found) and numbers == sorted(numbers) and numbers[-1] <= most
    if not whole or any(start == stop for start, stop in ranges):
        expected = f"ranges of its {most:,} vertices, in order" if most else "none in this stage"
        raise InputError(path, f"root attribute 'vertices' is {short(found)}", expected)
    return ranges


def _check_root(path: Path, file: h5py.File) -> None:
    """Hold the root attributes against their checksum; other programs' traces have none.

    Raises:
        InputError: they have another.
    """
    stored = attribute(path, file, CHECKSUM)
    if stored is None:
        return
    found = {name: attribute(path, file, name) for name in ROOT_ATTRIBUTES if name in file.attrs}
    if stored != root_crc32c(found):
        raise InputError(path, "the root attributes have not their checksum", "an undamaged trace")


def _mapping(path: Path, file: h5py.File, name: str) -> dict[str, str]:
    value = _json(path, file, name, dict)
    return {str(key): str(entry) for key, entry in value.items()}


def _json(path: Path, file: h5py.File, name: str, kind: type[Kind]) -> Kind:
    """A root attribute that holds a JSON object (``dict``) or array (``list``); empty without."""
    if name not in file.attrs:
        return kind()
    try:
        value = json.loads(text(path, file, name))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"root attribute {name!r} is no JSON", "JSON") from error
    if not isinstance(value, kind):
        noun = "object" if kind is dict else "array"
        raise InputError(path, f"root attribute {name!r} is no JSON {noun}", f"an {noun}")
    return value


def rows_recorded(
    header: TraceHeader, group: str, name: str, shape: tuple[int, ...]
) -> list[slice] | None:
    """The rows of a dataset that a trace of some vertices holds; None where it holds all of it."""
    if not header.vertices or group not in (TAPS, FLOAT64):
        return None
    network = network_of(header.stage)
    row = network.rows.get(name)
    if row is None or row.rows_per_vertex is None or name in network.meshes or shape != row.shape:
        return None
    return [rows_in(row.rows_per_vertex, slice(*each)) for each in header.vertices]


@contextmanager
def open_trace(path: Path) -> Iterator[TraceReader]:
    """Open a trace for reading.

    Raises:
        InputError: it is missing, no HDF5 file, of another schema, incomplete, holds no taps or
            holds anything but numbers of its own.
    """
    if not path.is_file():
        found = "not a file" if path.exists() else "no such file"
        raise InputError(path, found, "a trace (.h5)")
    try:
        file = h5py.File(path, "r")
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(path, "not a readable HDF5 file", "a trace (.h5)") from error
    with file:
        reader = TraceReader(path, file)
        for group in READ_GROUPS:
            reader.names(group)  # checks all that the group holds
        if not reader.names("taps"):
            raise InputError(path, "an empty trace: no taps", "at least one tap")
        yield reader
