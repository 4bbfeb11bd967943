"""The one exception that means "the input is at fault, not the program"."""


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
