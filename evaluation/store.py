"""The table of items on disk: rows as they come, in Parquet, and the finished table.

Each row is a file of its own under ``parts`` as soon as it is known, renamed into place when it is
whole, so that no death loses one. Some hundred are merged into one file now and then. The finished
tables have the rows in the data set's order, and of the same rows the same bytes.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.columns import FAILED, KEYS, TIMES
from inputs.dataset import Entry
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise InputError(
        "Parquet", f"cannot be read ({error})", "pip install 'pixel2mesh-parity[scale]'"
    ) from error

MERGED = 256
"""Rows in a file of several."""

_SETTINGS, _ITEMS, _TIMES = "evaluation.json", "items.parquet", "timings.parquet"
_TYPES = {str: pa.string(), float: pa.float64()}


class Store:
    """The rows of one evaluation in its folder.

    Args:
        folder: the evaluation's.
        columns: names and types, see ``evaluation.columns``.
    """

    def __init__(self, folder: Path, columns: Mapping[str, type]) -> None:
        self._folder, self._parts = folder, folder / "parts"
        self._items = _schema(columns)
        self._times = _schema(dict.fromkeys(("category", "item"), str) | TIMES)
        self._all = _schema({**columns, **TIMES})
        self._number = 0
        self._loose: list[Path] = []

    @contextmanager
    def opened(self, identity: Mapping[str, Any], resume: bool, retry: bool) -> Iterator[set[str]]:
        """Names of the items that are there; the folder is this process's while the block runs.

        Args:
            identity: what the table depends on.
            resume: whether to go on with what is there.
            retry: whether items that failed are to be computed again.

        Raises:
            InputError: results are there and are not to be gone on with, they are of other
                settings, or another process is at work.
        """
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(self._folder, "a file", "a folder to write to")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = (self._folder / ".lock").open("w")
        except OSError as error:
            expected = "a writable folder"
            raise InputError(self._folder, str(error.strerror or error), expected) from error
        with lock:
            try:
                # Let go by the system when the process ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                found = "another process writes to it"
                raise InputError(self._folder, found, "one at a time") from error
            yield self._begun(identity, resume, retry)

    def _begun(self, identity: Mapping[str, Any], resume: bool, retry: bool) -> set[str]:
        path = self._folder / _SETTINGS
        if path.exists():
            if not resume:
                raise InputError(path, "results are there", "--resume, or another folder")
            _check_same(path, identity)
        else:
            text = json.dumps(identity, indent=1, ensure_ascii=False)
            with replacing(path) as temporary:
                temporary.write_text(f"{text}\n", encoding="utf-8")
        found = self._gathered()
        self._number = 1 + max((int(part.stem.split("-")[-1]) for part in self._files()), default=0)
        if retry:
            found = [row for row in found if row["status"] != FAILED]
            self._rewrite(found)
        return {_name(row) for row in found}

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row: it is on the disk when this returns.

        Raises:
            InputError: it cannot be written.
        """
        self._loose.append(self._write("row", [row]))
        if len(self._loose) >= MERGED:
            rows = [each for path in self._loose for each in self._read(path, self._all)]
            self._write("rows", rows)
            for path in self._loose:
                path.unlink()
            self._loose.clear()

    def finish(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """Write the two tables, in the order of the items, and remove the parts.

        Returns:
            The rows of the table of items.

        Raises:
            InputError: a row is missing, or a table cannot be written.
        """
        found = {_name(row): row for row in self._gathered()}
        missing = [entry.name for entry in entries if entry.name not in found]
        if missing:
            raise InputError(self._folder, f"no row of {missing[0]}", "a row of each item")
        rows = [found[entry.name] for entry in entries]
        for name, schema in ((_TIMES, self._times), (_ITEMS, self._items)):
            self._save(self._folder / name, rows, schema)
        shutil.rmtree(self._parts, ignore_errors=True)
        return [{name: row[name] for name in self._items.names} for row in rows]

    def _gathered(self) -> list[dict[str, Any]]:
        """All rows that are there, each once: a merged file may have died before its parts."""
        found: dict[str, dict[str, Any]] = {}
        items, times = self._folder / _ITEMS, self._folder / _TIMES
        if items.exists() and times.exists():
            took = {_name(row): row for row in self._read(times, self._times)}
            for row in self._read(items, self._items):
                found[_name(row)] = row | {name: took[_name(row)][name] for name in TIMES}
        for path in self._files():
            for row in self._read(path, self._all):
                found[_name(row)] = row
        return list(found.values())

    def _files(self) -> list[Path]:
        return sorted(self._parts.glob("row*-*.parquet")) if self._parts.is_dir() else []

    def _rewrite(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put these rows in the place of all that is there."""
        old = self._files()
        if rows:
            self._write("rows", rows)
        for path in (*old, self._folder / _ITEMS, self._folder / _TIMES):
            path.unlink(missing_ok=True)

    def _write(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        path = self._parts / f"{kind}-{self._number:08d}.parquet"
        self._number += 1
        self._save(path, rows, self._all)
        return path

    def _save(self, path: Path, rows: Sequence[Mapping[str, Any]], schema: Any) -> None:
        plain = [{name: row.get(name) for name in schema.names} for row in rows]
        with replacing(path) as temporary:
            pq.write_table(pa.Table.from_pylist(plain, schema=schema), temporary)

    def _read(self, path: Path, schema: Any) -> list[dict[str, Any]]:
        try:
            table = pq.ParquetFile(path).read()
        except (OSError, pa.ArrowException) as error:
            raise InputError(path, "cannot be read", "rows of this evaluation") from error
        if table.schema.names != schema.names:
            raise InputError(path, "has other columns", "rows of this evaluation")
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


def _schema(columns: Mapping[str, type]) -> Any:
    return pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])


def _name(row: Mapping[str, Any]) -> str:
    return f"{row[KEYS[0]]}/{row[KEYS[1]]}"


def _check_same(path: Path, identity: Mapping[str, Any]) -> None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(path, "no readable JSON", "settings of an evaluation") from error
    wanted = json.loads(json.dumps(identity))
    for name in dict.fromkeys([*wanted, *kept]):
        if kept.get(name) != wanted.get(name):
            raise InputError(
                path,
                f"{name} is {json.dumps(kept.get(name))}, and now {json.dumps(wanted.get(name))}",
                "the settings that the evaluation was begun with, or another folder",
            )
