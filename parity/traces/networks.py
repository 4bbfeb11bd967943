"""Networks of a user's own: the module that registers one is imported before they are asked for."""

import importlib
import shlex
import sys
from collections.abc import Iterable

from network.registry import names
from weight_conversion.errors import InputError

_IMPORTED: dict[str, None] = {}


def import_networks(modules: Iterable[str], option: str) -> None:
    """Import modules that register networks, from the folder that the command is run in or beyond.

    Args:
        modules: their names.
        option: by which they were given, for an error's line.

    Raises:
        InputError: one cannot be imported, or registers no network.
    """
    see_working_folder()
    for module in modules:
        before = set(names())
        known = module in sys.modules
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever a user's module does
            found = f"{module} cannot be imported ({type(error).__name__}: {error})"
            raise InputError(option, found, "a module that registers a network") from error
        if not known and before == set(names()):
            raise InputError(option, f"{module} registers no network", "register(Network(…))")
        _IMPORTED[module] = None


def see_working_folder() -> None:
    """Let modules be imported from the folder that a command is run in: a user's lie there."""
    if "" not in sys.path:
        sys.path.insert(0, "")


def command_line(*words: object) -> str:
    """A command of this program for a shell, with the networks that this run has imported."""
    networks = [word for module in _IMPORTED for word in ("--network", module)]
    return shlex.join(["p2m-parity", *networks, *map(str, words)])
