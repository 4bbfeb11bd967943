"""The one exception that means "the input is at fault, not the program"."""

import os
import re

# HDF5 and libraries in Rust tell what the system said in the midst of their own words.
_WITHIN = re.compile(r"error message = '([^']+)'|([^:]+) \(os error \d+\)")


class InputError(Exception):
    """Bad or missing input: exit status 2 and one line.

    The message says where (path or name), what was found and what was expected, in one line.
    Names come from files that others made: what a terminal would obey in them is spelled out.
    """

    def __init__(self, where: object, found: str, expected: str = "") -> None:
        message = f"{where}: {found}"
        if expected:
            message += f"; expected {expected}"
        line = " ".join(message.split())
        super().__init__(
            "".join(
                each if each.isprintable() else each.encode("unicode_escape").decode()
                for each in line
            )
        )


def system_reason(error: BaseException) -> str | None:
    """What the system said, where that is why a library failed: "No space left on device".

    Libraries raise errors of their own upon the system's, or put its words into theirs.
    """
    within = _WITHIN.search(str(error))
    if within:
        return (within[1] or within[2]).strip()
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, OSError) and each.errno:
            return os.strerror(each.errno)
        each = each.__cause__ or each.__context__
    return None
