"""What a port sets for its whole process, in force while its own code runs and no longer."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np

_TORCH = {"dtype": "torch.float32", "device": "cpu", "gradients": True, "deterministic": False}
"""PyTorch's settings as it starts with them."""


class ProcessSettings:
    """A port's working folder, NumPy's error handling, and PyTorch's defaults.

    A script may rely on what it set when it was imported, and nobody else must depend on it: the
    other side, the port's run of the other precision, the path of a report.
    """

    def __init__(self) -> None:
        self._changed: dict[str, Any] = {}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Run a block of the port's code with what the port has set, and remember what it sets."""
        before = _read()
        _write(self._changed)
        given = {**_TORCH, **before, **self._changed}
        try:
            yield
        finally:
            after = _read()
            self._changed |= {name: after[name] for name in after if after[name] != given[name]}
            _write({name: {**_TORCH, **before}[name] for name in self._changed})


@cache
def settings_of(module: str) -> ProcessSettings:  # noqa: ARG001 - the cache's key
    """Those of a port's module, from its import on."""
    return ProcessSettings()


def _read() -> dict[str, Any]:
    found: dict[str, Any] = {"numpy": np.geterr(), "folder": ""}
    with suppress(OSError):  # a folder that is gone
        found["folder"] = os.getcwd()  # noqa: PTH109 - a name to go back to
    if "torch" in sys.modules:
        import torch

        found["dtype"] = str(torch.get_default_dtype())
        found["device"] = str(torch.get_default_device())
        found["gradients"] = torch.is_grad_enabled()
        found["deterministic"] = torch.are_deterministic_algorithms_enabled()
    return found


def _write(settings: Mapping[str, Any]) -> None:
    if "numpy" in settings:
        np.seterr(**settings["numpy"])
    if settings.get("folder"):
        with suppress(OSError):
            os.chdir(settings["folder"])
    if not set(_TORCH) & set(settings):
        return
    import torch

    if "dtype" in settings:
        torch.set_default_dtype(getattr(torch, settings["dtype"].removeprefix("torch.")))
    if "device" in settings:
        # PyTorch's own default is none at all, which costs nothing.
        torch.set_default_device(None if settings["device"] == "cpu" else settings["device"])
    if "gradients" in settings:
        torch.set_grad_enabled(settings["gradients"])
    if "deterministic" in settings:
        torch.use_deterministic_algorithms(settings["deterministic"])
