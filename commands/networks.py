"""Networks of a user's own on the command line: the module that registers one is imported first."""

import importlib
import sys

import click

from weight_conversion.errors import InputError


def import_networks(modules: tuple[str, ...]) -> None:
    """Import modules that register networks, from the folder that the command is run in or beyond.

    Raises:
        InputError: one cannot be imported, or registers no network.
    """
    if not modules:
        return
    from network.registry import names

    if "" not in sys.path:
        sys.path.insert(0, "")
    for module in modules:
        before = set(names())
        known = module in sys.modules
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever a user's module does
            found = f"{module} cannot be imported ({type(error).__name__}: {error})"
            raise InputError("--network", found, "a module that registers a network") from error
        if not known and before == set(names()):
            raise InputError("--network", f"{module} registers no network", "register(Network(…))")


def program() -> str:
    """How this program was called, up to its command: to be repeated in a report."""
    context = click.get_current_context(silent=True)
    modules = context.find_root().params.get("networks", ()) if context is not None else ()
    return " ".join(["p2m-parity", *(f"--network {module}" for module in modules)])
