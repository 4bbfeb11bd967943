"""How fast weights are converted: ``python -m benchmarks.converting [--json]``.

Reading, writing and converting the coarse stage's 76 MB in every format, checks included, against a
copy of as many bytes that is brought to the disk, as written files are. All are done in turn in one
process, and a ratio is the median of those within a round, so that what else the machine does
concerns both sides.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from commands.console import steps
from inputs.seeded import seeded_weights
from weight_conversion.conversion import convert
from weight_conversion.formats import FORMATS, WeightSet, load_weights, save_weights

FILES = {form.name: f"w{form.suffix or '.ckpt-1'}" for form in FORMATS if form.write is not None}
WAYS = ("read", "write", "from NumPy", "to NumPy")


def seconds(work: Callable[[], object]) -> float:
    """Seconds of the clock that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def study(rounds: int) -> dict[str, dict[str, float]]:
    """By format and by what is done: its time over a copy's. ``copy`` has its seconds."""
    weights = WeightSet("coarse", seeded_weights("coarse"), 1, "seed 0")
    times: dict[tuple[str, str], list[float]] = {}
    copies = []
    with tempfile.TemporaryDirectory() as name, steps() as progress:
        folder = Path(name)
        for file in FILES.values():
            save_weights(folder / file, weights)
        source = folder / FILES["NumPy"]
        with progress.task("rounds", rounds) as task:
            for _ in range(rounds):
                copies.append(seconds(lambda: _copy(source, folder / "copy")))
                for form, file in FILES.items():
                    path, other = folder / file, folder / f"other-{file}"
                    for way, work in {
                        "read": lambda path=path: load_weights(path),
                        "write": lambda other=other: save_weights(other, weights),
                        "from NumPy": lambda other=other: convert(source, other),
                        "to NumPy": lambda path=path: convert(path, folder / "other.npz"),
                    }.items():
                        times.setdefault((form, way), []).append(seconds(work))
                task.advance()
    found: dict[str, dict[str, float]] = {"copy": {"seconds": median(copies)}}
    for (form, way), spent in times.items():
        ratios = [each / copy for each, copy in zip(spent, copies, strict=True)]
        found.setdefault(form, {})[way] = round(median(ratios), 2)
    return found


def _copy(source: Path, destination: Path) -> None:
    with source.open("rb") as old, destination.open("wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
def main(rounds: int, as_json: bool) -> None:
    """Time every format against a copy."""
    found = study(rounds)
    if as_json:
        click.echo(json.dumps(found))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("over a copy", *WAYS):
        table.add_column(heading, justify="left" if heading == "over a copy" else "right")
    for form in FILES:
        table.add_row(form, *(f"{found[form][way]:.2f}" for way in WAYS))
    Console().print(table)
    click.echo(f"a copy: {found['copy']['seconds']:.3f} s")


if __name__ == "__main__":
    main()
