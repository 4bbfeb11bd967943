"""Bytes that nobody wrote, for every reader: ``python -m benchmarks.fuzzing [--minutes 60]``.

A reader returns a value or raises an ``InputError`` of one line that says where, what was found and
what was expected. Anything else is a fault: another exception, a crash, more than 10 seconds, more
than 1 GiB. atheris (libFuzzer) changes sound files (``benchmarks.fuzz_targets``) and keeps what
takes a new way through the readers. Each reader is in a process of its own; what ends it is given
to the reader once more as the program does it, where a library that crashes or hangs on damaged
files is tried out in another process first.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from commands.console import steps

PATIENCE = 10
"""Seconds that one input may take."""
MOST_FAULTS = 5
"""Faults of one reader after which it is given no more."""
_INPUTS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.MULTILINE)
_COVERAGE = re.compile(r"\bcov: (\d+)")
_ARTEFACTS = ("crash-*", "timeout-*", "oom-*", "leak-*", "killed-*")


@dataclass
class Found:
    """What became of one reader's inputs.

    Attributes:
        name: the target's.
        inputs: how many it was given.
        coverage: branches of the readers' Python code that were taken, as libFuzzer counts them.
        probed: inputs that crash or stall a library, which the program finds out in another
            process.
        faults: the others, each with what was said and the input in hexadecimal digits.
    """

    name: str
    inputs: int = 0
    coverage: int = 0
    probed: int = 0
    faults: list[dict[str, str]] = field(default_factory=list)


def study(name: str, folder: Path, *, runs: int | None, seconds: float, seed: int) -> Found:
    """Fuzz one reader, with so many inputs or for so many seconds; again after each fault."""
    found = Found(name)
    left = seconds
    while True:
        wanted = None if runs is None else runs - found.inputs
        spent, artefact = _fuzz(found, folder, wanted, left, seed)
        left -= spent
        if artefact is None:
            return found
        said = _confirmed(name, artefact)
        if said is None:
            found.probed += 1
        else:
            content = artefact.read_bytes()
            found.faults.append({"said": said, "kind": artefact.name.partition("-")[0],
                                 "input": content[:4096].hex()})  # fmt: skip
        artefact.unlink()
        seed += 1
        enough = found.inputs >= runs if runs is not None else left < 1
        if enough or len(found.faults) == MOST_FAULTS:
            return found


def _fuzz(
    found: Found, folder: Path, runs: int | None, seconds: float, seed: int
) -> tuple[float, Path | None]:
    """Run libFuzzer until its end or a fault: seconds spent and the input at fault."""
    start = time.monotonic()
    limit = f"-max_total_time={int(seconds)}" if runs is None else f"-runs={runs}"
    done = subprocess.run(  # noqa: S603 - this very interpreter and a module of ours
        [sys.executable, "-m", "benchmarks.fuzz_reader", found.name, folder, limit,
         f"-seed={seed + 1}", f"-timeout={PATIENCE}", "-rss_limit_mb=0", "-print_final_stats=1",
         f"-artifact_prefix={folder}/"],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    for count in _INPUTS.findall(done.stderr):
        found.inputs += int(count)
    found.coverage = max([found.coverage, *map(int, _COVERAGE.findall(done.stderr))])
    artefacts = [path for pattern in _ARTEFACTS for path in folder.glob(pattern)]
    if not done.returncode:
        artefacts = []
    if done.returncode and not artefacts:
        raise RuntimeError(f"{found.name}: {done.returncode}: {done.stderr[-600:]}")
    return time.monotonic() - start, artefacts[0] if artefacts else None


def _confirmed(name: str, artefact: Path) -> str | None:
    """What a fresh process says of an input; None where it is read or refused as it should be."""
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter and module
            [sys.executable, "-m", "benchmarks.fuzzing", "--one", name, str(artefact)],
            capture_output=True, text=True, errors="replace", check=False,
            timeout=12 * PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "does not come to an end"
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return f"status {done.returncode}: {lines[-1] if lines else 'nothing said'}"


def _one(name: str, content: bytes) -> None:
    from benchmarks.fuzz_targets import BY_NAME, feed

    with tempfile.TemporaryDirectory() as folder:
        click.echo(feed(BY_NAME[name], Path(folder), content))


def _names() -> list[str]:
    from benchmarks.fuzz_targets import BY_NAME

    return list(BY_NAME)


def _show(results: list[Found]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("reader", "inputs", "branches", "probed", "faults"):
        table.add_column(heading, justify="left" if heading == "reader" else "right")
    for each in results:
        numbers = (each.inputs, each.coverage, each.probed, len(each.faults))
        table.add_row(each.name, *(f"{number:,}" for number in numbers))
    Console().print(table)
    for each in results:
        for fault in each.faults:
            click.echo(f"{each.name}: {fault['kind']}: {fault['said']}: {fault['input'][:400]}")


@click.command()
@click.option("--minutes", default=60.0, show_default=True, type=click.FloatRange(0.1),
              help="In all, the same for each reader.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), help="So many inputs each, the same every time.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--target", "targets", multiple=True, help="This reader alone.")
@click.option("--corpus", type=click.Path(file_okay=False, path_type=Path),
              help="Keep what takes new ways in this folder, and begin with it.")  # fmt: skip
@click.option("--one", type=(str, click.Path(exists=True, path_type=Path)), hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
def main(
    minutes: float,
    runs: int | None,
    seed: int,
    targets: tuple[str, ...],
    corpus: Path | None,
    one: tuple[str, Path] | None,
    as_json: bool,
) -> None:
    """Fuzz every reader; status 1 on a fault."""
    if one is not None:
        _one(one[0], one[1].read_bytes())
        return
    if importlib.util.find_spec("atheris") is None:
        raise click.ClickException("atheris is not installed: pip install atheris")
    names = list(targets) or _names()
    results = []
    with tempfile.TemporaryDirectory() as own, steps() as progress:
        for name in names:
            folder = Path(corpus or own, name.replace(" ", "-"))
            folder.mkdir(parents=True, exist_ok=True)
            with progress.task(name):
                seconds = 60 * minutes / len(names)
                results.append(study(name, folder, runs=runs, seconds=seconds, seed=seed))
    if as_json:
        values: list[dict[str, Any]] = [vars(each) for each in results]
        click.echo(json.dumps(values))
    else:
        _show(results)
    if any(each.faults for each in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
