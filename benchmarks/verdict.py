"""What users wait for: ``python -m benchmarks.verdict --json``.

For each stage the seconds of the four plain passes (both frameworks, float32 and float64, networks
loaded, taps off), of recording, judging, the report and imports, the greatest memory and disk, and
their ratios; what a loss with its gradients and a training step take (``benchmarks.training``).
Beside it what others make of the same traces, in the same run, and of ten planted faults. One
process a contender, the contenders in turn, medians over the rounds.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from commands.console import Steps, steps  # before torch: commands settle how its threads wait
from network.weights import STAGES

# isort: split
from benchmarks import training
from benchmarks import verdict_parts as parts
from benchmarks.measuring import Result, in_a_process
from benchmarks.peers import OURS, PEERS

Launch = Callable[[str, Sequence[str]], Result]
"""Runs a part of ``verdict_parts`` by its name, with its arguments as texts."""
GRAPHS = Path("../shared/official/checkpoint_graphs")
"""Where the exported graphs are, if they are at hand."""
PARTS: dict[str, Callable[..., Result]] = {
    "passes": parts.passes,
    "run": parts.run,
    "peer": parts.peer,
    "planted": parts.planted,
    "training": lambda stage, rounds, _: training.measured(stage, int(rounds), GRAPHS),
}
CLOCKS = ("seconds", "cpu_seconds")
SMALL_TAPS = "cnn.conv2d_[12]"


def part_here(name: str, arguments: Sequence[str]) -> Result:
    """A part in this process; the last argument is a folder."""
    *texts, folder = arguments
    return PARTS[name](*texts, Path(folder))


def part_in_a_process(name: str, arguments: Sequence[str]) -> Result:
    """A part in a process of its own."""
    return in_a_process("benchmarks.verdict", "--part", name, *arguments)


def measure_stage(
    stage: str, taps: str, rounds: int, folder: Path, launch: Launch, progress: Steps
) -> Result:
    """One stage: its passes, its run and the peers on its traces, ``rounds`` times in turn."""
    place = str(folder / stage)
    Path(place).mkdir(parents=True, exist_ok=True)
    names = contenders()
    measured: dict[str, list[Result]] = {name: [] for name in ("passes", "run", *names)}
    with progress.task(stage, rounds * len(measured)) as task:
        for _ in range(rounds):
            for name in measured:
                arguments = [stage, taps] if name in PARTS else [name]
                found = launch(name if name in PARTS else "peer", [*arguments, place])
                measured[name].append(found)
                task.advance()
    runs = measured["run"]
    # What of a run in float64 is made as it is judged is not in the traces: ours is the run's own.
    ours = {
        **{clock: medians(runs, clock)["judging"] for clock in CLOCKS},
        "memory_mb": _greatest(runs, "memory_mb"),
        "differs": runs[-1]["verdict"] == "differ",
        "first": runs[-1]["first"],
    }
    theirs = {
        name: {
            **{clock: medians(measured[name], clock)[name] for clock in CLOCKS},
            "memory_mb": _greatest(measured[name], "memory_mb"),
            "differs": measured[name][-1]["differs"],
            "first": measured[name][-1]["first"],
        }
        for name in names
    }
    return {
        **{clock: stage_times(measured, clock) for clock in CLOCKS},
        "memory_mb": _greatest(runs, "memory_mb"),
        "passes_memory_mb": _greatest(measured["passes"], "memory_mb"),
        "disk_mb": _greatest(runs, "disk_mb"),
        "verdict": runs[-1]["verdict"],
        "peers": {OURS: ours, **theirs},
    }


def stage_times(measured: Mapping[str, Sequence[Result]], clock: str) -> Result:
    """Medians of a stage's passes and of its run's parts by one clock, and their ratios."""
    passes, run = (medians(measured[name], clock) for name in ("passes", "run"))
    plain, whole = sum(passes.values()), sum(run.values())
    return {
        "passes": passes,
        **run,
        "whole": whole,
        "ratios": {
            "whole_over_passes_and_imports": whole / (plain + run["imports"]),
            "recording_over_passes": run["recording"] / plain,
            "judging_over_passes": run["judging"] / plain,
            "report_over_whole": run["report"] / whole,
        },
    }


def medians(results: Sequence[Result], clock: str) -> dict[str, float]:
    """Of each name's seconds, over the rounds."""
    names = results[0][clock]
    return {name: statistics.median(each[clock][name] for each in results) for name in names}


def _greatest(results: Sequence[Result], name: str) -> int:
    return max(int(each[name]) for each in results)


def measure_faults(
    faults: Sequence[str], taps: str, folder: Path, launch: Launch, progress: Steps
) -> list[Result]:
    """What each finds of a candidate without a fault, and of each planted one."""
    place = str(folder / "faults")
    names = [OURS, *contenders()]
    found = []
    with progress.task("faults", 1 + len(faults)) as task:
        for fault in (parts.HEALTHY, *faults):
            planted = launch("planted", [fault, taps, place])
            said = {name: launch("peer", [name, place]) for name in names}
            found.append({"fault": fault, **planted, "found": said})
            task.advance()
    return found


def contenders() -> list[str]:
    """The peers that are installed."""
    return [
        name
        for name in PEERS
        if name != "polygraphy" or importlib.util.find_spec("polygraphy") is not None
    ]


def summed_up(found: Sequence[Result]) -> Result:
    """By contender: faults found, faults named at their own layer, false alarms."""
    return {
        name: {
            "found": sum(each["found"][name]["differs"] for each in found[1:]),
            "named": sum(each["found"][name]["first"] == each["expected"] for each in found[1:]),
            "of": len(found) - 1,
            "false_alarms": int(found[0]["found"][name]["differs"]),
        }
        for name in found[0]["found"]
    }


def measure(small: bool, rounds: int, launch: Launch, folder: Path, progress: Steps) -> Result:
    """Everything; in the small form the first layers of the coarse stage and one fault."""
    taps = SMALL_TAPS if small else "*"
    stages = STAGES[:1] if small else STAGES
    faults = ("symmetric_pad",) if small else parts.FAULTS
    result: Result = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {name: _version(name) for name in ("torch", "tensorflow", "polygraphy")},
        "rounds": rounds,
        "stages": {
            stage: measure_stage(stage, taps, rounds, folder, launch, progress) for stage in stages
        },
    }
    if not small:
        result["training"] = {
            stage: launch("training", [stage, str(rounds), str(folder)]) for stage in stages
        }
    planted_taps = "cnn.conv2d_[123]" if small else "*"
    result["faults"] = measure_faults(faults, planted_taps, folder, launch, progress)
    result["found"] = summed_up(result["faults"])
    return result


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def show(result: Result, console: Console) -> None:
    """The result for people."""
    table = Table(title="seconds, and those of the processor")
    names = ("passes", "imports", "recording", "judging", "report", "whole")
    for heading in ("stage", *names, "memory MB", "disk MB"):
        table.add_column(heading)
    for stage, found in result["stages"].items():
        for clock in CLOCKS:
            taken = {**found[clock], "passes": sum(found[clock]["passes"].values())}
            cells = [f"{taken[name]:.1f}" for name in names]
            label = stage if clock == CLOCKS[0] else f"{stage}, processor"
            table.add_row(label, *cells, str(found["memory_mb"]), str(found["disk_mb"]))
    console.print(table)
    for stage, found in result["stages"].items():
        for name, value in found[CLOCKS[0]]["ratios"].items():
            processor = found[CLOCKS[1]]["ratios"][name]
            console.print(f"{stage} {name}: {value:.2f}, of the processor {processor:.2f}")
    for stage, found in result.get("training", {}).items():
        for name in training.RATIOS:
            if found[name] is not None:
                console.print(f"{stage} {name}: {found[name]:.2f}")
    peers = Table(title="the same traces, and planted faults")
    stages = list(result["stages"])
    for heading in ("", *(f"{stage} s" for stage in stages), "found", "named", "false alarms"):
        peers.add_column(heading)
    for name, said in result["found"].items():
        times = (f"{result['stages'][stage]['peers'][name]['seconds']:.1f}" for stage in stages)
        counts = (f"{said['found']} of {said['of']}", str(said["named"]), str(said["false_alarms"]))
        peers.add_row(name, *times, *counts)
    console.print(peers)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--small", is_flag=True, help="The first layers of the coarse stage, one round.")
@click.option("--part", hidden=True, help="What one process measures.")
@click.argument("arguments", nargs=-1)
def main(
    as_json: bool, rounds: int, small: bool, part: str | None, arguments: tuple[str, ...]
) -> None:
    """Measure what users wait for, and what others find in the same traces."""
    if part is not None:
        click.echo(json.dumps(part_here(part, arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="p2m-parity-") as folder, steps() as progress:
        rounds = 1 if small else rounds
        result = measure(small, rounds, part_in_a_process, Path(folder), progress)
    if as_json:
        click.echo(json.dumps(result))
    else:
        show(result, Console())


if __name__ == "__main__":
    main()
