"""Running the command line as a user does, in this process or in one of its own."""

import importlib
import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


def p2m(*arguments: object, cwd: Path | None = None) -> Outcome:
    """Run ``p2m-parity`` with these arguments in this process, which has imported most of it."""
    out, err = io.StringIO(), io.StringIO()
    words = [str(argument) for argument in arguments]
    with (
        _as_started(words, cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert isinstance(ended.value.code, int)
    return Outcome(ended.value.code, out.getvalue(), err.getvalue())


def p2m_process(*arguments: object, cwd: Path | None = None) -> Outcome:
    """The same in a process of its own, where what libraries print and threads do is told too."""
    program = "from commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:commands", "-c", program]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=600,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def _as_started(words: list[str], folder: Path) -> Iterator[None]:
    """What a process begins with; of what it leaves here, a user's modules are forgotten."""
    handler = signal.getsignal(signal.SIGTERM)
    before = set(sys.modules)
    importlib.invalidate_caches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["p2m-parity", *words])
        patch.setattr(sys, "path", ["", *sys.path])
        # A test run that is ended ends, as ever, and is no command that was interrupted.
        patch.setattr("commands.main._terminated", signal.SIG_DFL)
        patch.chdir(folder)
        for source in folder.glob("*.py"):  # of an earlier test by the same name
            patch.delitem(sys.modules, source.stem, raising=False)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, handler)
            # Only what lies in the folder itself: an environment may lie below it (`.tox`), and a
            # library half of whose modules are imported a second time no longer works.
            for name in set(sys.modules) - before:
                source = getattr(sys.modules[name], "__file__", None)
                if source is not None and Path(source).parent == folder.resolve():
                    del sys.modules[name]


def assert_trouble(outcome: Outcome, *words: str) -> None:
    """Exit status 2 and exactly one line on stderr that holds ``words``, nothing on stdout."""
    assert outcome.status == 2, outcome
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("p2m-parity: error: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in outcome.stderr
