"""Ways to run a stage on a GPU: as the project does, with cuDNN, and in less precision."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from torch_impl.precision import full_precision, tf32_products

Way = Callable[[], AbstractContextManager[Any]]


@contextmanager
def by_cudnn(products: Way) -> Iterator[None]:
    """The convolutions by cuDNN, which chooses the algorithm; it has to be deterministic."""
    with products():
        torch.backends.cudnn.enabled = True  # ``products`` puts it back
        yield


@contextmanager
def autocast(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Products in a narrow type, as PyTorch chooses them."""
    with full_precision(), torch.autocast(torch.device(device).type, dtype):
        yield


def ways(device: str) -> dict[str, Way]:
    """Ways to run: as the project does, with cuDNN, and three that are less precise."""
    found: dict[str, Way] = {
        "float32": full_precision,
        "float32, cuDNN": lambda: by_cudnn(full_precision),
        "TF32": lambda: by_cudnn(tf32_products),
        "bfloat16 autocast": lambda: autocast(device, torch.bfloat16),
    }
    if torch.device(device).type != "cpu":  # which takes forty times as long for a convolution
        found["float16 autocast"] = lambda: autocast(device, torch.float16)
    return found
