"""What ``faults`` does."""

import fnmatch
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click

from commands.console import print_json, steps
from parity.traces.backends import BackendChoice
from parity.verdict.result import jsonable
from reports.tables.comparison import json_text
from studies.faults.fault import Fault
from studies.faults.faults import FAULTS
from studies.faults.harmless import HARMLESS, Harmless
from studies.faults.harness import LAYERS, Job, jobs, run
from studies.faults.outcome import Judged, gather
from studies.faults.table import csv_text, markdown, summary
from studies.faults.verdict_judge import VerdictJudge
from studies.faults.workers import run_in_processes, usual_workers
from weight_conversion.atomic import staging
from weight_conversion.errors import InputError

FEW = 12
"""Jobs that another process would not repay its start for."""
JOURNAL = "judged.jsonl"
"""What has been judged so far, a line each; the first line names what it was judged by."""

Subject = TypeVar("Subject", Fault, Harmless)
Key = tuple[str, str, str]


def perform(
    only: str,
    small: bool,
    as_list: bool,
    out: Path,
    resume: bool,
    workers: int | None,
    no_float64: bool,
    as_json: bool,
) -> int:
    """Put known faults into the implementation, and see whether the verdict finds them."""
    faults, harmless = _chosen(FAULTS, only, small), _chosen(HARMLESS, only, small)
    if no_float64:
        faults = [each for each in faults if each.group in LAYERS]
        harmless = [each for each in harmless if each.group in LAYERS]
    judge = VerdictJudge(float64=not no_float64)
    if not faults and not harmless:
        raise InputError("--only", f"{only!r} matches nothing", "a name or glob of faults --list")
    if as_list:
        _print_list(faults, harmless, as_json)
        return 0
    todo = jobs(faults, harmless)
    journal = _Journal(out, resume, judge.name)
    left = [job for job in todo if job.key not in journal.judged]
    with steps() as progress, progress.task("faults", len(todo)) as task:
        done = len(todo) - len(left)

        def on_start(job: Job) -> None:
            task.update(done, f"{job.stage}, {job.subject.id}")

        workers = usual_workers() if workers is None else workers
        if workers > 1 and len(left) > FEW:
            judged = run_in_processes(left, workers, float64=judge.float64)
        else:
            judged = run(left, judge, BackendChoice("torch").make, on_start)
        for found in judged:
            done += 1
            journal.add(found)
            task.update(done, f"{found.stage}, {found.id}")
    outcome = gather(faults, harmless, journal.judged)
    value = jsonable(outcome.to_json())
    with staging(out, last="faults.json") as folder:
        (folder / "faults.json").write_text(json_text(value), encoding="utf-8")
        (folder / "faults.csv").write_text(csv_text(outcome), encoding="utf-8")
        (folder / "faults.md").write_text(markdown(outcome), encoding="utf-8")
    journal.close()
    if as_json:
        print_json(value)
    else:
        for line in (*summary(outcome), f"table: {out / 'faults.md'}"):
            click.echo(line)
    return int(not outcome.sound)


def _chosen(subjects: Sequence[Subject], glob: str, small: bool) -> list[Subject]:
    return [each for each in subjects
            if fnmatch.fnmatchcase(each.id, glob) and (each.small or not small)]  # fmt: skip


def _print_list(faults: list[Fault], harmless: list[Harmless], as_json: bool) -> None:
    if as_json:
        listed = [
            {"id": each.id, "part": each.part, "operand": each.operand,
             "shows_in": each.shows_in, "probe": each.probe, "expected": dict(each.expected),
             "source": each.source, "description": each.description}
            for each in faults
        ]  # fmt: skip
        others = [{"id": each.id, "kind": each.kind, "description": each.description}
                  for each in harmless]  # fmt: skip
        print_json({"faults": listed, "harmless": others})
        return
    for fault in faults:
        click.echo(f"{fault.id}: {fault.description}")
    for each in harmless:
        click.echo(f"harmless {each.id}: {each.description}")


class _Journal:
    """Judgements as they come, on disk, so that an interrupted run can go on."""

    def __init__(self, out: Path, resume: bool, judge: str) -> None:
        """Start anew, or go on with what is in ``out``.

        Raises:
            InputError: there is nothing to go on with, or it was judged by another judge.
        """
        self.judged: dict[Key, Judged] = {}
        self._path = out / JOURNAL
        head = json.dumps({"judge": judge})
        if out.exists() and not out.is_dir():
            raise InputError(out, "a file", "a folder to write to")
        if resume:
            self._read(head)
            return
        out.mkdir(parents=True, exist_ok=True)
        self._path.write_text(head + "\n", encoding="utf-8")

    def add(self, found: Judged) -> None:
        """Keep one judgement."""
        self.judged[found.kind, found.id, found.stage] = found
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found.to_json()) + "\n")

    def close(self) -> None:
        """The run is complete, and its tables are written."""
        self._path.unlink(missing_ok=True)

    def _read(self, head: str) -> None:
        if not self._path.is_file():
            raise InputError(self._path, "no such file", "an interrupted run to go on with")
        first, *lines = self._path.read_text(encoding="utf-8").splitlines() or [""]
        if first != head:
            raise InputError(self._path, f"was judged by {first}", head)
        for line in lines:
            try:
                found = Judged(**json.loads(line))
            except (ValueError, TypeError):
                continue  # the line that was being written when the run was interrupted
            self.judged[found.kind, found.id, found.stage] = found
