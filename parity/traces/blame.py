"""What a user's own code raised, and the place in it."""

import importlib.util
import re
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

KEPT = (350, 150)
"""Characters at the beginning and end of an exception's message that an error line repeats."""

_PROJECT = Path(__file__).resolve().parents[2]
_OURS = tuple(
    _PROJECT / name
    for name in (
        "benchmarks", "cluster", "commands", "evaluation", "inputs", "network", "parity",
        "reports", "studies",
        "tf_reference", "torch_impl", "weight_conversion",
    )
)  # fmt: skip
_LIBRARY = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_INSTALLED = ("site-packages", "dist-packages")
_GENERATED = "torchinductor_"
"""Beginning of the name of the folder that ``torch.compile`` writes its code to."""
_QUOTED_PLACE = re.compile(r'File "([^"\n]+)", line (\d+)')
"""A place as TorchScript and TorchDynamo quote it in their messages."""


def words_of(error: BaseException) -> str:
    """An exception's type and message on one line, a long message cut in its middle.

    TorchDynamo says what went wrong at the beginning of its paragraphs, TorchScript at the end.
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in _text(error)).split())
    if len(text) > sum(KEPT):
        text = f"{text[: KEPT[0]]} … {text[-KEPT[1] :]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place_in_port(error: BaseException, backend: str) -> str:
    """The innermost place of an exception that is in a port's own code: ``file:line``.

    Args:
        error: what was raised.
        backend: ``module:factory``. A port's own code is its module, its package, and every other
            file that is neither of this project, nor installed, nor of Python's library.

    Returns:
        Empty where the exception has no such place.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}:{error.lineno}"
    places = [(f.filename, f.lineno or 0) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, RuntimeError):
        # What TorchScript and compiled graphs run has no frames of Python's.
        places += [(name, int(line)) for name, line in _QUOTED_PLACE.findall(_text(error))]
    return innermost_place(places, backend)


def innermost_place(places: Iterable[tuple[str, int]], backend: str) -> str:
    """The last of these places, outermost first, that is in a port's own code, or nothing."""
    own = _own_folder(backend)
    found = ""
    for filename, line in places:
        if _is_own(filename, own):
            found = f"{filename}:{line}"
    return found


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # an exception of a port's own may fail to say what it is
        return f"its message failed with {type(broken).__name__}"


def _own_folder(backend: str) -> Path | None:
    """The port's module, or the folder of its package, which may be installed."""
    package = backend.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path.parent if spec.submodule_search_locations else path


def _is_own(filename: str, own: Path | None) -> bool:
    if filename.startswith("<"):  # code that was never in a file
        return False
    path = Path(filename).resolve()
    if own is not None and (path == own or own in path.parents):
        return True
    if any(part in _INSTALLED or part.startswith(_GENERATED) for part in path.parts):
        return False
    return not any(folder in path.parents for folder in (*_OURS, *_LIBRARY))
