"""The C library's allocator, told to keep what it is given back.

By default glibc maps every large array afresh and unmaps it when it is freed, and the kernel zeroes
each page again. A forward pass frees and allocates the same sizes over and over: the coarse stage
spent more time in page faults than in arithmetic, and takes half as long without.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Numbers of the options, from glibc's ``malloc.h``."""

REUSED = 32 * 2**20
"""Bytes up to which an array comes from memory that is kept: the most that glibc admits."""

KEPT = 512 * 2**20
"""Bytes of free memory that are kept; what is beyond goes back to the system."""

ARENAS = 2
"""Stocks of free memory: with one a thread, what one has freed is of no use to the others."""


def keep_freed_memory() -> bool:
    """Keep freed memory for the next array, where the C library is glibc.

    Returns:
        Whether it could be told to.
    """
    options = ((M_MMAP_THRESHOLD, REUSED), (M_TRIM_THRESHOLD, KEPT), (M_ARENA_MAX, ARENAS))
    library = _glibc()
    return library is not None and all(
        library.mallopt(option, value) == 1 for option, value in options
    )


def give_back_freed_memory() -> None:
    """Return what is free to the system: other work than what it was kept for comes next."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
