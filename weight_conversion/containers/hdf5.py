"""HDF5: one dataset a variable, its path being the checkpoint key.

The slashes of a key make nested groups, so that ``file["scope/layer/W:0"]`` is the
kernel, just as in a trace's ``/gradients``. Stage and step are attributes of the root. Every
dataset has an attribute ``crc32c``, and the root ``crc32c_manifest``, as
``weight_conversion.containers.checksums`` says.

Files of the older format, h5py's default, have no checksums in the structures that lead to the
values. Another process reads such a file first (``weight_conversion.probe``), half a second that
our own files, which are of the newer one, do without.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from weight_conversion.attributes import attribute
from weight_conversion.containers.checksums import (
    MANIFEST,
    VARIABLE,
    Checksums,
    described,
    manifest_crc32c,
)
from weight_conversion.containers.contents import Contents, Variable, parsing, step_from
from weight_conversion.crc32c import array_crc32c
from weight_conversion.errors import InputError
from weight_conversion.files import require_file
from weight_conversion.probe import probe, try_out
from weight_conversion.weight_set import dtype_text

_KIND = "an HDF5 file of weights"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SEALED = 2


@contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: it is missing or damaged, or keeps values elsewhere (links to other files).
    """
    require_file(path, _KIND)
    if _unsealed(path):
        probe("weight_conversion.containers.hdf5", _KIND, path)
    with _opened(path) as contents:
        yield contents


@contextmanager
def _opened(path: Path) -> Iterator[Contents]:
    with parsing(path, _KIND):
        file = h5py.File(path, "r")
    with file:
        variables: list[Variable] = []
        nodes: dict[str, h5py.Dataset] = {}

        def visit(name: str | bytes, node: Any) -> None:
            # Links, soft and external, are not followed.
            if isinstance(node, h5py.Dataset):
                # h5py hands out names that are not UTF-8 as bytes.
                if not isinstance(name, str):
                    raise InputError(path, f"variable {name!r}", "names in UTF-8")
                if node.is_virtual or node.external:
                    raise InputError(path, f"variable {name} kept in another file", _KIND)
                # A dataset may have a type and no values at all, not even none of them.
                dtype = "empty" if node.shape is None else dtype_text(node.dtype)
                variables.append(Variable(name, tuple(node.shape or ()), dtype))
                nodes[name] = node

        with parsing(path, _KIND):
            file.visititems(visit)
            checksums = _checksums(path, file, variables, nodes)

        def read(name: str) -> NDArray[Any]:
            with parsing(path, f"{_KIND}, at {name}"):
                array = np.asarray(nodes[name][()])
            if checksums is not None:
                checksums.check(name, array)
            return array

        step = step_from(_plain(path, file, "step"))
        yield Contents(tuple(variables), read, (path,), step, checksums is not None)


def write(path: Path, arrays: Mapping[str, NDArray[Any]], stage: str, step: int | None) -> None:
    """Write a file of ``arrays`` by checkpoint key."""
    sums = {name: array_crc32c(array) for name, array in arrays.items()}
    attributes = {"stage": stage} | ({} if step is None else {"step": step})
    # HDF5's format of version 1.10 has checksums in the structures that lead to the values, so that
    # the library sees their damage before it follows them.
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        # Texts of variable length would lie in a heap of their own, which has none.
        file.attrs["stage"] = np.bytes_(stage)
        if step is not None:
            file.attrs["step"] = step
        file.attrs[MANIFEST] = manifest_crc32c(attributes, described(arrays), sums)
        for name, array in arrays.items():
            _dataset(file, name, array).attrs[VARIABLE] = sums[name]


def _dataset(file: h5py.File, name: str, array: NDArray[Any]) -> h5py.Dataset:
    """Write a variable, and the groups that it is in.

    By h5py's lower interface: for many small ones ``create_dataset`` takes twice the time.
    """
    array = np.asarray(array, order="C")
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)  # the same weights make the same bytes
    dtype = h5py.h5t.py_create(array.dtype, logical=True)
    space = h5py.h5s.create_simple(array.shape)
    made = h5py.h5d.create(file.id, name.encode(), dtype, space, dcpl=settings, lcpl=links)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
    return h5py.Dataset(made)


def _checksums(
    path: Path, file: h5py.File, variables: list[Variable], nodes: Mapping[str, h5py.Dataset]
) -> Checksums | None:
    """The file's checksums; None where it has none.

    Raises:
        InputError: they are no numbers, or not those of what the file says.
    """
    manifest = attribute(path, file, MANIFEST, heap=False)
    if manifest is None:
        return None
    attributes = {name: _plain(path, file, name) for name in ("stage", "step")}
    found = {name: attribute(path, node, VARIABLE, heap=False) for name, node in nodes.items()}
    sums = {name: int(value) for name, value in found.items() if value is not None}
    return Checksums.of(path, attributes, variables, sums, int(manifest))


def _plain(path: Path, file: h5py.File, name: str) -> Any:
    """A root attribute as a plain number or text; None where it is absent or anything else."""
    try:
        value = attribute(path, file, name, heap=False)
    except InputError:
        return None  # of a foreign tool
    plain = value.item() if isinstance(value, np.generic) else value
    return plain.decode(errors="replace") if isinstance(plain, bytes) else plain


def _unsealed(path: Path) -> bool:
    """Whether the file's superblock is of a version without checksums in its structures."""
    with parsing(path, _KIND), path.open("rb") as stream:
        head = stream.read(len(_SIGNATURE) + 1)
    # Elsewhere than at the start, after a block of another program's, it is not looked for.
    return not head.startswith(_SIGNATURE) or head[-1] < _SEALED


def _read_all(path: Path) -> None:
    with _opened(path) as contents:
        size = path.stat().st_size
        for variable in contents.variables:
            # More is declared than there is: it is not read by the program either.
            if math.prod(variable.shape) <= size:
                contents.read(variable.name)


if __name__ == "__main__":
    try_out(_read_all)
