"""The place in a user's own code where something went wrong."""

import importlib
import traceback
from pathlib import Path


def place_in_port(error: BaseException, backend: str) -> str:
    """The innermost frame of an exception that is in a port's own files: ``file:line``.

    Args:
        error: what was raised.
        backend: ``module:factory``; the port's own files are those beside its module, installed
            packages not among them.

    Returns:
        Empty where no frame is in the port.
    """
    module = backend.partition(":")[0]
    try:
        source = importlib.import_module(module).__file__
    except Exception:  # a port that cannot even be imported has no place to name
        return ""
    if source is None:
        return ""
    folder = Path(source).resolve().parent
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename).resolve()
        if path == Path(source).resolve() or (
            folder in path.parents and "site-packages" not in path.parts
        ):
            found = f"{frame.filename}:{frame.lineno}"
    return found
