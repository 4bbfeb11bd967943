"""Fixing the decisions of a run, so that two precisions can be compared in what is continuous.

A network of ReLUs and nearest neighbours decides: a value a rounding away from zero passes or does
not, one of two points as good as equally far is the nearest. Where float32 and float64 decide
differently their gradients differ by more than rounding. Pinned, a run takes another's decisions:
a ReLU multiplies by a given mask. The run's own decisions are still made, and where they differ
from the pinned ones it is measured how close they were.

Decisions have names: a ReLU the tap's that it computes, with a mask of the tap's shape and layout
(so a float64 trace's masks are its taps where they are positive), nearest neighbours those of
``losses.Losses.nearest``.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_RECTIFIERS = (torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


@dataclass(frozen=True)
class Flips:
    """How far a run's own decisions differ from the pinned ones under one name.

    Attributes:
        count: decisions that differ.
        total: decisions made.
        margin: how clear the clearest of those was: for a ReLU |x| by the greatest |x| of the
            layer, for a nearest neighbour the difference of the two distances by the points'
            greatest coordinate.
    """

    count: int
    total: int
    margin: float

    def __add__(self, other: "Flips") -> "Flips":
        margin = max(self.margin, other.margin)
        return Flips(self.count + other.count, self.total + other.total, margin)


class Rectifiers(TorchFunctionMode):
    """Watches the ReLUs of a network: records their decisions, or replaces those that are pinned.

    Attributes:
        recorded: masks by tap, in the tap's layout; empty unless asked for.
        flips: by tap, where the run would have decided otherwise than ``pins``.
    """

    def __init__(self, pins: Mapping[str, Tensor], record: bool) -> None:
        super().__init__()
        self.flips: dict[str, Flips] = {}
        self._pins = pins
        self._record = record
        self._seen: Counter[str] = Counter()
        self._parts: dict[str, list[Tensor]] = {}
        self._tap: str | None = None

    @property
    def recorded(self) -> dict[str, Tensor]:
        return {tap: torch.cat(parts) for tap, parts in self._parts.items()}

    def enter(self, tap: str) -> None:
        """Say whose ReLU comes next."""
        self._tap = tap

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func not in _RECTIFIERS or self._tap is None:
            return func(*args, **(kwargs or {}))
        mask = self._pinned(self._tap, args[0].detach())
        return func(*args) if mask is None else args[0] * mask

    def _pinned(self, tap: str, x: Tensor) -> Tensor | None:
        """The pinned mask for the values ``x`` that come next, None where there is none."""
        mask = x > 0
        # A tap's ReLU may be computed a few views or vertices at a time, in order. The CNN has its
        # channels first, its taps have them last.
        image = tap.startswith("cnn.")
        part = slice(self._seen[tap], self._seen[tap] + len(x))
        self._seen[tap] = part.stop
        if self._record:
            self._parts.setdefault(tap, []).append(mask.permute(0, 2, 3, 1) if image else mask)
        if tap not in self._pins:
            return None
        pinned = self._pins[tap][part]
        chosen = pinned.permute(0, 3, 1, 2) if image else pinned
        flipped, size = mask != chosen, x.abs()
        margin = float(size[flipped].max() / size.max()) if flipped.any() else 0.0
        flips = Flips(int(flipped.sum()), mask.numel(), margin)
        self.flips[tap] = self.flips.get(tap, Flips(0, 0, 0.0)) + flips
        return chosen


@contextmanager
def rectifying(
    network: nn.Module, pins: Mapping[str, Tensor], record: bool = False
) -> Iterator[Rectifiers]:
    """Watch a network's ReLUs inside the block; the network's modules carry their taps' names.

    Args:
        network: a stage; run it once inside the block.
        pins: masks by tap, boolean, in the tap's layout; other ReLUs decide for themselves.
        record: whether to keep the run's own masks.
    """
    rectifiers = Rectifiers(pins, record)
    hooks = [
        module.register_forward_pre_hook(lambda *_, tap=name: rectifiers.enter(tap))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    try:
        with rectifiers:
            yield rectifiers
    finally:
        for hook in hooks:
            hook.remove()


def neighbour_flips(
    own: Tensor, pinned: Tensor, own_square: Tensor, pinned_square: Tensor, scale: float
) -> Flips:
    """Compare nearest neighbours (N,) with pinned ones, given their squared distances (N,).

    ``scale`` is the points' greatest coordinate.
    """
    flipped = own != pinned
    margin = torch.zeros(())
    if flipped.any():
        margin = (pinned_square.sqrt() - own_square.sqrt())[flipped].max() / scale
    return Flips(int(flipped.sum()), len(own), float(margin))
