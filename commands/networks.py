"""How the program was called, networks of a user's own included."""

import click


def program() -> str:
    """How this program was called, up to its command: to be repeated in a report."""
    context = click.get_current_context(silent=True)
    modules = context.find_root().params.get("networks", ()) if context is not None else ()
    return " ".join(["p2m-parity", *(f"--network {module}" for module in modules)])
