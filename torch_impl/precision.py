"""The arithmetic of float32 runs on a GPU: what products are computed in, and by which algorithm.

PyTorch lets a GPU's convolutions run in TF32 by default, whose factors have 10 bits of 23, and its
matrix products where a user asks for that. cuDNN may besides choose Winograd's algorithm or an FFT
for a convolution: their errors are none of a sum of rounded products, which the bounds of
``docs/verdict.md`` are derived for. PyTorch passes no wish on to cuDNN but that for determinism;
what can be asked for is to do without it (``torch.backends.cudnn.enabled``), for PyTorch's own
convolution: the patches of the image as rows, and one matrix product.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch


def full_precision() -> AbstractContextManager[None]:
    """A context in which float32 products are computed in float32, and convolutions as such.

    TF32 is off in convolutions and matrix products, cuDNN is not asked, and where something else
    asks it, it is to be deterministic and not to choose by measuring. On the CPU float32 is float32
    unless somebody asked for less (``torch.set_float32_matmul_precision``). All is put back at the
    end.
    """
    return _products(tf32=False)


def tf32_products() -> AbstractContextManager[None]:
    """The same context but for TF32, which is on wherever the device has it."""
    return _products(tf32=True)


def tf32_places() -> list[str]:
    """Which of "convolutions" and "matrix products" a device that can now computes in TF32."""
    backends: Any = torch.backends
    if _has_precisions():
        on = {
            "convolutions": backends.cudnn.conv.fp32_precision == "tf32",
            "matrix products": backends.cuda.matmul.fp32_precision == "tf32",
        }
    else:
        on = {
            "convolutions": backends.cudnn.allow_tf32,
            "matrix products": backends.cuda.matmul.allow_tf32,
        }
    return [place for place, found in on.items() if found]


def _has_precisions() -> bool:
    """Whether this PyTorch (2.9 on) has ``fp32_precision`` beside ``allow_tf32``."""
    return hasattr(torch.backends.cudnn, "conv")


def _settings(tf32: bool) -> list[tuple[Any, str, Any]]:
    """Owner, attribute and value of each setting, in the order in which they are made."""
    backends: Any = torch.backends
    found: list[tuple[Any, str, Any]] = [
        (backends.cudnn, "enabled", False),
        (backends.cudnn, "deterministic", True),
        (backends.cudnn, "benchmark", False),
        (backends.cudnn, "allow_tf32", tf32),
        (backends.cuda.matmul, "allow_tf32", tf32),
    ]
    if _has_precisions():
        # After the older names, which are set too: PyTorch refuses to read one that contradicts.
        precision = "tf32" if tf32 else "ieee"
        found.append((backends.cudnn.conv, "fp32_precision", precision))
        found.append((backends.cuda.matmul, "fp32_precision", precision))
        # What ``torch.set_float32_matmul_precision`` sets for the CPU.
        found.append((backends.mkldnn.matmul, "fp32_precision", "ieee"))
        found.append((backends.mkldnn.conv, "fp32_precision", "ieee"))
    return found


@contextmanager
def _products(tf32: bool) -> Iterator[None]:
    settings = _settings(tf32)
    before = []
    whole = _whole()
    for owner, name, _ in settings:
        # Not readable where a user has set the other name to something else.
        with suppress(RuntimeError):
            before.append((owner, name, getattr(owner, name)))
    try:
        for owner, name, value in settings:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        # The older names among them say less than this one does.
        if whole and _whole() != whole:
            torch.set_float32_matmul_precision(whole)


def _whole() -> str:
    """What ``torch.set_float32_matmul_precision`` was last asked for; "" where it is unreadable.

    PyTorch refuses to say where the settings that it stands for contradict each other.
    """
    with suppress(RuntimeError):
        return torch.get_float32_matmul_precision()
    return ""
