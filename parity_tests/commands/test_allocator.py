"""Freed memory is handed out again instead of being mapped and zeroed afresh."""

import ctypes
import json
import os
import subprocess
import sys

import pytest

ALLOCATIONS = """
import ctypes, json
import numpy as np
{first}

class Allocations(ctypes.Structure):  # glibc's mallinfo2
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

told = ctypes.CDLL(None).mallinfo2
told.restype = Allocations
before = told()
array = np.empty(4 * 2**20, dtype=np.float32)  # 16 MB
held = told()
del array
after = told()
print(json.dumps({{
    "mapped": held.hblkhd - before.hblkhd, "kept": after.fordblks - before.fordblks
}}))
"""


def allocations(first: str) -> dict[str, int]:
    """Bytes that an array of 16 MB has mapped for itself, and that are free once it is."""
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATIONS.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        # Dask sets some of the allocator's variables for all processes that follow.
        env={name: value for name, value in os.environ.items() if "MALLOC" not in name},
    )
    told: dict[str, int] = json.loads(done.stdout)
    return told


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or later"
)
def test_the_command_line_keeps_what_it_frees() -> None:
    size = 16 * 2**20
    by_default = allocations("")
    assert by_default["mapped"] >= size and by_default["kept"] < size / 2
    told = allocations("import commands")
    assert told["mapped"] == 0 and told["kept"] > size / 2
