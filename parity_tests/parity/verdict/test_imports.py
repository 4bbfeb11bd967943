"""What a comparison loads: neither framework is needed where traces are compared."""

import subprocess
import sys
from pathlib import Path

from parity_tests.parity.conftest import Build


def test_comparing_loads_no_framework(build: Build, tmp_path: Path) -> None:
    program = """
import sys
from commands.main import cli
cli.main(sys.argv[1:], standalone_mode=False)
print(sorted({"torch", "tensorflow", "onnxruntime"} & set(sys.modules)))
"""
    out = tmp_path / "out"
    traces = [str(build(side)) for side in ("reference", "candidate")]
    done = subprocess.run(
        [sys.executable, "-c", program, "compare", *traces, "--out", str(out)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert (out / "report.html").exists()
