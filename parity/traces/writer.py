"""Writing a trace, one tap at a time; see ``docs/trace.md`` for its layout."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from network.registry import network_of
from parity.oracle.chunks import vertices_at_once
from parity.traces.layout import (
    CHECKSUM,
    FLOAT64,
    FLOAT64_GRADIENTS,
    FLOAT64_LOSSES,
    FLOAT64_TAP_GRADIENTS,
    FLOAT64_TAP_VALUES,
    TRACE_SCHEMA,
)
from parity.traces.trace import TraceHeader, root_crc32c, rows_recorded
from parity.traces.untrusted import DEEPEST, is_number
from weight_conversion.atomic import replacing
from weight_conversion.crc32c import array_crc32c
from weight_conversion.errors import InputError


class TraceWriter:
    """Writes a trace; the file appears under its name, complete, when the block succeeds.

    Use it as a context manager. An exception inside leaves an existing file as it was.
    """

    def __init__(self, path: Path, header: TraceHeader, orders: Mapping[str, int]) -> None:
        self.path = path
        self._header = header
        self._orders = orders

    def __enter__(self) -> "TraceWriter":
        with ExitStack() as stack:
            self._file = stack.enter_context(_new_file(self.path))
            attributes = {"schema": TRACE_SCHEMA, "complete": False, **vars(self._header)}
            for name, value in attributes.items():
                plain = value
                if isinstance(value, Mapping | tuple):
                    plain = json.dumps(dict(value) if isinstance(value, Mapping) else value)
                self._file.attrs[name] = plain
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def inputs(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write ``/inputs``: images, cameras, mesh, and whatever else the run read."""
        for name, array in arrays.items():
            self._create("inputs", name, np.asarray(array))

    def faces(self, faces: np.ndarray) -> None:
        """Write the output mesh's triangles (F, 3), zero-based."""
        self._create("mesh", "faces", np.asarray(faces))

    def tap(self, name: str, value: np.ndarray) -> None:
        """Write one tap.

        Raises:
            InputError: the backend gave the tap twice, or no numbers.
        """
        array = np.asarray(value)
        if not is_number(array.dtype):
            raise InputError(f"tap {name}", f"dtype {array.dtype}", "numbers of at most 64 bits")
        dataset = self._create("taps", name, array)
        dataset.attrs["order"] = self._orders.get(name, len(self._orders) + self.count)

    def tap_rows(self, name: str, value: np.ndarray, start: int, count: int) -> None:
        """Write some rows of a tap of ``count``, from ``start``; the first ones come first.

        Of a trace of some vertices only their rows are written.
        """
        shape = (count, *value.shape[1:])
        if not start:
            dataset = self.reserve("taps", name, shape, str(value.dtype))
            dataset.attrs["order"] = self._orders.get(name, len(self._orders) + self.count)
        rows = rows_recorded(self._header, "taps", name, shape)
        if rows is None or any(each.start <= start < each.stop for each in rows):
            self._file[f"taps/{name}"][start : start + len(value)] = value

    def add(self, group: str, name: str, value: np.ndarray) -> None:
        """Write a loss, a gradient or a sample.

        Raises:
            InputError: it was given before, or is no number.
        """
        if not is_number(value.dtype):
            raise InputError(f"{group}/{name}", f"dtype {value.dtype}", "numbers")
        self._create(group, name, value)

    def dataset(self, group: str, name: str) -> h5py.Dataset:
        """What was written under a name, to be read again."""
        return self._file[f"{group}/{name}"]

    def has(self, group: str, name: str) -> bool:
        """Whether it was written."""
        return f"{group}/{name}" in self._file

    def has_group(self, group: str) -> bool:
        """Whether anything was written into a group."""
        return group in self._file

    def reserve(self, group: str, name: str, shape: tuple[int, ...], dtype: str) -> h5py.Dataset:
        """A dataset to be filled part by part."""
        return self._file.create_dataset(
            f"{group}/{name}", shape=shape, dtype=dtype,
            **_storage(shape, np.dtype(dtype), self._read_at_once(name)),
        )  # fmt: skip

    def _create(self, group: str, name: str, array: np.ndarray) -> h5py.Dataset:
        if not _is_name(name):
            raise InputError(f"tap {name!r}", "a name that no trace can hold", "such as conv.1")
        if f"{group}/{name}" in self._file:
            raise InputError(f"tap {name}", "given twice by the backend", "one call a tap")
        above = next((each for each in _above(name) if self._holds(group, each)), None)
        if above is not None:
            raise InputError(f"tap {name}", f"below {above}, which is a tap too", "another name")
        rows = rows_recorded(self._header, group, name, array.shape)
        dataset = self._file.create_dataset(
            f"{group}/{name}", array.shape, array.dtype, array if rows is None else None,
            **_storage(array.shape, array.dtype, self._read_at_once(name)),
        )  # fmt: skip
        for each in rows or ():
            dataset[each] = array[each]
        if not array.shape:
            dataset.attrs[CHECKSUM] = array_crc32c(array)
        return dataset

    def _holds(self, group: str, name: str) -> bool:
        return isinstance(self._file.get(f"{group}/{name}"), h5py.Dataset)

    def _read_at_once(self, name: str) -> int:
        """Rows of a dataset that readers go through at a time."""
        stage = self._header.stage
        return vertices_at_once(stage) * (network_of(stage).rows_per_vertex(name) or 1)

    def float64_missing(self, reason: str) -> None:
        """Say why there is no run in float64, and leave out what there is of it."""
        self._file.attrs["float64_missing"] = reason
        for group in (FLOAT64, FLOAT64_LOSSES, FLOAT64_GRADIENTS, FLOAT64_TAP_GRADIENTS,
                      FLOAT64_TAP_VALUES):  # fmt: skip
            if group in self._file:
                del self._file[group]

    @property
    def count(self) -> int:
        """Taps written so far."""
        return len(self._file["taps"]) if "taps" in self._file else 0


def _is_name(name: str) -> bool:
    """Whether HDF5 has a place of its own for a name, and readers look as deep."""
    parts = name.split("/")
    whole = all(part not in ("", ".", "..") for part in parts) and "\0" not in name
    return whole and len(parts) <= DEEPEST and name.isprintable()


def _above(name: str) -> Iterator[str]:
    """The names of which a name is a member."""
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


CHUNK = 2**22
"""Bytes of a chunk, at most, but for a single row: what HDF5 reads, and checks, at once."""


def _storage(shape: tuple[int, ...], dtype: np.dtype, together: int) -> dict[str, Any]:
    """Chunks of whole rows with HDF5's own checksums; scalars have none and get one of ours.

    Args:
        shape: of the dataset.
        dtype: of the dataset.
        together: rows that are read at once.
    """
    if not shape or 0 in shape:
        return {}
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    rows = max(1, CHUNK // max(row, 1))
    rows = rows // together * together if rows > together else together
    return {"chunks": (min(shape[0], rows), *shape[1:]), "fletcher32": True}


def seal(file: h5py.File) -> None:
    """Give the root attributes, as they are now, their checksum."""
    file.attrs[CHECKSUM] = root_crc32c(file.attrs)


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    """A file under another name that becomes ``path``, marked complete, if the block succeeds."""
    with replacing(path) as temporary:
        # Without a cache of chunks a full disk is met where it is written to. The structures of
        # HDF5's older format, its default, have no checksums.
        file = h5py.File(temporary, "w", libver=("v110", "v110"), rdcc_nbytes=0)
        try:
            yield file
            file.attrs["complete"] = True
            seal(file)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                file.close()
            raise
        try:
            file.close()
        except Exception as error:  # whatever HDF5 raises when it cannot write
            raise InputError(path, f"cannot be written ({error})", "room to write") from error


class Recorder:
    """The ``listen`` callable given to a backend: writes what is asked for.

    ``on_tap`` is told each tap's name once it is there, for progress. The small taps named in
    ``keep`` are also held in ``kept``, whether they are written or not.
    """

    def __init__(
        self,
        writer: TraceWriter,
        requested: Callable[[str], bool] = bool,
        on_tap: Callable[[str], None] | None = None,
        keep: Collection[str] = (),
    ) -> None:
        self._writer = writer
        self._requested = requested
        self._on_tap = on_tap
        self._keep = frozenset(keep)
        self.kept: dict[str, np.ndarray] = {}

    def wants(self, tap: str) -> bool:
        """Whether the tap is to be recorded or kept."""
        return tap in self._keep or self.requests(tap)

    def requests(self, tap: str) -> bool:
        """Whether the tap is to be recorded."""
        return self._requested(tap)

    def rows(self, tap: str, value: np.ndarray, start: int, count: int) -> None:
        """Take some rows of a tap of ``count``, from ``start``."""
        if self.requests(tap):
            self._writer.tap_rows(tap, value, start, count)
        if tap in self._keep:
            kept = self.kept.setdefault(tap, np.zeros((count, *value.shape[1:]), value.dtype))
            kept[start : start + len(value)] = value
        if self._on_tap is not None and not start:
            self._on_tap(tap)

    def __call__(self, tap: str, value: np.ndarray) -> None:
        if self.requests(tap):
            self._writer.tap(tap, value)
        if tap in self._keep:
            self.kept[tap] = np.array(value)
        if self._on_tap is not None:
            self._on_tap(tap)
