"""PyTorch files: the state dict as ``torch.save`` writes it, read without running any code.

``model.load_state_dict(torch.load(path))`` takes the file as it is: stage and step are kept where
PyTorch itself keeps a state dict's versions, in its attribute ``_metadata``. The file is a ZIP
archive with a CRC-32 a member, which PyTorch writes and does not look at; it is checked here.
"""

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

_KIND = "a PyTorch state dict (.pt)"
_METADATA = "pixel2mesh-parity"
_WRAPPER = "state_dict"
_PARALLEL = "module."
_ARCHIVE = b"PK\x03\x04"
_DOS_FOLDER = 0x10


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file: a state dict, or a training checkpoint that holds one under ``state_dict``.

    A prefix ``module.`` on every name, which ``DataParallel`` puts there, is taken off.

    Raises:
        InputError: it is missing, damaged, no state dict, or would run code.
    """
    # Half a second that no other format should cost.
    import torch

    require_file(path, _KIND)
    checked = _check_archive(path)
    with parsing(path, f"{_KIND} of tensors alone"):
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    extras: tuple[str, ...] = ()
    if isinstance(loaded, dict) and isinstance(loaded.get(_WRAPPER), dict):
        extras = tuple(str(name) for name in loaded if name != _WRAPPER)
        loaded = loaded[_WRAPPER]
    if not isinstance(loaded, dict):
        raise InputError(path, f"a {type(loaded).__name__}", _KIND)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InputError(path, f"entry {name!r} is a {type(value).__name__}", "tensors alone")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise InputError(path, f"entry {name} is no plain tensor", "dense values")
        tensors[name] = value.detach()
    if tensors and all(name.startswith(_PARALLEL) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL): value for name, value in tensors.items()}
    variables = tuple(
        Variable(name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in tensors.items()
    )

    def read(name: str) -> NDArray[Any]:
        with parsing(path, f"{_KIND}, at {name}"):
            return np.asarray(tensors[name].numpy())

    metadata = getattr(loaded, "_metadata", None)
    own = metadata.get(_METADATA) if isinstance(metadata, dict) else None
    step = own.get("step") if isinstance(own, dict) else None
    yield Contents(variables, read, (path,), step_from(step), checked, extras)


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
