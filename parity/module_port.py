"""A ready ``Backend`` around any ``torch.nn.Module``: say which submodule computes which tap."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.backends import Listen
from weight_conversion.errors import InputError
from weight_conversion.taps import TAPS

if TYPE_CHECKING:
    import torch
    from torch import nn

Call = Callable[["nn.Module", Mapping[str, Any]], "torch.Tensor"]
Load = Callable[["nn.Module", Mapping[str, np.ndarray]], None]


@dataclass(eq=False)
class ModulePort:
    """One stage of a port, runnable by the harness; see ``parity.backends.Backend``.

    Attributes:
        stage: "coarse" or "refine".
        module: the port, on its device and in its precision.
        taps: for every tap the dotted name of the submodule whose output it is. A submodule that is
            called several times gives several outputs, which are joined along the first axis.
        call: runs the module on the harness's inputs (arrays, see ``Backend.run``) and returns the
            mesh (V, 3).
        load: puts the weights, by checkpoint key and in the checkpoint's layout, into the module.
        unmatched: taps that the port does not have, with the reason.

    Raises:
        InputError: a tap is unknown, neither mapped nor unmatched, or a submodule does not exist.
    """

    stage: str
    module: "nn.Module"
    taps: Mapping[str, str]
    call: Call
    load: Load
    unmatched: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        official = {row.name for row in TAPS[self.stage]}
        there = {name for name, _ in self.module.named_modules()}
        for tap, name in self.taps.items():
            if tap not in official:
                raise InputError(
                    "tap map", f"unknown tap {tap!r}", f"a tap of the {self.stage} stage"
                )
            if name not in there:
                raise InputError("tap map", f"{tap}: no submodule {name!r}", "a dotted name")
        forgotten = [name for name in official if name not in {*self.taps, *self.unmatched}]
        if forgotten:
            some = ", ".join(sorted(forgotten)[:3])
            found = f"{len(forgotten)} taps neither mapped nor unmatched ({some}, …)"
            raise InputError("tap map", found, f"all {len(official)} of the {self.stage} stage")

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray:
        """Run the port forward, see ``Backend.run``."""
        import torch

        self.load(self.module, weights)
        with torch.no_grad(), self._recording() as outputs:
            mesh = self.call(self.module, inputs)
        if listen is not None:
            for row in TAPS[self.stage]:
                parts = outputs.get(self.taps.get(row.name, ""), [])
                if parts:
                    listen(row.name, _official(torch.cat(parts), row.shape))
        return mesh.detach().cpu().numpy()

    @contextmanager
    def _recording(self) -> Iterator[dict[str, list[Any]]]:
        outputs: dict[str, list[Any]] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                # A copy: what follows may work in place.
                outputs.setdefault(name, []).append(output.detach().clone())

            return hook

        hooks = [
            self.module.get_submodule(name).register_forward_hook(keep(name))
            for name in set(self.taps.values())
        ]
        try:
            yield outputs
        finally:
            for hook in hooks:
                hook.remove()


def _official(value: "torch.Tensor", shape: tuple[int, ...]) -> np.ndarray:
    """In the official layout: feature maps (N, H, W, C), where torch has (N, C, H, W).

    Nothing else is rearranged: a port that has another shape is told so by the comparison.
    """
    if value.ndim == 4 and tuple(value.shape) == (shape[0], shape[3], shape[1], shape[2]):
        value = value.permute(0, 2, 3, 1)
    return np.asarray(value.contiguous().cpu().numpy())
