"""How fast weights are converted: ``python -m benchmarks.converting [--json]``.

Reading, writing and converting the coarse stage's 76 MB in every format, checks included, against a
copy of as many bytes that is brought to the disk, as written files are. All are done in turn in one
process, and a ratio is the median of those within a round, so that what else the machine does
concerns both sides. Where others use the processors too, a copy suffers less, which mostly waits
for the disk; so two figures stand beside it that they change less: the ratio of the shortest times,
and the processors' own seconds, of all threads together.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands.console import steps
from inputs.seeded import seeded_weights
from weight_conversion.conversion import convert
from weight_conversion.formats import FORMATS, WeightSet, load_weights, save_weights

FILES = {form.name: f"w{form.suffix or '.ckpt-1'}" for form in FORMATS if form.write is not None}
WAYS = ("read", "write", "from NumPy", "to NumPy")
_FIGURES = {
    "ratio": "over a copy",
    "shortest": "shortest over shortest",
    "processor": "seconds of processors",
}


@dataclass(frozen=True)
class Took:
    """Seconds of the clock, and of the processors."""

    clock: float
    processor: float


def took(work: Callable[[], object]) -> Took:
    """How long it takes."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return Took(time.perf_counter() - start, time.process_time() - busy)


def study(rounds: int) -> dict[str, Any]:
    """Time every format against a copy.

    Returns:
        ``ratio``, ``shortest`` and ``processor``: by format and by what is done its time over a
        copy's, the shortest time over the shortest copy's, and the processors' seconds. ``copy``
        has the seconds of a copy: ``clock``, ``shortest`` and ``processor``.
    """
    weights = WeightSet("coarse", seeded_weights("coarse"), 1, "seed 0")
    times: dict[tuple[str, str], list[Took]] = {}
    copies = []
    with tempfile.TemporaryDirectory() as name, steps() as progress:
        folder = Path(name)
        for file in FILES.values():
            save_weights(folder / file, weights)
        source = folder / FILES["NumPy"]
        with progress.task("rounds", rounds) as task:
            for _ in range(rounds):
                copies.append(took(lambda: _copy(source, folder / "copy")))
                for form, file in FILES.items():
                    path, other = folder / file, folder / f"other-{file}"
                    for way, work in {
                        "read": lambda path=path: load_weights(path),
                        "write": lambda other=other: save_weights(other, weights),
                        "from NumPy": lambda other=other: convert(source, other),
                        "to NumPy": lambda path=path: convert(path, folder / "other.npz"),
                    }.items():
                        times.setdefault((form, way), []).append(took(work))
                task.advance()
    least = min(each.clock for each in copies)
    found: dict[str, Any] = {
        name: {form: {} for form in FILES} for name in ("ratio", "shortest", "processor")
    }
    for (form, way), spent in times.items():
        over = [each.clock / copy.clock for each, copy in zip(spent, copies, strict=True)]
        found["ratio"][form][way] = round(median(over), 2)
        found["shortest"][form][way] = round(min(each.clock for each in spent) / least, 2)
        found["processor"][form][way] = round(median(each.processor for each in spent), 3)
    return found | {
        "copy": {
            "clock": round(median(each.clock for each in copies), 3),
            "shortest": round(least, 3),
            "processor": round(median(each.processor for each in copies), 3),
        }
    }


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
    for figure, heading in _FIGURES.items():
        table = Table(heading, *WAYS, box=None, pad_edge=False)
        for form, values in found[figure].items():
            table.add_row(form, *(f"{values[way]:g}" for way in WAYS))
        Console().print(table, end="\n\n")
    click.echo(f"a copy, in seconds: {found['copy']}")


if __name__ == "__main__":
    main()
