"""Which format a file's content is in, whatever its name says.

PyTorch files alone go by ``.pt``, ``.pth``, ``.ckpt`` and ``.bin``.
"""

import zipfile
from pathlib import Path

from weight_conversion.files import is_file

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_PROTOCOLS = (2, 3, 4, 5)


def suffix_by_content(path: Path) -> str | None:
    """The ending that belongs to the content of ``path``; None where its content says nothing.

    ONNX graphs, which begin with nothing of their own, and the files of a checkpoint are known by
    their names alone.
    """
    if not is_file(path):
        return None
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
        size = path.stat().st_size
    except OSError:
        return None  # whoever opens it will say why
    if head.startswith(_HDF5):
        return ".h5"
    if head.startswith(_ZIP):
        return _suffix_of_archive(path)
    # A safetensors file begins with the size of its header, a JSON object.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
        return ".safetensors"
    if head.startswith(_PICKLE) and len(head) > 1 and head[1] in _PROTOCOLS:
        return ".pt"
    return None


def _suffix_of_archive(path: Path) -> str | None:
    """``.pt`` for an archive with PyTorch's pickle, ``.npz`` for one of arrays alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # damaged in one of the ways that zipfile has no common error for
        return None
    if any(name.endswith("/data.pkl") for name in names):
        return ".pt"
    return ".npz" if names and all(name.endswith(".npy") for name in names) else None
