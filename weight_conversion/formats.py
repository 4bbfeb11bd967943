"""Weights in files: which format a name or a content means, and reading and writing it.

A file is read as what its content is, whatever its ending; it is written as what its ending says.

| ending | names and layout | stage and step |
|---|---|---|
| `.safetensors` | state dict | metadata `stage`, `step` |
| `.pt` | state dict | the state dict's `_metadata` |
| `.onnx` (reading) | initializers named as in the state dict | metadata `step` |
| `.npz` | checkpoint, a member a key | the archive's comment, JSON |
| `.h5` | checkpoint, a key is a dataset's path | attributes of the root |
| any other | a TensorFlow 1 checkpoint's prefix | the step at the prefix's end, `x.ckpt-50` |

The stage is always told by the variables. Values are moved bit for bit; half precision is widened
to the float32 that holds it exactly, and noted. What is of another type, or not finite, or not of
the expected shape is refused by name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.atomic import replacing
from weight_conversion.containers import checkpoint, hdf5, npz, onnx, pytorch, safetensors
from weight_conversion.containers.checkpoint import is_state, prefix_of, step_in_name
from weight_conversion.containers.contents import Contents, writing
from weight_conversion.errors import InputError
from weight_conversion.files import is_folder
from weight_conversion.recognise import THE_ONLY_ONE, Choice, Naming, recognise_stage
from weight_conversion.sniff import suffix_by_content
from weight_conversion.weight_set import (
    HALVES,
    WeightSet,
    check_arrays,
    check_finite,
    check_variable,
    dtype_text,
    weights_sha256,
    widened,
    widening,
)

__all__ = [
    "CHECKPOINT",
    "FORMATS",
    "Choice",
    "Format",
    "WeightSet",
    "format_of",
    "load_weights",
    "opened_weights",
    "save_weights",
    "step_kept",
    "weights_sha256",
]

_Write = Callable[[Path, Mapping[str, NDArray[Any]], str, "int | None"], None]


@dataclass(frozen=True)
class Format:
    """One way to keep weights.

    Attributes:
        name: for people and for ``inspect``.
        suffix: the ending that means it; empty for a checkpoint's prefix.
        naming: whose names and layout it uses.
        opened: opens a file.
        write: writes one, to a path of its own; None where this module cannot.
        strangers: whether names beside the variables belong to it.
    """

    name: str
    suffix: str
    naming: Naming
    opened: Callable[[Path], AbstractContextManager[Contents]]
    write: _Write | None
    strangers: bool = False


CHECKPOINT = Format(
    "TensorFlow 1 checkpoint", "", Naming.CHECKPOINT, checkpoint.opened, checkpoint.write
)
FORMATS = (
    Format("safetensors", ".safetensors", Naming.TORCH, safetensors.opened, safetensors.write),
    Format("PyTorch", ".pt", Naming.TORCH, pytorch.opened, pytorch.write),
    Format("NumPy", ".npz", Naming.CHECKPOINT, npz.opened, npz.write),
    Format("HDF5", ".h5", Naming.CHECKPOINT, hdf5.opened, hdf5.write),
    Format("ONNX", ".onnx", Naming.TORCH, onnx.opened, None, strangers=True),
    CHECKPOINT,
)


def format_of(path: Path) -> Format:
    """The format that the ending of ``path`` means; any unknown one is a checkpoint's prefix."""
    return _by_suffix(path.suffix.lower())


def format_in(path: Path) -> Format:
    """The format of the file ``path``: its content's, or its ending's where that says nothing."""
    if prefix_of(path) != path or is_state(path):
        return CHECKPOINT
    return _by_suffix(suffix_by_content(path) or path.suffix.lower())


def _by_suffix(suffix: str) -> Format:
    return next((form for form in FORMATS if form.suffix and form.suffix == suffix), CHECKPOINT)


@contextmanager
def opened_weights(path: Path) -> Iterator[tuple[Format, Contents]]:
    """Open a weights file, whatever variables it holds.

    Raises:
        InputError: it is missing or damaged.
    """
    form = format_in(path)
    with form.opened(path) as contents:
        yield form, contents


def load_weights(path: Path | str, choice: Choice = THE_ONLY_ONE) -> WeightSet:
    """Read the weights of one stage, whichever the file holds.

    Args:
        path: the file, or a checkpoint's prefix, one of its files or its folder.
        choice: which set of weights, where the file holds several.

    Raises:
        InputError: the file is missing or damaged, its variables are not exactly those of one
            stage (optimiser slots and counters in a checkpoint are left out), it holds several
            sets, or a variable has another shape, is not float32 nor half precision or not finite.
    """
    path = Path(path)
    with opened_weights(path) as (form, contents):
        described = {variable.name: variable for variable in contents.variables}
        found = recognise_stage(described, form.naming, path, form.strangers, choice)
        rows = network_of(found.stage).variables
        taken = [described[found.names[row.key]] for row in rows]
        for row, variable in zip(rows, taken, strict=True):
            dtype = "float32" if variable.dtype in HALVES else variable.dtype
            expected = form.naming.shape_of(row)
            check_variable(path, variable.name, variable.shape, dtype, expected)
        arrays = {row.key: _read(path, form, contents, row, found.names[row.key]) for row in rows}
        ignored = (*found.ignored, *contents.extras)
        notes = (*contents.notes, *found.notes, *widening(each.dtype for each in taken))
        return WeightSet(found.stage, arrays, contents.step, str(path), ignored, notes)


def save_weights(path: Path | str, weights: WeightSet) -> None:
    """Write weights in the format that the ending of ``path`` means.

    A file is replaced in one step or kept as it was; see
    :func:`weight_conversion.bundle.write_bundle` for a checkpoint's two files.

    Raises:
        InputError: the weights are not exactly those of their stage, the format cannot be
            written here (``.onnx``), or the file cannot.
    """
    path = Path(path)
    form = format_of(path)
    check_arrays(weights.source, weights.stage, weights.arrays)
    if is_folder(path):
        raise InputError(path, "a folder", "a file's name or a checkpoint's prefix")
    if form.write is None:
        raise InputError(path, f"no writer for {form.name} here", "another ending")
    arrays = {
        form.naming.name_of(row): _in_layout(form.naming, row, weights.arrays[row.key])
        for row in network_of(weights.stage).variables
    }
    if form is CHECKPOINT:
        # Two files, which the writer replaces itself.
        with writing(path):
            form.write(path, arrays, weights.stage, weights.step)
        return
    with replacing(path) as temporary, writing(path):
        form.write(temporary, arrays, weights.stage, weights.step)


def step_kept(path: Path | str, step: int | None) -> int | None:
    """The step that a reader of ``path`` will find after weights of ``step`` were written to it.

    A checkpoint has its step in its name, which the caller chose; all others keep ``step``.
    """
    path = Path(path)
    return step_in_name(path) if format_of(path) is CHECKPOINT else step


def _read(
    path: Path, form: Format, contents: Contents, row: WeightRow, name: str
) -> NDArray[np.float32]:
    """The values of one variable in checkpoint layout, checked once more as they really are."""
    array = widened(contents.read(name))
    expected = form.naming.shape_of(row)
    check_variable(path, name, array.shape, dtype_text(array.dtype), expected)
    check_finite(path, name, array)
    if form.naming is Naming.TORCH and not row.layout.same:
        return row.layout.to_checkpoint(array)
    return np.require(array, requirements=["C", "W"])


def _in_layout(naming: Naming, row: WeightRow, array: NDArray[Any]) -> NDArray[Any]:
    """``array``, in checkpoint layout, as ``naming`` lays it out, contiguous."""
    if naming is Naming.TORCH and not row.layout.same:
        return row.layout.to_torch(array)
    return np.ascontiguousarray(array)
