"""How cost grows with vertices, rows a vertex and trace size: JSON, and a figure.

``python -m benchmarks.growth --out growth.json`` records a network of plain layers, whose size is
chosen, twice and compares the two traces, each size in a process of its own: seconds, the
processor's seconds, the greatest memory, and gigabytes compared a second. Nothing here depends on
Pixel2Mesh++: every vertex has rows around it, as hypotheses are, and a layer is a product, a bias
and a ReLU for each of them.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import commands  # noqa: F401 - settles the allocator, as the command line does
from benchmarks.measuring import Result, Times, in_a_process, memory_mb
from network import Layout, Network, TapRow, WeightRow, registered, trace
from network.program import Expression, call
from parity.traces.array_inputs import ArrayInputs
from parity.traces.backends import BackendChoice
from parity.traces.record import record
from parity.verdict.compare import compare
from weight_conversion.weight_set import WeightSet

NAME, LAYERS, WIDTH = "growth", 8, 64
FLOATS = 3 * LAYERS * WIDTH  # of a row in a trace: one in float32, two in float64
SIZES = (10e6, 100e6, 1e9, 10e9)
"""Bytes of a trace."""
VERTICES, ROWS = (300, 1_000, 3_000, 10_000, 30_000), (2, 8, 43, 128)


@dataclass(frozen=True)
class Size:
    """Of the network: vertices, and rows of each."""

    vertices: int
    rows: int


def layer(x: Expression, *, weight: Expression, bias: Expression) -> Expression:
    """The ReLU of x W + b, (V·rows, C)."""
    return call("relu", x @ weight + bias)


def spread(x: Expression, *, offsets: Expression) -> Expression:
    """Rows around each vertex, (V, rows, 3)."""
    return x[:, None] + offsets


def network_of_size(size: Size) -> Network:
    """Layers one after the other, which mix no vertices."""
    weights = []
    taps = [TapRow(
        NAME, 0, "spread", "", "spread", (size.vertices, size.rows, 3), ("inputs/mesh",), "spread",
        constants={"offsets": "growth/offsets"}, block=1, rows_per_vertex=1, formula=trace(spread),
    )]  # fmt: skip
    for number in range(LAYERS):
        variables = {"weight": f"layer_{number}/W", "bias": f"layer_{number}/b"}
        taps.append(TapRow(
            NAME, number + 1, f"layer_{number}", "", f"layer_{number}",
            (size.vertices * size.rows, WIDTH), (taps[-1].name,), "layer", variables=variables,
            block=1, rows_per_vertex=size.rows, formula=trace(layer),
        ))  # fmt: skip
        for key, shape, layout in (
            (variables["weight"], (WIDTH if number else 3, WIDTH), Layout.MATRIX),
            (variables["bias"], (WIDTH,), Layout.VECTOR),
        ):
            weights.append(WeightRow(NAME, key, "", key.replace("/", "."), shape, layout))
    return Network(
        NAME, tuple(taps), tuple(weights), {"mesh": (size.vertices, 3)},
        meshes=(), output=taps[-1].name, vertices=(size.vertices,),
    )  # fmt: skip


class Plain:
    """The layers in NumPy."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)

    def run(
        self,
        inputs: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        listen: Callable[[str, np.ndarray], None] | None,
    ) -> np.ndarray:
        """Compute all layers; each is told."""
        mesh, offsets = (inputs[name].astype(self._dtype) for name in ("mesh", "growth/offsets"))
        x = mesh[:, None] + offsets
        if listen is not None:
            listen("spread", x)
        x = x.reshape(-1, 3)
        for number in range(LAYERS):
            weight, bias = (weights[f"layer_{number}/{part}"] for part in "Wb")
            x = np.maximum(x @ weight.astype(self._dtype) + bias.astype(self._dtype), 0)
            if listen is not None:
                listen(f"layer_{number}", x)
        return x


def plain(_stage: str, dtype: str, _device: str) -> Plain:
    """The backend of both sides."""
    return Plain(dtype)


def record_both(size: Size, paths: tuple[Path, Path]) -> None:
    """Two traces of the network, each recorded by itself."""
    random = np.random.default_rng(3)
    shapes = {"mesh": (size.vertices, 3), "growth/offsets": (size.rows, 3)}
    inputs = ArrayInputs(
        NAME, {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    )
    drawn = {
        row.key: (random.standard_normal(row.shape) / np.sqrt(WIDTH)).astype(np.float32)
        for row in network_of_size(size).variables
    }
    weights = WeightSet(NAME, drawn, None, "drawn")
    for path in paths:
        record(BackendChoice.of_factory(plain), inputs, weights, path)


def measured(size: Size) -> Result:
    """Record, then compare, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        told = json.dumps(asdict(size))
        recorded, compared = (
            in_a_process("benchmarks.growth", "--only", what, told, folder)
            for what in ("record", "compare")
        )
        size_on_disk = _paths(folder)[0].stat().st_size
    compared["gb_a_second"] = 2 * size_on_disk / 1e9 / compared["seconds"]
    return {
        **asdict(size), "trace_bytes": size_on_disk, "record": recorded, "compare": compared
    }  # fmt: skip


def _paths(folder: str) -> tuple[Path, Path]:
    return Path(folder, "reference.h5"), Path(folder, "candidate.h5")


def only(what: str, size: Size, folder: str) -> Result:
    """Record or compare in this process: seconds, memory, and the verdict."""
    times, told = Times(), {}
    with registered(network_of_size(size)), times.of(what):
        if what == "record":
            record_both(size, _paths(folder))
        else:
            told = {"verdict": compare(*_paths(folder)).verdict.value}
    return {
        "seconds": times.seconds[what], "cpu_seconds": times.cpu_seconds[what],
        "memory_mb": memory_mb(), **told,
    }  # fmt: skip


def study(largest: float) -> dict[str, list[Result]]:
    """Measure each size, one after the other."""
    sizes = {
        "trace size": [Size(int(each / FLOATS / 8), 2) for each in SIZES if each <= largest],
        "vertices": [Size(each, 2) for each in VERTICES],
        "rows a vertex": [Size(1_000, each) for each in ROWS],
    }
    return {
        what: [measured(each) for each in of if each.vertices * each.rows * FLOATS * 4 <= largest]
        for what, of in sizes.items()
    }


def draw(found: Mapping[str, list[Result]], path: Path) -> None:
    """Seconds of the processor and memory over each axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = {what: runs for what, runs in found.items() if runs}
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(found), squeeze=False)
    keys = {"trace size": "trace_bytes", "vertices": "vertices", "rows a vertex": "rows"}
    for column, (what, runs) in enumerate(found.items()):
        over = [run[keys[what]] / (1e6 if what == "trace size" else 1) for run in runs]
        for line, (figures, unit) in enumerate((("cpu_seconds", "s"), ("memory_mb", "MB"))):
            axes = panels[line][column]
            for part in ("record", "compare"):
                axes.plot(over, [run[part][figures] for run in runs], "o-", label=part)
            axes.set_xscale("log")
            if figures == "cpu_seconds":
                axes.set_yscale("log")
            else:
                axes.set_ylim(bottom=0)
            axes.set_xlabel(f"{what}, MB" if what == "trace size" else what)
            axes.set_ylabel(f"{figures.partition('_')[0]}, {unit}")
    panels[0][0].legend()
    figure.savefig(path, dpi=130)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--out", type=click.Path(path_type=Path), help="Results, JSON; a figure beside it.")
@click.option("--largest", default=1.0, show_default=True, help="Greatest trace, in gigabytes.")
@click.option("--only", "one", type=(str, str, str), hidden=True)
def main(out: Path | None, largest: float, one: tuple[str, str, str] | None) -> None:
    """Measure how the cost of recording and comparing grows."""
    if one is not None:
        what, size, folder = one
        click.echo(json.dumps(only(what, Size(**json.loads(size)), folder)))
        return
    found = study(largest * 1e9)
    text = json.dumps(found, indent=1)
    click.echo(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
        draw(found, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
