"""Two processes for the tests: what a suite shares is made in one of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("parity_tests/torch_impl/test_losses.py", "parity_tests/torch_impl/test_nearest.py")
ALONE = "parity_tests/weight_conversion/test_layout.py"


@pytest.mark.slow
def test_a_suite_that_shares_stays_in_one_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-n", "2",
         *MODULES, ALONE],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    ran = re.findall(r"^\[(gw\d)\] .*? (?:PASSED|SKIPPED) (\S+?)::", done.stdout, re.MULTILINE)
    workers = {module: {worker for worker, where in ran if where == module}
               for module in (*MODULES, ALONE)}  # fmt: skip
    first, second = (workers[module] for module in MODULES)
    assert first == second
    assert len(first) == 1
    # And the other process is not idle meanwhile.
    assert workers[ALONE].isdisjoint(first)
    assert workers[ALONE]
