"""Trace files: one recorded run, in HDF5, written and read one tap at a time.

A refine trace holds about 1.5 GB and is never in memory whole. The layout is the contract's schema
``p2m-parity-trace/1``; beside it stand ``/decisions/<tap>``, the pixel decisions of each
projection, and ``/mesh/faces``, the triangles of the output mesh, for pictures.
"""

import fnmatch
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from parity.result import Side
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

TRACE_SCHEMA = "p2m-parity-trace/1"
GROUPS = ("taps", "losses", "gradients")
LARGEST_TAP = 2**31
"""Elements; the greatest official tap has 2**25. A file that claims more is refused unread."""


@dataclass(frozen=True)
class TraceHeader:
    """The root attributes of a trace.

    ``requested`` is the glob of ``--taps`` that it was recorded with; ``unmatched`` maps taps that
    the backend does not have to its reason. ``pinned`` is the digest of the pixel decisions that
    the run was made to use, empty if it used its own.
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
    pinned: str = ""


def inputs_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of inputs: over the sorted names, shapes and little-endian float32 bytes.

    Integers are hashed as float32 too, which is exact below 2**24, far above any index here.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


class TraceWriter:
    """Writes a trace; the file appears under its name, complete, when the block succeeds.

    Use it as a context manager. An exception inside leaves an existing file as it was.
    """

    def __init__(self, path: Path, header: TraceHeader, orders: Mapping[str, int]) -> None:
        self.path = path
        self._header = header
        self._orders = orders

    def __enter__(self) -> "TraceWriter":
        self._replacing = replacing(self.path)
        temporary = self._replacing.__enter__()
        self._file = h5py.File(temporary, "w")
        attributes = {"schema": TRACE_SCHEMA, "complete": False, **vars(self._header)}
        for name, value in attributes.items():
            plain = json.dumps(dict(value)) if isinstance(value, Mapping) else value
            self._file.attrs[name] = plain
        return self

    def inputs(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write ``/inputs``; the three of the contract and whatever else the run read."""
        for name, array in arrays.items():
            self._file.create_dataset(f"inputs/{name}", data=array)

    def faces(self, faces: np.ndarray) -> None:
        """Write the output mesh's triangles (F, 3), zero-based."""
        self._file.create_dataset("mesh/faces", data=faces)

    def tap(self, name: str, value: np.ndarray) -> None:
        """Write one tap.

        Raises:
            InputError: the backend gave the tap twice, or no numbers.
        """
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise InputError(f"tap {name}", f"dtype {array.dtype}", "numbers")
        if f"taps/{name}" in self._file:
            raise InputError(f"tap {name}", "given twice by the backend", "one call a tap")
        dataset = self._file.create_dataset(f"taps/{name}", data=array)
        dataset.attrs["order"] = self._orders.get(name, len(self._orders) + self.count)

    def decisions(self, name: str, value: np.ndarray) -> None:
        """Write the pixel decisions of one projection."""
        self._file.create_dataset(f"decisions/{name}", data=np.asarray(value, dtype=np.int16))

    @property
    def count(self) -> int:
        """Taps written so far."""
        return len(self._file["taps"]) if "taps" in self._file else 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._file.attrs["complete"] = True
            self._file.close()
        except Exception as failure:  # whatever HDF5 raises when it cannot write
            if kind is None:
                problem = InputError(self.path, f"cannot be written ({failure})", "room to write")
                with suppress(InputError, OSError):
                    self._replacing.__exit__(InputError, problem, None)
                raise problem from failure
        self._replacing.__exit__(kind, error, traceback)


class TraceReader:
    """Reads a trace, one tap at a time, without trusting the file."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path = path
        self._file = file
        self.header = self._read_header()

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

    def names(self, group: str) -> list[str]:
        """Names in ``/taps``, ``/losses``, ``/gradients``, ``/decisions`` or ``/inputs``.

        A name may contain slashes, as checkpoint keys do.
        """
        if group not in self._file:
            return []
        self._hard_link(self._file, group)
        found: list[str] = []
        self._collect(self._file[group], "", found, depth=0)
        if group == "taps":
            found.sort(key=lambda name: self.order(name))
        return found

    def order(self, tap: str) -> int:
        """The tap's place in the order of computation."""
        value = self._file[f"taps/{tap}"].attrs.get("order", 0)
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise InputError(self.path, f"tap {tap} has order {value!r}", "an integer") from error

    def dataset(self, group: str, name: str) -> h5py.Dataset:
        """The dataset, checked but not read; its values through ``slabs`` or ``array``."""
        return self._checked(self._file[f"{group}/{name}"], f"/{group}/{name}")

    def array(self, group: str, name: str) -> np.ndarray:
        """A whole dataset; only for those known to be small."""
        dataset = self.dataset(group, name)
        try:
            value: np.ndarray = dataset[()]
        except OSError as error:
            raise self._damaged(f"/{group}/{name}", error) from error
        return np.asarray(value)

    def has(self, group: str, name: str) -> bool:
        """Whether the trace holds this dataset."""
        return f"{group}/{name}" in self._file

    def faces(self) -> np.ndarray | None:
        """The output mesh's triangles, where the trace has them."""
        return self.array("mesh", "faces") if self.has("mesh", "faces") else None

    def slabs(self, group: str, name: str, rows: int) -> Iterator[np.ndarray]:
        """The dataset's values, ``rows`` of the first axis at a time; a scalar as shape (1,)."""
        dataset = self.dataset(group, name)
        try:
            if dataset.ndim == 0:
                yield np.asarray(dataset[()]).reshape(1)
                return
            for start in range(0, dataset.shape[0], rows):
                yield dataset[start : start + rows]
        except OSError as error:
            raise self._damaged(f"/{group}/{name}", error) from error

    def _read_header(self) -> TraceHeader:
        attributes = self._file.attrs
        try:
            schema = attributes.get("schema")
            if schema != TRACE_SCHEMA:
                raise InputError(self.path, f"schema {schema!r}", repr(TRACE_SCHEMA))
            complete = attributes.get("complete")
            if not isinstance(complete, bool | np.bool_) or not complete:
                raise InputError(
                    self.path, "an incomplete trace: its recording did not finish", "a complete one"
                )
            texts = {
                name: self._text(name)
                for name in (
                    "stage",
                    "backend",
                    "dtype",
                    "device",
                    "weights_sha256",
                    "inputs_sha256",
                )
            }
            requested = self._text("requested") if "requested" in attributes else "*"
            pinned = self._text("pinned") if "pinned" in attributes else ""
            versions, unmatched = self._mapping("versions"), self._mapping("unmatched")
        except (OSError, UnicodeDecodeError, TypeError) as error:
            raise self._damaged("the root attributes", error) from error
        return TraceHeader(
            **texts, versions=versions, requested=requested, unmatched=unmatched, pinned=pinned
        )

    def _text(self, name: str) -> str:
        value = self._file.attrs.get(name)
        if not isinstance(value, str):
            found = "absent" if value is None else f"of type {type(value).__name__}"
            raise InputError(self.path, f"root attribute {name!r} is {found}", "a text")
        return value

    def _mapping(self, name: str) -> dict[str, str]:
        if name not in self._file.attrs:
            return {}
        try:
            value = json.loads(self._text(name))
        except json.JSONDecodeError as error:
            raise InputError(self.path, f"root attribute {name!r} is no JSON", "JSON") from error
        if not isinstance(value, dict):
            raise InputError(self.path, f"root attribute {name!r} is no JSON object", "an object")
        return {str(key): str(entry) for key, entry in value.items()}

    def _collect(self, group: h5py.Group, prefix: str, found: list[str], depth: int) -> None:
        if depth > 8:
            raise InputError(self.path, f"groups nested {depth} deep at {prefix}", "at most 8")
        for name in group:
            self._hard_link(group, name)
            entry = group[name]
            if isinstance(entry, h5py.Group):
                self._collect(entry, f"{prefix}{name}/", found, depth + 1)
            else:
                found.append(f"{prefix}{name}")

    def _hard_link(self, group: h5py.Group, name: str) -> None:
        # Soft and external links could lead out of the file.
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise InputError(self.path, f"{group.name}/{name} is a link", "the data itself")

    def _checked(self, dataset: Any, name: str) -> h5py.Dataset:
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(self.path, f"{name} is not a dataset", "numbers")
        if dataset.dtype.kind not in "fiu":
            raise InputError(self.path, f"{name} has dtype {dataset.dtype}", "numbers")
        if dataset.is_virtual or dataset.external:
            raise InputError(self.path, f"{name} keeps its data in other files", "the data itself")
        if dataset.shape is None or dataset.size > LARGEST_TAP:
            raise InputError(self.path, f"{name} has shape {dataset.shape}", "at most 2^31 numbers")
        return dataset

    def _damaged(self, where: str, error: Exception) -> InputError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return InputError(self.path, f"{where} cannot be read ({reason})", "an undamaged trace")


@contextmanager
def open_trace(path: Path) -> Iterator[TraceReader]:
    """Open a trace for reading.

    Raises:
        InputError: it is missing, no HDF5 file, of another schema, incomplete or holds no taps.
    """
    if not path.is_file():
        raise InputError(path, "no such file", "a trace (.h5)")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(path, "not a readable HDF5 file", "a trace (.h5)") from error
    with file:
        reader = TraceReader(path, file)
        if not reader.names("taps"):
            raise InputError(path, "an empty trace: no taps", "at least one tap")
        yield reader


class Recorder:
    """The ``listen`` callable given to a backend: writes what the globs admit.

    ``on_tap`` is told each tap's name once it is there, for progress.
    """

    def __init__(
        self, writer: TraceWriter, requested: str = "*", on_tap: Callable[[str], None] | None = None
    ) -> None:
        self._writer = writer
        self._requested = requested
        self._on_tap = on_tap

    def wants(self, tap: str) -> bool:
        """Whether the tap is to be recorded."""
        return fnmatch.fnmatchcase(tap, self._requested)

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if self.wants(tap):
            self._writer.tap(tap, value)
        if self._on_tap is not None:
            self._on_tap(tap)

    def decide(self, tap: str, decisions: np.ndarray) -> None:
        """Record a projection's pixel decisions."""
        self._writer.decisions(tap, decisions)
