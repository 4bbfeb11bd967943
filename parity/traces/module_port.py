"""A ready ``Backend`` around any ``torch.nn.Module``: a module, and how it is called."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from network.registry import network_of
from parity.traces.backends import Listen
from parity.traces.lent import WrittenError
from parity.traces.module_gradients import NamedVariables, gradients_of, losses_at
from parity.traces.module_joined import Joined, official
from parity.traces.module_outputs import Output, check_replicas, find_output, hooked
from parity.traces.module_variables import (
    check_variables,
    load_variables,
    parameter_of,
    turned,
)
from parity.traces.port_inputs import tensors_of
from parity.traces.port_map import RETURNED, PortMap, all_named, read_map
from parity.traces.probing import Probe, probe
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

Call = Callable[["nn.Module", Any], "torch.Tensor"]
Load = Callable[["nn.Module", Mapping[str, np.ndarray]], None]


class ModulePort:
    """One stage of a port, runnable by the harness; see ``parity.traces.backends.Backend``.

    Attributes:
        stage: "coarse" or "refine", or another network's name.
        module: the port, on its device and in its precision.
        call: runs the module and returns the mesh (V, 3). It is given the run's inputs as tensors
            of its own (see ``parity.traces.port_inputs``): ``images``, ``cameras``, ``mesh``, and
            by their names under ``/inputs`` the fixed arrays that the network's layers read.
        maps: which submodule is which tap and which parameter which variable: a file that
            ``p2m-parity propose`` has written, read when it is first needed, or a ``PortMap``.
        load: puts the weights, by checkpoint key and in the checkpoint's layout, into the module;
            by default they go into the parameters that the map names.

    Raises:
        InputError: the map is not one of this network and module, or the module is one whose
            submodules cannot be heard.
    """

    def __init__(
        self,
        stage: str,
        module: "nn.Module",
        call: Call,
        maps: PortMap | Path | str,
        load: Load | None = None,
    ) -> None:
        check_replicas(module)
        self.stage, self.module, self.call, self.maps = stage, module, call, maps
        self.load = load
        self.heard = ""
        if isinstance(maps, PortMap):
            self._outputs  # noqa: B018 - refuses a wrong one now

    @cached_property
    def map(self) -> PortMap:
        """The map, its file read."""
        if isinstance(self.maps, PortMap):
            return self.maps
        return read_map(Path(self.maps), self.stage)

    @cached_property
    def _outputs(self) -> dict[str, Output]:
        """By tap, the map held against network and module."""
        check_variables(self.stage, self.module, self.map.variables)
        network, found = network_of(self.stage), {}
        for tap, name in self.map.taps.items():
            if (tap, name) == (network.output, RETURNED):
                continue
            if tap not in network.rows:
                expected = f"a tap of the {self.stage} stage"
                raise InputError("tap map", f"unknown tap {tap!r}", expected)
            found[tap] = find_output(self.module, tap, name)
        named = {*self.map.taps, *self.map.unmatched}
        all_named("tap", [*network.rows], named, self.stage)
        if self.load is None:
            keys = [row.key for row in network.variables]
            all_named("variable", keys, {*self.map.variables, *self._bare}, self.stage)
        return found

    @property
    def _returns(self) -> bool:
        """Whether the network's output is what the call returns."""
        return self.map.taps.get(network_of(self.stage).output) == RETURNED

    @property
    def _bare(self) -> set[str]:
        """Variables that the port has no parameter for, with a reason in the map."""
        return {name.removeprefix("gradients/") for name in self.map.unmatched}

    @property
    def unmatched(self) -> Mapping[str, str]:
        """Taps that the port does not have, with the reason."""
        return self.map.unmatched

    @property
    def lacks(self) -> Mapping[str, str]:
        """Optional methods that cannot work, with the reason."""
        keys = (row.key for row in network_of(self.stage).variables)
        missing = [key for key in keys if key not in self.map.variables]
        return {"gradients": f"maps no parameter for {missing[0]}"} if missing else {}

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray:
        """Run the port forward, see ``Backend.run``."""
        import torch

        outputs = self._outputs
        self._load(weights)
        wants = getattr(listen, "wants", None)
        if listen is None:
            outputs = {}
        if wants is not None:
            outputs = {tap: output for tap, output in outputs.items() if wants(tap)}
        joined = Joined(self.stage, outputs, listen)
        with torch.no_grad(), hooked(outputs, joined.take):
            mesh = self._called(tensors_of(self.stage, inputs, self._like()), inputs)
        joined.finish()
        output = network_of(self.stage).row(network_of(self.stage).output)
        if listen is not None and self._returns and (wants is None or wants(output.name)):
            listen(output.name, official(mesh, output.shape))
        if not isinstance(mesh, torch.Tensor):
            raise InputError("call", f"returned a {type(mesh).__qualname__}", "the mesh, a tensor")
        return official(mesh, output.shape)

    def probed(self, inputs: Mapping[str, Any], seed: int) -> Probe:
        """Run the port with random parameters of a ``seed``, see ``parity.traces.probing``."""
        given = tensors_of(self.stage, inputs, self._like())
        return probe(self.stage, self.module, lambda module: self.call(module, given), seed)

    def source_of(self, tap: str) -> str:
        """What computes a tap: the submodule, the types of its parameters, its ``forward``."""
        if tap not in self._outputs:
            return "what the call returns"
        return self._outputs[tap].source()

    def losses(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> dict[str, float]:
        """The official losses at the port's own meshes, by their names in traces.

        Raises:
            InputError: a block's mesh is no tap of the port.
        """
        import torch

        with torch.no_grad():
            terms, _ = self._terms(inputs, weights, None)
        return {name: float(value) for name, value in terms.items()}

    def gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of their total by checkpoint key, and at the input ``mesh``.

        Raises:
            InputError: the port does not say which parameters the variables are.
        """
        return self.watched_gradients(inputs, weights, None)[1]

    def watched_gradients(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Any
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Both, of one pass; ``watch``, if any, is told value and gradient at every tap."""
        if lacks := self.lacks:
            raise InputError("--gradients", f"the port {lacks['gradients']}", "one for every one")
        import torch

        for _, parameter in self._parameters().values():
            parameter.requires_grad_(True)
        with torch.enable_grad():  # a port that only predicts may have switched gradients off
            terms, mesh = self._terms(inputs, weights, watch)
            found = gradients_of(self.stage, terms["total"], self._parameters(), mesh)
        return {name: float(value.detach()) for name, value in terms.items()}, found

    def _terms(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Any
    ) -> tuple[dict[str, "torch.Tensor"], "torch.Tensor"]:
        """Loss terms, and the input mesh, of one forward pass."""
        import torch

        self._outputs  # noqa: B018 - refuses a wrong map before anything is run
        self._load(weights)
        if next(self.module.parameters(), None) is None:
            raise InputError("module", "has no parameters", "those of the stage, for the losses")
        like = self._like()

        def tensor(array: np.ndarray) -> "torch.Tensor":
            kind = np.asarray(array).dtype.kind
            if kind != "f":
                return torch.tensor(np.ascontiguousarray(array), device=like.device)
            narrow = np.ascontiguousarray(array, np.float32)
            return torch.tensor(narrow, dtype=like.dtype, device=like.device)

        given = tensors_of(self.stage, inputs, like)
        mesh = given["mesh"].requires_grad_(torch.is_grad_enabled())
        with self._watching(watch) as (meshes, take):
            result = self._called(given, inputs)
            if self._returns:
                take(network_of(self.stage).output, result)
        named = self._parameters()
        rows = network_of(self.stage).variables
        decaying = {
            row.torch_key: turned(*named[row.torch_key])
            if row.torch_key in named
            else tensor(row.layout.to_torch(weights[row.key]))
            for row in rows
        }
        variables = NamedVariables(decaying)
        return losses_at(self.stage, inputs, mesh, meshes, variables, tensor), mesh

    def _like(self) -> "torch.Tensor":
        """Where the module is, and in which precision."""
        import torch

        return next(self.module.parameters(), torch.empty(0))

    def _load(self, weights: Mapping[str, np.ndarray]) -> None:
        if self.load is not None:
            self.load(self.module, weights)
        else:
            load_variables(self.stage, self.module, self.map.variables, weights)

    def _parameters(self) -> dict[str, tuple[str, "torch.Tensor"]]:
        """By torch key, the name that the map has for a variable, and the parameter."""
        rows = network_of(self.stage).variables_by_key
        return {
            rows[key].torch_key: (name, parameter_of(self.module, name))
            for key, name in self.map.variables.items()
        }

    def _called(
        self, given: dict[str, "torch.Tensor"], inputs: Mapping[str, Any]
    ) -> "torch.Tensor":
        """Call the module, and see that it leaves its inputs as they are.

        Raises:
            WrittenError: it does not.
        """
        found = self.call(self.module, given)
        for name, before in tensors_of(self.stage, inputs, self._like()).items():
            if not before.is_sparse and not _same(given[name].detach(), before):
                from parity.traces.torch_places import WriteFinder

                path = f"inputs[{name!r}]"
                again = tensors_of(self.stage, inputs, self._like())
                with WriteFinder({path: again[name]}):
                    self.call(self.module, again)
                raise WrittenError(path)
        return found

    @contextmanager
    def _watching(self, watch: Any) -> Iterator[tuple[dict[str, Any], Callable[..., None]]]:
        """The blocks' meshes by tap, and what takes a tap that no submodule gives.

        ``watch`` is told every tap, and its gradient later.
        """
        import torch

        meshes: dict[str, Any] = {}
        seen: dict[str, int] = {}
        shapes = {row.name: row.shape for row in network_of(self.stage).taps}

        def take(tap: str, output: "torch.Tensor") -> None:
            self.heard = tap
            if tap in network_of(self.stage).meshes:
                # A copy that gradients pass: what follows may work in place.
                meshes[tap] = output.clone()
            if watch is None:
                return
            array = official(output, shapes[tap])
            start = seen.get(tap, 0)
            seen[tap] = start + len(array)
            rows = slice(start, seen[tap])
            watch.value(tap, rows, array.copy())
            if output.requires_grad:
                output.register_hook(
                    lambda gradient: watch.gradient(tap, rows, official(gradient, shapes[tap]))
                )

        with hooked(self._outputs, take, differentiated=torch.is_grad_enabled()):
            yield meshes, take


def _same(a: "torch.Tensor", b: "torch.Tensor") -> bool:
    """Whether two tensors hold the same, NaN included."""
    import torch

    return torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
