"""PyTorch files: the state dict as ``torch.save`` writes it, read without running any code.

``model.load_state_dict(torch.load(path))`` takes the file as it is: stage and step are kept where
PyTorch itself keeps a state dict's versions, in its attribute ``_metadata``. The file is a ZIP
archive with a CRC-32 a member, which PyTorch writes and does not look at; it is checked here.
"""

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.errors import InputError
from weight_conversion.files import require_file
from weight_conversion.recognise import listing, shortened

_KIND = "a PyTorch state dict (.pt)"
_METADATA = "pixel2mesh-parity"
_CLASS = re.compile(r"GLOBAL ([\w.]+)")
_DEEPEST = 8
_ARCHIVE = b"PK\x03\x04"
_DOS_FOLDER = 0x10


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file: a state dict, or a training checkpoint that holds one or several.

    What dictionaries within dictionaries hold is named by its path, ``state_dict.cnn.…``; all that
    is no tensor is an extra.

    Raises:
        InputError: it is missing, damaged, holds no tensors, or would run code.
    """
    # Half a second that no other format should cost.
    import torch

    require_file(path, _KIND)
    checked = _check_archive(path)
    # An archive is checked: it need not be read a second time to be copied.
    loaded = _load(path, mapped=checked)
    if not isinstance(loaded, dict):
        raise InputError(path, f"a {type(loaded).__name__}", _KIND)
    tensors: dict[str, torch.Tensor] = {}
    others: dict[str, str] = {}
    _flatten(path, loaded, "", tensors, others)
    if not tensors:
        entries = [f"{shortened(name)} ({kind})" for name, kind in others.items()]
        raise InputError(path, f"no tensors: {listing(entries) or 'nothing at all'}", _KIND)

    def read(name: str) -> NDArray[Any]:
        tensor = tensors[name].detach()
        with parsing(path, f"{_KIND}, at {name}"):
            # NumPy has no bfloat16; float32 holds each of its values exactly.
            wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            return np.array(wide.numpy())

    variables = tuple(
        Variable(name, tuple(value.shape), _dtype(value)) for name, value in tensors.items()
    )
    steps = {step_from(step) for step in _steps(loaded)}
    yield Contents(
        variables,
        read,
        (path,),
        steps.pop() if len(steps) == 1 else None,
        checked,
        _extras(tensors, others),
    )


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a file of ``arrays`` by state-dict key."""
    import torch

    state: OrderedDict[str, torch.Tensor] = OrderedDict(
        (name, torch.from_numpy(np.require(array, requirements=["C", "W"])))
        for name, array in arrays.items()
    )
    own = {"stage": stage} | ({} if step is None else {"step": step})
    # Attributes of an ordered dictionary travel with its pickle.
    state.__dict__["_metadata"] = OrderedDict({"": {"version": 1}, _METADATA: own})
    # Given a name instead of a stream, torch would keep the temporary name inside the file.
    with path.open("wb") as stream:
        torch.save(state, stream)


def _load(path: Path, mapped: bool) -> Any:
    """What the file holds, with no class but torch's own for tensors.

    Args:
        path: the file.
        mapped: whether the tensors' values are the file's own pages, in place of copies.

    Raises:
        InputError: it is damaged or holds anything else, such as a whole module.
    """
    import torch

    try:
        with parsing(path, f"{_KIND} of tensors alone"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's newer protocols, which are read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError as error:
        found = _CLASS.search(str(error.__cause__))
        if found is None:
            raise
        raise InputError(
            path,
            f"holds a pickled {shortened(found[1])}, and unpickling it could run any code",
            "tensors alone, as torch.save(model.state_dict(), path) writes them",
        ) from error


def _flatten(
    path: Path,
    entries: dict[Any, Any],
    prefix: str,
    tensors: dict[str, Any],
    others: dict[str, str],
) -> None:
    """Sort what dictionaries within dictionaries hold into tensors and others, by its path.

    Raises:
        InputError: two paths are the same.
    """
    import torch

    for key, value in entries.items():
        name = f"{prefix}{key}"
        if isinstance(value, torch.Tensor):
            if name in tensors:
                raise InputError(path, f"two entries {name}", "each name once")
            tensors[name] = value
        elif isinstance(value, dict) and prefix.count(".") < _DEEPEST and _named(value):
            _flatten(path, value, f"{name}.", tensors, others)
        else:
            others[name] = type(value).__name__


def _named(entries: dict[Any, Any]) -> bool:
    return bool(entries) and all(isinstance(key, str) for key in entries)


def _dtype(tensor: Any) -> str:
    """A tensor's element type, or what it is instead of plain values."""
    import torch

    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return f"{tensor.dtype} in no plain tensor".removeprefix("torch.")
    return str(tensor.dtype).removeprefix("torch.")


def _steps(loaded: dict[Any, Any]) -> Iterator[object]:
    """The steps in the state dict's attribute ``_metadata``, or in those of the dicts in it."""
    for state in (loaded, *loaded.values()):
        metadata = getattr(state, "_metadata", None)
        own = metadata.get(_METADATA) if isinstance(metadata, dict) else None
        if isinstance(own, dict) and "step" in own:
            yield own["step"]


def _extras(tensors: dict[str, Any], others: dict[str, str]) -> tuple[str, ...]:
    """The entries that are no tensors, by the first part of their path where it holds none."""
    holding = {name.partition(".")[0] for name in tensors}
    tops = {name: name.partition(".")[0] for name in others}
    return tuple(dict.fromkeys(name if top in holding else top for name, top in tops.items()))


def _check_archive(path: Path) -> bool:
    """Hold every member of the archive against its CRC; False for the format before PyTorch 1.6.

    Raises:
        InputError: a member has not its CRC; or is compressed: torch stores, never compresses, and
            a few bytes could expand to any number of them; or is marked as a folder: torch then
            takes whatever its memory holds for the values.
    """
    with parsing(path, _KIND), path.open("rb") as stream:
        if stream.read(len(_ARCHIVE)) != _ARCHIVE:  # as torch tells the two apart
            return False
    with parsing(path, _KIND), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise InputError(path, "a TorchScript archive, which is a program", _KIND)
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise InputError(path, f"a compressed member {member.filename}", _KIND)
            if member.is_dir() or member.external_attr & _DOS_FOLDER:
                raise InputError(path, f"member {member.filename} marked as a folder", _KIND)
        damaged = archive.testzip()
    if damaged is not None:
        found = f"the checksum of member {damaged} does not match its data"
        raise InputError(path, found, "an undamaged file")
    return True
