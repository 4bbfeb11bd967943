"""TensorFlow 1 checkpoints by their prefix, as :mod:`weight_conversion.bundle` reads them.

A folder stands for the checkpoint in it, and so does the file ``checkpoint`` that TensorFlow keeps
there: a text that names the newest one, ``model_checkpoint_path: "model.ckpt-10"``.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from weight_conversion.bundle import index_path, read_bundle, read_index, write_bundle
from weight_conversion.containers.contents import Contents, Variable
from weight_conversion.errors import InputError
from weight_conversion.files import is_file, is_folder

_PART = re.compile(r"(?P<prefix>.+)\.(index|meta|data-\d{5}-of-\d{5})")
_STEP = re.compile(r".*-(\d{1,18})")
_STATE = "checkpoint"
# Within one line: blank lines without end would otherwise be tried from each of them.
_NEWEST = re.compile(
    r'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE
)
_LONGEST_STATE = 1 << 20


def prefix_of(path: Path) -> Path:
    """The checkpoint's prefix where ``path`` is one of its files, else ``path`` itself."""
    part = _PART.fullmatch(path.name)
    return path.with_name(part["prefix"]) if part else path


def step_in_name(prefix: Path) -> int | None:
    """The step that TensorFlow's ``Saver`` put at the end of a prefix: 50 in ``x.ckpt-50``."""
    match = _STEP.fullmatch(prefix.name)
    return int(match[1]) if match else None


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open the checkpoint with prefix ``path``; one of its files or its folder stands for it.

    Raises:
        InputError: there is no such checkpoint, its index is damaged, or a folder holds several
            and no file that says which is the newest.
    """
    prefix, notes = _resolved(path)
    if not is_file(index_path(prefix)):
        found = f"no {index_path(prefix).name} there"
        if is_file(path):
            found = "a file of no known format"
        raise InputError(path, found, _near(prefix))
    index = read_index(prefix)
    yield Contents(
        tuple(Variable(entry.key, entry.shape, entry.dtype) for entry in index.entries),
        lambda name: read_bundle(index, [name])[name],
        index.data_paths,
        step_in_name(prefix),
        checked=True,
        notes=notes,
    )


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a checkpoint with prefix ``path``; its stage is in its keys, its step in its name."""
    del stage, step
    if prefix_of(path) != path:
        raise InputError(path, "the name of one file", f"the checkpoint's prefix {prefix_of(path)}")
    write_bundle(path, arrays)


def is_state(path: Path) -> bool:
    """Whether ``path`` is the file in which TensorFlow names a folder's newest checkpoint."""
    return path.name == _STATE and is_file(path) and not is_file(index_path(path))


def _resolved(path: Path) -> tuple[Path, tuple[str, ...]]:
    """The prefix that ``path`` stands for, and a note where the path does not say it itself.

    Raises:
        InputError: a folder without a checkpoint, or with several of which none is named.
    """
    state = path if is_state(path) else path / _STATE if is_folder(path) else None
    # "." and "/" have no name that a prefix could be.
    if state is None or (path.name and is_file(index_path(path))):
        return prefix_of(path), ()
    if is_file(state):
        prefix = _newest(state)
        return prefix, (f"the checkpoint {prefix}, which the file {state} names",)
    found = sorted(path.glob("*.index"))
    if len(found) != 1:
        what = f"{len(found)} checkpoints in a folder" if found else "a folder without a checkpoint"
        raise InputError(path, what, _near(path))
    prefix = found[0].with_suffix("")
    return prefix, (f"the checkpoint {prefix}, the only one in the folder",)


def _newest(state: Path) -> Path:
    """The checkpoint that a file ``checkpoint`` names, beside that file where it was moved.

    Raises:
        InputError: it names none, or one that is not there.
    """
    try:
        with state.open("rb") as stream:
            text = stream.read(_LONGEST_STATE).decode(errors="surrogateescape")
    except OSError as error:
        raise InputError(state, str(error.strerror or error), "a readable file") from error
    match = _NEWEST.search(text)
    if match is None:
        raise InputError(state, "no model_checkpoint_path in it", "the name of a checkpoint")
    named = Path(re.sub(r"\\(.)", r"\1", match[1]))
    for prefix in (state.parent / named, state.parent / named.name):
        if is_file(index_path(prefix)):
            return prefix
    raise InputError(state, f"it names {named}, which is not there", _near(state.parent))


def _near(prefix: Path) -> str:
    """What could have been meant."""
    expected = "a weights file (.safetensors, .pt, .npz, .h5, .onnx) or a checkpoint's prefix"
    folder = prefix if is_folder(prefix) else prefix.parent
    found = sorted(folder.glob("*.index"))[:4] if is_folder(folder) else []
    names = ", ".join(str(path.with_suffix("")) for path in found)
    return f"{expected}, such as {names}" if names else expected
