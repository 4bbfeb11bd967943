"""Ways back that are wrong in one place, put into single layers of the torch implementation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from studies.faults.injection import Injection, layers, replaced, replacing

Back = Callable[..., Tensor]


class _Backwards(torch.autograd.Function):
    """Something whose way back is not its own: ``forward(x)`` and ``back(gradient, x, y)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Callable[[Tensor], Tensor], back: Back) -> Tensor:
        result = forward(x)
        ctx.save_for_backward(x, result)
        ctx.back = back
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, result = ctx.saved_tensors
        return ctx.back(gradients[0], x, result), None, None


def backwards(x: Tensor, forward: Callable[[Tensor], Tensor], back: Back) -> Tensor:
    return _Backwards.apply(x, forward, back)


def detached(layer: str) -> Injection:
    """Nothing passes from a layer to its input."""
    return layers(lambda _, old: lambda x, *rest, **named: old(x.detach(), *rest, **named), layer)


def scaled(layer: str, factor: float) -> Injection:
    """What a layer hands back is multiplied."""

    def make(_: Any, old: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def forward(x: Tensor, *rest: Any, **named: Any) -> Tensor:
            # A copy, which does not work in place on what the identity handed on.
            passed = backwards(x, lambda t: t.clone(), lambda g, *_: g * factor)
            return old(passed, *rest, **named)

        return forward

    return layers(make, layer)


def rectified_otherwise(layer: str, mask: Callable[[Tensor, Tensor], Tensor]) -> Injection:
    """A layer's ReLU lets back ``mask(gradient, output) * gradient``."""

    def relu(x: Tensor) -> Tensor:
        return backwards(x, lambda t: t.relu(), lambda g, _, y: g * mask(g, y).to(g.dtype))

    def make(_: Any, old: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def forward(*given: Any, **named: Any) -> Tensor:
            return relu(_before_relu(lambda: old(*given, **named)))

        return forward

    return layers(make, layer)


def _before_relu(compute: Callable[[], Tensor]) -> Tensor:
    """What a layer computes with its ReLU left out."""
    kept = {name: getattr(Tensor, name) for name in ("relu", "relu_")}
    try:
        for name in kept:
            setattr(Tensor, name, lambda self: self)
        return compute()
    finally:
        for name, function in kept.items():
            setattr(Tensor, name, function)


def maximum_to_all() -> Injection:
    """The maximum over views hands its gradient to every view."""

    def make(statistics: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def view_statistics(features: Tensor) -> Tensor:
            _, *rest = statistics(features).tensor_split(3, dim=1)
            top = backwards(
                features, lambda t: t.amax(dim=0), lambda g, x, _: g.expand_as(x).clone()
            )
            return torch.cat([top, *rest], dim=1)

        return view_statistics

    return replacing("projection.view_statistics", make)


def maximum_to_first() -> Injection:
    """Of equal views the first gets the maximum's gradient alone."""

    def back(gradient: Tensor, x: Tensor, _: Tensor) -> Tensor:
        first = torch.zeros_like(x).scatter_(0, x.argmax(dim=0, keepdim=True), 1.0)
        return first * gradient

    def make(statistics: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def view_statistics(features: Tensor) -> Tensor:
            _, *rest = statistics(features).tensor_split(3, dim=1)
            return torch.cat([backwards(features, lambda t: t.amax(dim=0), back), *rest], dim=1)

        return view_statistics

    return replacing("projection.view_statistics", make)


def pixels_detached() -> Injection:
    """No gradient passes from features through pixel coordinates."""
    return replacing("projection.pixels", lambda old: lambda *given: old(*given).detach())


def new_vertices_detached(channels: int) -> Injection:
    """New vertices of unpooled features of so many channels hand nothing back."""

    def make(old: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def unpool(x: Tensor, pairs: Tensor) -> Tensor:
            result = old(x, pairs)
            if x.shape[1] != channels:
                return result
            return torch.cat([result[: len(x)], result[len(x) :].detach()])

        return unpool

    return Injection(around=(lambda: replaced("graph.unpool", make),))
