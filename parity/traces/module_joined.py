"""The outputs of a submodule's calls put together, in the official layout."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from network.registry import network_of
from parity.traces.backends import Listen
from parity.traces.module_outputs import Output
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch


class Joined:
    """Tells ``listen`` of a tap as soon as the last of its parts has come."""

    def __init__(self, stage: str, outputs: Mapping[str, Output], listen: Listen | None) -> None:
        self._outputs, self._listen = outputs, listen
        self._shapes = {row.name: row.shape for row in network_of(stage).taps}
        self._parts: dict[str, list[torch.Tensor]] = {}
        self._done: set[str] = set()

    def take(self, tap: str, part: "torch.Tensor") -> None:
        """Take the output of one call of a tap's submodule."""
        rows = next(iter(self._shapes[tap]), 1)
        if tap in self._done:
            raise InputError(
                f"tap {tap}",
                f"submodule {self._outputs[tap].name!r} was called again after its {rows} rows",
                "a submodule for each tap alone: put an identity with a name behind each call",
            )
        parts = self._parts.setdefault(tap, [])
        # A copy: what follows may work in place.
        parts.append(part.detach().clone())
        if sum(len(each) if each.ndim else 1 for each in parts) == rows:
            self._tell(tap)

    def finish(self) -> None:
        """Tell of what has another shape than the official one; refuse what never came."""
        for tap in [*self._parts]:
            self._tell(tap)
        silent = [tap for tap in self._outputs if tap not in self._done]
        if silent:
            more = f", nor those of {len(silent) - 1} taps more" if len(silent) > 1 else ""
            raise InputError(
                f"tap {silent[0]}",
                f"submodule {self._outputs[silent[0]].name!r} was never called{more}",
                "submodules that the run calls, and not their forward() alone",
            )

    def _tell(self, tap: str) -> None:
        import torch

        parts = self._parts.pop(tap)
        self._done.add(tap)
        try:
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
        except RuntimeError as error:
            shapes = ", ".join(sorted({str(tuple(each.shape)) for each in parts}))
            raise InputError(
                f"tap {tap}",
                f"submodule {self._outputs[tap].name!r} was called {len(parts)} times and gave "
                f"{shapes}",
                "parts that can be joined along the first axis",
            ) from error
        if self._listen is not None:
            self._listen(tap, official(whole, self._shapes[tap]))


def official(value: "torch.Tensor", shape: tuple[int, ...]) -> np.ndarray:
    """In the official layout: feature maps (N, H, W, C), where torch has (N, C, H, W).

    Nothing else is rearranged: a port that has another shape is told so by the comparison.
    """
    from torch_impl.loading import as_array

    # Views may come one by one. No official map is as high as it has channels.
    turned = (shape[3], shape[1], shape[2]) if len(shape) == 4 else None
    if value.ndim == 4 and tuple(value.shape[1:]) == turned:
        value = value.permute(0, 2, 3, 1)
    return as_array(value)
