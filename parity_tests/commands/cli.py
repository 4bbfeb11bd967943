"""Running the command line as a user does: in a process of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


def p2m(*arguments: object, cwd: Path | None = None) -> Outcome:
    """Run ``p2m-parity`` with these arguments."""
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


def assert_trouble(outcome: Outcome, *words: str) -> None:
    """Exit status 2 and exactly one line on stderr that holds ``words``, nothing on stdout."""
    assert outcome.status == 2, outcome
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("p2m-parity: error: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in outcome.stderr
