"""TensorFlow 1 checkpoints by their prefix, as :mod:`weight_conversion.bundle` reads them."""

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
    """Open the checkpoint with prefix ``path``; one of its files stands for it as well.

    Raises:
        InputError: there is no such checkpoint, or its index is damaged.
    """
    prefix = prefix_of(path)
    if not is_file(index_path(prefix)):
        raise InputError(path, f"no {index_path(prefix).name} there", _near(prefix))
    index = read_index(prefix)
    yield Contents(
        tuple(Variable(entry.key, entry.shape, entry.dtype) for entry in index.entries),
        lambda name: read_bundle(index, [name])[name],
        index.data_paths,
        step_in_name(prefix),
        checked=True,
    )


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a checkpoint with prefix ``path``; its stage is in its keys, its step in its name."""
    del stage, step
    if prefix_of(path) != path:
        raise InputError(path, "the name of one file", f"the checkpoint's prefix {prefix_of(path)}")
    write_bundle(path, arrays)


def _near(prefix: Path) -> str:
    """What could have been meant."""
    expected = "a weights file (.safetensors, .pt, .npz, .h5, .onnx) or a checkpoint's prefix"
    folder = prefix if is_folder(prefix) else prefix.parent
    found = sorted(folder.glob("*.index"))[:4] if is_folder(folder) else []
    names = ", ".join(str(path.with_suffix("")) for path in found)
    return f"{expected}, such as {names}" if names else expected
