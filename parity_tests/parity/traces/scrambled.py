"""Modules whose names say nothing, registered in another order than they run in."""

import random
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from parity.traces.module_port import ModulePort
from torch_impl.coarse import Coarse, CoarseGraph
from torch_impl.refine import Refine


class Scrambled(nn.Module):
    """Holds the leaves of a network under drawn names; the network itself is called as it is."""

    def __init__(self, network: nn.Module, seed: int) -> None:
        super().__init__()
        self.network = (network,)  # no submodule
        draw = random.Random(seed)
        self.names: dict[str, str] = {}
        leaves = [(name, each) for name, each in network.named_modules() if not [*each.children()]]
        draw.shuffle(leaves)
        numbers = draw.sample(range(10_000), 5 * len(leaves))
        for name, leaf in leaves:
            self.names[name] = f"m{numbers.pop()}"
            parameters = [*leaf._parameters.items()]
            draw.shuffle(parameters)
            for own, parameter in parameters:
                del leaf._parameters[own]
                drawn = f"p{numbers.pop()}"
                leaf._parameters[drawn] = parameter
                leaf.__dict__[own] = parameter  # its forward goes on under the old name
                self.names[f"{name}.{own}"] = f"{self.names[name]}.{drawn}"
            self.add_module(self.names[name], leaf)


class _Silent:
    """Has the network compute all that a listener would be told."""

    def tap(self, name: str, value: Tensor) -> None: ...


def call(module: nn.Module, given: Mapping[str, Tensor]) -> Tensor:
    """How a scrambled network of ``torch_impl`` is called."""
    (network,) = module.network  # type: ignore[union-attr,misc]
    feeds = (given["images"], given["cameras"], given["mesh"])
    if isinstance(network, Refine):
        local = tuple(given[f"hypotheses/supports/{k}"] for k in (0, 1))
        meshes = network(*feeds, given["hypotheses/offsets"], local, _Silent())
    else:
        supports = tuple((None, given[f"template/support_{n}_1"]) for n in (1, 2, 3))
        pairs = tuple(given[f"template/unpooling_{n}"] for n in (1, 2))
        meshes = network(*feeds, CoarseGraph(supports, pairs), _Silent())  # type: ignore[arg-type]
    found: Tensor = meshes[-1].after
    return found


def torch_port(stage: str, dtype: str, device: str) -> ModulePort:
    """A stage of ``torch_impl`` as a port under drawn names."""
    network = {"coarse": Coarse, "refine": Refine}[stage]().to(device, getattr(torch, dtype))
    return ModulePort(stage, Scrambled(network, 7), call, "torch_port.toml")
