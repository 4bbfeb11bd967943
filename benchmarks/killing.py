"""What ``kill -9`` leaves behind: ``python -m benchmarks.killing [--kills 200] [--json]``.

``convert``, ``report``, ``run`` and ``overfit`` in small forms are killed again and again, each
over an older result of its own: half of the time at a random moment, half before a random one of
the calls by which the process changes files, which last a thousandth of its time. What is there
then must be the old result, the new one or none, byte for byte, and the same command must succeed
and leave nothing of the dead one. Commands run in forks of this process, so that hardly a kill is
spent on the import of libraries.
"""

import hashlib
import importlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import commands.main
from benchmarks.fuzz_targets import report_json
from commands.console import steps
from inputs.demo import demo_item_path
from inputs.seeded import seeded_weights
from parity.training.overfit import LOG, STATE
from weight_conversion.containers import npz
from weight_conversion.formats import WeightSet, load_weights, save_weights, weights_sha256

CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
"""Python's audit events of the calls that change files; ``open`` where it is for writing."""
ENDINGS = (".safetensors", ".pt", ".npz", ".h5", ".onnx", ".ckpt-1")
_LOADED = ("commands.actions.convert", "commands.actions.report", "commands.actions.run",
           "commands.actions.overfit", "onnx",
           "torch_impl.backend", "torch_impl.training", "torch_impl.onnx_network",
           "matplotlib.backends.backend_agg",
           "matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg")  # fmt: skip
"""What the forks need not import again."""
_ITEM = demo_item_path("plane")
_SCRATCH = ".p2m-parity."


class TornError(Exception):
    """What is there is neither the old result, nor the new one, nor none."""


@dataclass
class Subject:
    """A command in its small form.

    Attributes:
        name: the command's.
        arguments: of the new result (1) and of the old one (0), by the number of the trial.
        state: "old", "new" or "none", by what lies in a folder after trial and form; raises
            TornError.
        seconds, changes: how long it takes and how many calls change files, measured.
        tried, counts, faults: how often it was tried, what was found, and what is at fault.
    """

    name: str
    arguments: Callable[[int, int], list[str]]
    state: Callable[[Path, int], str]
    seconds: float = 0.0
    changes: int = 0
    tried: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.counts["by a call"] + self.counts["by the clock"]


def run(folder: Path, words: list[str], doom: float | int | None = None) -> tuple[int, int]:
    """Run a command in a fork, with ``folder`` as its current one.

    Args:
        folder: where.
        words: its arguments.
        doom: kill it after so many seconds (a float), or before so many changes (an int).

    Returns:
        The exit status, negative where it was killed, and how many changes it made.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(folder, words, doom if isinstance(doom, int) else None, writing)
    os.close(writing)
    if isinstance(doom, float):
        time.sleep(doom)
        os.kill(child, signal.SIGKILL)  # no harm where it has ended: nobody has waited for it
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reading, "rb") as stream:
        return status, int(stream.read() or b"0")


def _live(folder: Path, words: list[str], doom: int | None, writing: int) -> None:
    """The life of a fork; does not return."""
    status, seen = 1, 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in CHANGES and (event != "open" or _for_writing(arguments)):
            if seen == doom:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    try:
        os.chdir(folder)
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(each, "wb")) for each in (1, 2))
        sys.argv = ["p2m-parity", *words]
        sys.addaudithook(count)
        commands.main.main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(writing, str(seen).encode())
        os._exit(status)


def _for_writing(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else None
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def files(folder: Path) -> dict[str, str]:
    """A digest of each file that people see in a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and _SCRATCH not in str(path.relative_to(folder))
    }


def leftovers(folder: Path) -> int:
    """Scratch folders in a folder."""
    return len(list(folder.rglob(f"{_SCRATCH}*")))


def of_snapshots(
    known: Sequence[Mapping[str, str]], marker: str, out: str = "out"
) -> Callable[[Path, int], str]:
    """The state of a folder whose files are those of one of two results, whole or not at all."""

    def state(folder: Path, _: int) -> str:
        found = files(folder / out) if (folder / out).is_dir() else {}
        for name, snapshot in zip(("old", "new"), known, strict=True):
            if found == snapshot:
                return name
        if marker in found:
            raise TornError(f"{marker} beside {sorted(found)}")
        if not any(found.items() <= snapshot.items() for snapshot in known):
            raise TornError(f"a mixture without {marker}: {sorted(found)}")
        return "none"

    return state


def _weights(folder: Path) -> list[str]:
    """Two sets of weights; their digests."""
    digests = []
    for number in (0, 1):
        arrays = seeded_weights("coarse", number)
        save_weights(folder / f"w{number}.npz", WeightSet("coarse", arrays, 1, "seed"))
        digests.append(weights_sha256(arrays))
    return digests


def _convert(digests: list[str]) -> Subject:
    def destination(trial: int) -> str:
        return f"out{ENDINGS[trial % len(ENDINGS)]}"

    def state(folder: Path, trial: int) -> str:
        path = folder / destination(trial)
        names = [path.name] if path.suffix in ENDINGS[:-1] else [f"{path.name}.index"]
        if not (folder / names[0]).exists():
            return "none"
        return ("old", "new")[digests.index(weights_sha256(load_weights(path).arrays))]

    return Subject(
        "convert", lambda trial, form: ["convert", f"w{form}.npz", destination(trial)], state
    )


def _overfit(folder: Path) -> Subject:
    words = ["overfit", "coarse", "--item", str(_ITEM), "--ground-truth",
             str(_ITEM / "model_normal.xyz"), "--frozen-cnn", "--save-every", "1",
             "--out", "out", "--resume"]  # fmt: skip
    end = "step-000002.safetensors"
    _must(folder, [*words, "--steps", "2"])
    whole = files(folder / "out")[end]
    _clear(folder)

    def state(folder: Path, _: int) -> str:
        """Every file whole, the last weights those of an undisturbed run to the bit."""
        out = folder / "out"
        if (out / end).exists() and files(out)[end] != whole:
            raise TornError("other weights than those of a run that was left alone")
        for path in out.glob("step-*"):
            if path.suffix in (".safetensors", ".index"):
                load_weights(path)
        if not (out / STATE).exists():
            return "none"
        with npz.opened(out / STATE) as contents:
            taken = int({v.name: contents.read(v.name) for v in contents.variables}["step"])
        rows = (out / LOG).read_text().splitlines()
        if len(rows) <= taken:
            raise TornError(f"{len(rows)} lines of log for {taken} steps")
        return "old" if taken <= 1 else "new"

    return Subject("overfit", lambda _, form: [*words, "--steps", "21"[1 - form]], state)


def _subjects(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Subject]:
    """The commands, each measured, and its two results known."""
    digests = _weights(folder)
    if wanted("convert"):
        yield _measured(folder, _convert(digests))
    run_words = ["run", "coarse", "--weights", "w0.npz", "--item", str(_ITEM), "--reference",
                 "torch", "--no-float64", "--out", "out"]  # fmt: skip
    taps = ("graph_conv_blk1_1_*", "graph_conv_blk1_2_*")
    for name, verdict in (("r0", "agree"), ("r1", "invalid")):
        (folder / name).mkdir()
        (folder / name / "report.json").write_bytes(report_json(verdict=verdict))

    def run_arguments(_: int, form: int) -> list[str]:
        return [*run_words, "--taps", taps[form]]

    def report_arguments(_: int, form: int) -> list[str]:
        return ["report", *(("r0", "r1") if form else ("r1", "r0")), "--out", "out"]

    for name, marker, arguments in (
        ("report", "runs.json", report_arguments), ("run", "report.json", run_arguments),
    ):  # fmt: skip
        if not wanted(name):
            continue
        known = []
        for form in (0, 1):
            _must(folder, arguments(0, form))
            known.append(files(folder / "out"))
            shutil.rmtree(folder / "out")
        yield _measured(folder, Subject(name, arguments, of_snapshots(known, marker)))
    if wanted("overfit"):
        yield _measured(folder, _overfit(folder))


def _measured(folder: Path, subject: Subject) -> Subject:
    start = time.monotonic()
    subject.changes = _must(folder, subject.arguments(0, 1))
    subject.seconds = time.monotonic() - start
    _clear(folder)
    return subject


def _must(folder: Path, words: list[str]) -> int:
    status, changes = run(folder, words)
    if status:
        said = (folder / "output").read_text(errors="replace")
        raise RuntimeError(f"{' '.join(words)}: status {status}: {said}")
    return changes


def _clear(folder: Path) -> None:
    for path in folder.glob("out*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _put_old(folder: Path, words: list[str]) -> None:
    """Put an old result there: made by its command once, copied later."""
    kept = folder / "kept" / hashlib.sha256(repr(words).encode()).hexdigest()
    if kept.exists():
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return
    _must(folder, words)
    kept.mkdir(parents=True)
    for path in folder.glob("out*"):
        if path.is_dir():
            shutil.copytree(path, kept / path.name)
        else:
            shutil.copy(path, kept)


def trial(folder: Path, subject: Subject, number: int, generator: np.random.Generator) -> bool:
    """Put an old result there, or none, kill the command over it, look, and run it again.

    Returns:
        Whether it was killed: it may have come to its end before.
    """
    _clear(folder)
    if number % 4:
        _put_old(folder, subject.arguments(number, 0))
    by_call = number % 2 == 1
    doom = (int(generator.integers(subject.changes)) if by_call
            else float(generator.random() * subject.seconds))  # fmt: skip
    words = subject.arguments(number, 1)
    status, _ = run(folder, words, doom)
    if status >= 0:
        return False
    subject.counts["by a call" if by_call else "by the clock"] += 1
    subject.counts["left scratch folders"] += leftovers(folder) > 0
    try:
        subject.counts[subject.state(folder, number)] += 1
    except Exception as error:  # whatever makes a reader fail is a torn result
        subject.faults.append(f"torn: kill {number} ({doom}): {type(error).__name__}: {error}")
    status, _ = run(folder, words)
    said = (folder / "output").read_text(errors="replace")
    if status:
        subject.faults.append(f"next run: kill {number} ({doom}): status {status}: {said[-300:]}")
    elif subject.state(folder, number) != "new":
        subject.faults.append(f"next run: kill {number} ({doom}): not the new result")
    elif leftovers(folder):
        subject.faults.append(f"next run: kill {number} ({doom}): leftovers")
    else:
        subject.counts["next run succeeded"] += 1
    return True


@contextmanager
def _place() -> Iterator[Path]:
    """A folder, with the place for temporary files in it."""
    with tempfile.TemporaryDirectory(prefix="killing-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        own = {"TMPDIR": str(folder / "tmp"), "P2M_PARITY_CACHE": str(folder / "cache")}
        before, place = {key: os.environ.get(key) for key in own}, tempfile.tempdir
        os.environ |= own
        tempfile.tempdir = own["TMPDIR"]
        try:
            yield folder
        finally:
            tempfile.tempdir = place
            for key, value in before.items():
                if value is None:
                    del os.environ[key]
                else:
                    os.environ[key] = value


def study(
    kills: int, seed: int, only: tuple[str, ...] = (), minutes: float = 1e9
) -> list[dict[str, Any]]:
    """Kill the commands so many times in all, or for so many minutes; the numbers of each."""
    generator = np.random.default_rng(seed)
    for name in _LOADED:
        importlib.import_module(name)
    with _place() as folder, steps() as progress:
        with progress.task("the commands, undisturbed"):
            subjects = list(_subjects(folder, lambda name: not only or name in only))
        end = time.monotonic() + 60 * minutes
        with progress.task("killing", kills) as task:
            done = 0
            while done < kills and time.monotonic() < end:
                subject = min(subjects, key=lambda each: each.kills)
                done += trial(folder, subject, subject.tried, generator)
                subject.tried += 1
                task.update(done, f"killing, {subject.name}")
    return [
        {"command": each.name, "kills": each.kills, "seconds": round(each.seconds, 2),
         "changes": each.changes, **{name: each.counts[name] for name in COUNTS},
         "faults": each.faults}
        for each in subjects
    ]  # fmt: skip


COUNTS = ("by the clock", "by a call", "old", "new", "none", "left scratch folders",
          "next run succeeded")  # fmt: skip


@click.command()
@click.option("--kills", default=200, show_default=True, type=click.IntRange(1))
@click.option("--minutes", default=60.0, show_default=True, help="End after so many at the latest.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--only", multiple=True, help="Kill this command alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone, on one line.")
def main(kills: int, minutes: float, seed: int, only: tuple[str, ...], as_json: bool) -> None:
    """Kill commands at random moments and say what they leave; status 1 on a fault."""
    results = study(kills, seed, only, minutes)
    if as_json:
        click.echo(json.dumps(results))
    else:
        table = Table(box=None, pad_edge=False)
        names = ("command", "kills", *COUNTS)
        for name in names:
            table.add_column(name, justify="left" if name == "command" else "right")
        for result in results:
            table.add_row(*(str(result[name]) for name in names))
        Console().print(table)
        for result in results:
            for fault in result["faults"]:
                click.echo(f"{result['command']}: {fault}")
    if any(result["faults"] for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
