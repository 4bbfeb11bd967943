"""What becomes of damaged files: ``python -m benchmarks.damage [--json]``.

A small file of each format that the project writes is damaged again and again, by one flipped bit
or by a cut, and read whole each time. A reader may refuse it with an ``InputError``, or give all
that the undamaged file gives; anything else is a fault. Readers run in a process of their own,
because a library that trusts its files can crash or hang; a trace that does so is given to
``parity.traces.probe`` as well, which commands call before they open one.
"""

import json
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from commands.console import steps
from parity.traces.layout import READ_GROUPS
from parity.traces.probe import probe
from parity.traces.trace import TraceHeader, open_trace
from parity.traces.writer import TraceWriter
from weight_conversion.containers.onnx import metadata_of
from weight_conversion.errors import InputError
from weight_conversion.formats import FORMATS, Format, opened_weights

PATIENCE = 5.0
"""Seconds that a reader may take."""
OUTCOMES = ("refused", "unchanged", "changed", "crashed", "hung")
"""What a damaged file can lead to; the last three are faults."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """One format.

    Attributes:
        name: the format's name.
        write: writes the file, or the files, of a path.
        read: all that the file of a path says, by names of any kind, to be compared by ``==``.
        guard: what commands call first, to refuse a file that would harm the reader.
    """

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], Values]
    guard: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Damage:
    """A flipped bit, or a cut that leaves the bytes before ``at``."""

    file: str
    at: int
    bit: int | None

    def done_to(self, content: bytes) -> bytes:
        """The damaged content of the file."""
        if self.bit is None:
            return content[: self.at]
        flipped = bytes([content[self.at] ^ 1 << self.bit])
        return content[: self.at] + flipped + content[self.at + 1 :]


def _arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    shapes = {"s/cnn/c/W:0": (3, 2, 4, 5), "s/cnn/c/b:0": (5,), "s/g_vars/weights_0:0": (3, 3)}
    return {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def _write_weights(form: Format, path: Path) -> None:
    assert form.write is not None
    form.write(path, _arrays(), "coarse", 7)


def _write_onnx(path: Path) -> None:
    """A graph that copies, with weights and metadata as ``torch_impl.onnx_export`` has them."""
    from torch_impl.onnx_writer import GraphWriter

    arrays = _arrays()
    graph = GraphWriter(arrays)
    outputs = [graph.add("Identity", graph.weight(name)) for name in arrays]
    for output, array in zip(outputs, arrays.values(), strict=True):
        graph.describe(output, np.float32, array.shape)
    metadata = metadata_of(arrays, "coarse", 7)
    model = graph.model(outputs, pruned=False, metadata=metadata, text="copies")
    path.write_bytes(model.SerializeToString(deterministic=True))


def _read_weights(path: Path) -> Values:
    with opened_weights(path) as (_, contents):
        values = {
            f"{variable.name} {variable.dtype} {variable.shape}": contents.read(
                variable.name
            ).tobytes()
            for variable in contents.variables
        }
        return {**values, "step": contents.step, "extras": contents.extras}


def _write_trace(path: Path) -> None:
    generator = np.random.default_rng(1)
    digest = "0123456789abcdef" * 4
    header = TraceHeader(
        "coarse", "torch", "float32", "cpu", digest, digest, {"numpy": "2"}, "*", {"t": "no"}
    )
    arrays = {name: generator.standard_normal((40, 3), np.float32) for name in ("first", "second")}
    with TraceWriter(path, header, {"first": 0, "second": 1}) as writer:
        writer.inputs({"cameras": generator.standard_normal((3, 5))})
        writer.faces(np.arange(12).reshape(4, 3))
        for name, array in arrays.items():
            writer.tap(name, array)
            writer.add("float64", name, array.astype(np.float64))
        for term in ("chamfer_1", "total"):
            writer.add("losses", term, generator.standard_normal((), np.float32))
        writer.add("weights", "s/cnn/c/W:0", generator.standard_normal((3, 4), np.float32))
        writer.reserve("tap_gradients", "first", (40, 3), "f8")


def _read_trace(path: Path) -> Values:
    with open_trace(path) as trace:
        values: dict[str, Any] = {"header": trace.header, "taps": trace.names("taps")}
        for group in READ_GROUPS:
            for name in trace.names(group):
                array = trace.array(group, name)
                values[f"/{group}/{name} {array.dtype} {array.shape}"] = array.tobytes()
        return values


SAMPLES = (
    *(
        Sample(form.name, partial(_write_weights, form), _read_weights)
        for form in FORMATS
        if form.write is not None
    ),
    Sample("ONNX", _write_onnx, _read_weights),
    Sample("trace", _write_trace, _read_trace, probe),
)
_ENDINGS = {form.name: form.suffix or ".ckpt-7" for form in FORMATS} | {"trace": ".h5"}


class Reader:
    """Reads a sample's file once for each damage."""

    def __init__(self, sample: Sample, folder: Path) -> None:
        self.path = folder / f"x{_ENDINGS[sample.name]}"
        self._sample = sample
        sample.write(self.path)
        self.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self._values = sample.read(self.path)

    def outcome(self, damage: Damage) -> str:
        """What reading the damaged file leads to: one of ``OUTCOMES`` but "hung"."""
        place = self.path.with_name(damage.file)
        place.write_bytes(damage.done_to(self.files[damage.file]))
        try:
            return "unchanged" if self._sample.read(self.path) == self._values else "changed"
        except InputError:
            return "refused"
        except Exception:  # whatever a reader lets through is what is looked for here
            return "crashed"
        finally:
            place.write_bytes(self.files[damage.file])


def damages(files: Mapping[str, bytes], flips: int, cuts: int, seed: int) -> Iterator[Damage]:
    """Flipped bits and cuts, every byte of every file as likely as any other.

    No bit is flipped twice before each was flipped once.
    """
    generator = np.random.default_rng(seed)
    places = [(name, at) for name, content in files.items() for at in range(len(content))]
    order = generator.permutation(8 * len(places))
    for number in range(flips):
        place, bit = divmod(int(order[number % len(order)]), 8)
        yield Damage(*places[place], bit)
    for _ in range(cuts):
        yield Damage(*places[int(generator.integers(len(places)))], None)


def study(sample: Sample, flips: int, cuts: int, seed: int = 0) -> dict[str, Any]:
    """Damage one format's file that often, each reading watched from another process.

    Returns:
        ``bytes`` of the file, and under ``flips`` and ``cuts`` how many had which of ``OUTCOMES``;
        ``faults`` lists the damages that led to one.
    """
    counts = {"flips": Counter[str](), "cuts": Counter[str]()}
    faults = []
    with tempfile.TemporaryDirectory() as name, _Watched(sample, Path(name)) as watched:
        planned = list(damages(watched.files, flips, cuts, seed))
        for damage in planned:
            outcome = watched.outcome(damage)
            counts["cuts" if damage.bit is None else "flips"][outcome] += 1
            if outcome not in ("refused", "unchanged"):
                faults.append({**vars(damage), "outcome": outcome})
        size = sum(len(content) for content in watched.files.values())
    tables = {kind: {name: found[name] for name in OUTCOMES} for kind, found in counts.items()}
    return {"format": sample.name, "bytes": size, **tables, "faults": faults}


class _Watched:
    """A :class:`Reader` in another process, started again when it crashed or hung."""

    def __init__(self, sample: Sample, folder: Path) -> None:
        self._sample, self._folder = sample, folder
        original = folder / "original"
        original.mkdir()
        self.files = Reader(sample, original).files

    def __enter__(self) -> "_Watched":
        self._number = 0
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def outcome(self, damage: Damage) -> str:
        """What reading the damaged file leads to: one of ``OUTCOMES``."""
        self._pipe.send(damage)
        try:
            if self._pipe.poll(PATIENCE):
                return str(self._pipe.recv())
            found = "hung"
        except EOFError:
            found = "crashed"
        self._stop()
        self._start()
        return "refused" if self._guarded(damage) else found

    def _guarded(self, damage: Damage) -> bool:
        """Whether the format has a guard and it refuses the file."""
        if self._sample.guard is None:
            return False
        path = self._folder / f"guarded{_ENDINGS[self._sample.name]}"
        path.write_bytes(damage.done_to(self.files[damage.file]))
        try:
            self._sample.guard(path)
        except InputError:
            return True
        return False

    def _start(self) -> None:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir()
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, self._sample.name, folder), daemon=True
        )
        self._process.start()
        other.close()
        if self._pipe.recv() != "ready":
            raise RuntimeError("the reader did not start")

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, name: str, folder: Path) -> None:
    reader = Reader(next(sample for sample in SAMPLES if sample.name == name), folder)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what a library writes while it crashes
    pipe.send("ready")
    while True:
        pipe.send(reader.outcome(pipe.recv()))


def _show(results: list[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("format", "bytes", "damage", "tried", *OUTCOMES):
        table.add_column(heading, justify="left" if heading in ("format", "damage") else "right")
    for result in results:
        for kind in ("flips", "cuts"):
            numbers = [result[kind][name] for name in OUTCOMES]
            cells = (result["format"], f"{result['bytes']:,}", kind, f"{sum(numbers):,}")
            table.add_row(*cells, *(f"{number:,}" for number in numbers))
    Console().print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
@click.option("--flips", default=2000, show_default=True, type=click.IntRange(0))
@click.option("--cuts", default=500, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def main(as_json: bool, flips: int, cuts: int, seed: int) -> None:
    """Damage a small file of each format and say what readers make of it; status 1 on a fault."""
    results = []
    with steps() as progress:
        for sample in SAMPLES:
            with progress.task(f"{sample.name}, {flips} flips, {cuts} cuts"):
                results.append(study(sample, flips, cuts, seed))
    if as_json:
        click.echo(json.dumps(results))
    else:
        _show(results)
    if any(result["faults"] for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
