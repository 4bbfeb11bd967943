"""One run of a module with random parameters, all that its submodules gave and read kept.

Random parameters tell layers apart: no other layer, and no other parameter in a layer's place,
gives the same numbers by chance. They also stand in for a checkpoint, which cannot be loaded before
it is known what belongs where.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from network.registry import network_of
from parity.traces.module_joined import official
from parity.traces.port_map import RETURNED

if TYPE_CHECKING:
    import torch
    from torch import nn

VERTICES = slice(0, 16)
"""Of a network that mixes nothing between vertices, so many are enough."""
LIFT = 3.0
_SAMPLED = 64
Print = tuple[tuple[int, ...], bytes]


@dataclass(eq=False)
class Event:
    """What a submodule gave.

    Attributes:
        name: the submodule, with an index where it gave several.
        order: how many calls of submodules had ended before its last one.
        parameters: names of its parameters and buffers, those of its submodules too.
        parts: what each call gave, its first rows where vertices do not mix.
        rows: of all calls together, and the rest of the shape.
        reads, gives: fingerprints of the tensors that calls were given, and gave.
    """

    name: str
    order: int = 0
    parameters: tuple[str, ...] = ()
    parts: list["torch.Tensor"] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    tail: tuple[int, ...] = ()
    reads: set[Print] = field(default_factory=set)
    gives: set[Print] = field(default_factory=set)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether all calls together gave a tap of this shape, in the official layout or NCHW."""
        turned = (shape[3], shape[1], shape[2]) if len(shape) == 4 else None
        return bool(shape) and sum(self.rows) == shape[0] and self.tail in (shape[1:], turned)

    def value(self, shape: tuple[int, ...]) -> np.ndarray:
        """The tap, float64, in the official layout."""
        import torch

        return official(torch.cat(self.parts), shape).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Probe:
    """A run.

    Attributes:
        events: in the order in which the submodules' last calls ended.
        parameters: by name, in float64; buffers too.
        buffers: the names of those that are no parameters, so that no optimiser trains them.
        owners: of every call of a module with parameters of its own, in order: when it ended, their
            names, and what it read.
    """

    events: tuple[Event, ...]
    parameters: Mapping[str, np.ndarray]
    buffers: frozenset[str]
    owners: tuple[tuple[int, tuple[str, ...], frozenset[Print]], ...]

    def owner(self, event: Event) -> tuple[tuple[str, ...], frozenset[Print]]:
        """The parameters that an event was computed with, as far as can be told, and what their
        module read: its own, or those of the module with parameters that ended last before it.
        """  # noqa: D205 - one sentence
        if event.parameters:
            return event.parameters, frozenset(event.reads)
        before = [each for each in self.owners if each[0] <= event.order]
        return before[-1][1:] if before else ((), frozenset())


def probe(
    stage: str, module: "nn.Module", call: Callable[["nn.Module"], "torch.Tensor"], seed: int
) -> Probe:
    """Run a module, whose parameters are drawn anew.

    Args:
        stage: the network's name.
        module: whose parameters change.
        call: runs it and returns its result.
        seed: of the draw.
    """
    import torch

    draw(module, seed)
    rows_kept = _rows_kept(stage)
    names = {id(each): name for name, each in module.named_modules()}
    events: dict[str, Event] = {}
    owners: list[tuple[int, tuple[str, ...], frozenset[Print]]] = []
    ended = 0

    def keep(name: str, parameters: tuple[str, ...], value: Any, reads: set[Print]) -> None:
        for index, tensor in _tensors(value):
            event = events.setdefault(name + index, Event(name + index, parameters=parameters))
            event.order, event.tail = ended, tuple(tensor.shape[1:])
            kept = max(rows_kept.get(event.tail, 1 << 62) - sum(event.rows), 0)
            event.parts.append(tensor.detach()[:kept].clone())
            event.rows.append(len(tensor))
            event.reads |= reads
            event.gives.add(fingerprint(tensor))

    def hook(each: "nn.Module", given: Any, named: Any, value: Any) -> None:
        nonlocal ended
        ended += 1
        name = names[id(each)]
        if not name:
            return
        reads = {fingerprint(tensor) for _, tensor in _tensors((given, named))}
        prefix = f"{name}."
        if own := tuple(prefix + key for key in held(each, recurse=False)):
            owners.append((ended, own, frozenset(reads)))
        keep(name, tuple(prefix + key for key in held(each)), value, reads)

    hooks = [
        each.register_forward_hook(hook, with_kwargs=True) for each in module.modules()
    ]  # fmt: skip
    try:
        with torch.no_grad():
            result = call(module)
    finally:
        for each in hooks:
            each.remove()
    ended += 1
    keep(RETURNED, (), result, set())
    parameters = {name: each.detach().double().cpu().numpy() for name, each in held(module).items()}
    found = [
        each for each in events.values() if each.parts and each.parts[0].dtype.is_floating_point
    ]
    trained = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return Probe(
        tuple(sorted(found, key=lambda each: each.order)), parameters,
        frozenset(parameters) - trained, tuple(owners),
    )  # fmt: skip


def held(module: "nn.Module", recurse: bool = True) -> dict[str, "torch.Tensor"]:
    """What may hold a variable, by name: parameters, and buffers such as a running mean.

    One that has several names, as where two layers share their weights, is under each of them.
    """
    parameters = module.named_parameters(recurse=recurse, remove_duplicate=False)
    buffers = module.named_buffers(recurse=recurse, remove_duplicate=False)
    numbers = {
        name: each for name, each in buffers if each.is_floating_point() and not each.is_sparse
    }
    return {**dict(parameters), **numbers}


def draw(module: "nn.Module", seed: int) -> None:
    """Draw parameters: matrices and kernels that keep the size of what passes, small biases.

    Where few numbers share a bias it is lifted, so that a ReLU behind it does not clip all of them.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            shape = tuple(parameter.shape)
            fan = int(np.prod(shape[1:])) if len(shape) > 2 else max(shape, default=1)
            scale = 0.1 if len(shape) < 2 else (2.0 if len(shape) > 2 else 1.0) ** 0.5 / fan**0.5
            drawn = torch.randn(shape, generator=random, dtype=torch.float32) * scale
            parameter.copy_(drawn + LIFT / len(drawn) if drawn.ndim == 1 else drawn)


def fingerprint(tensor: "torch.Tensor") -> Print:
    """Shape and some elements: the same for the same tensor, hardly for another."""
    flat = (
        tensor.detach().reshape(-1) if not tensor.is_sparse else tensor.detach().coalesce().values()
    )
    step = max(1, len(flat) // _SAMPLED)
    return tuple(tensor.shape), flat[::step][:_SAMPLED].cpu().double().numpy().tobytes()


def _tensors(value: Any, index: str = "") -> Iterator[tuple[str, "torch.Tensor"]]:
    import torch

    if isinstance(value, torch.Tensor):
        if value.ndim:
            yield index, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{index}[{key!r}]")
    elif isinstance(value, (tuple, list)):
        for number, each in enumerate(value):
            yield from _tensors(each, f"{index}[{number}]")


def _rows_kept(stage: str) -> dict[tuple[int, ...], int]:
    """How many rows are kept of what has a shape's last axes, where vertices do not mix."""
    network = network_of(stage)
    if not network.vertexwise:
        return {}
    maps, found = {row.shape[1:] for row in network.maps}, dict[tuple[int, ...], int]()
    for row in network.taps:
        if not row.is_map and row.shape[1:] not in maps:
            kept = VERTICES.stop * (row.rows_per_vertex or 1)
            found[row.shape[1:]] = max(kept, found.get(row.shape[1:], 0))
    return found
