"""A ready ``Backend`` around any ``torch.nn.Module``: say which submodule computes which tap."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from network.registry import network_of
from parity.traces.backends import Listen
from parity.traces.lent import WrittenError
from parity.traces.module_gradients import NamedVariables, gradients_of, losses_at
from parity.traces.module_outputs import Output, check_replicas, find_output, hooked
from weight_conversion.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

Call = Callable[["nn.Module", Mapping[str, Any]], "torch.Tensor"]
Load = Callable[["nn.Module", Mapping[str, np.ndarray]], None]


@dataclass(eq=False)
class ModulePort:
    """One stage of a port, runnable by the harness; see ``parity.traces.backends.Backend``.

    Attributes:
        stage: "coarse" or "refine".
        module: the port, on its device and in its precision.
        taps: for every tap the dotted name of the submodule whose output it is; where that is a
            tuple, a list or a mapping, with the index of the tensor: ``"graph.x[0]"``,
            ``"graph.x['points']"``. A submodule that is called several times, such as once a view,
            gives several outputs, which are joined along the first axis.
        call: runs the module on the harness's inputs (arrays, see ``Backend.run``) and returns the
            mesh (V, 3).
        load: puts the weights, by checkpoint key and in the checkpoint's layout, into the module.
        unmatched: taps that the port does not have, with the reason.
        variables: for gradients: by checkpoint key the name of the module's parameter, which has
            torch's layout (kernels out × in × height × width).
        mesh_as_tensor: whether ``call`` takes ``inputs["mesh"]`` as a tensor that it must not
            detach; without it the gradient at the input mesh is not known.

    Raises:
        InputError: a tap is unknown, neither mapped nor unmatched, a submodule or parameter does
            not exist, or the module is one whose submodules cannot be heard.
    """

    stage: str
    module: "nn.Module"
    taps: Mapping[str, str]
    call: Call
    load: Load
    unmatched: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    mesh_as_tensor: bool = False

    def __post_init__(self) -> None:
        if self.variables:
            self._check_variables()
            if not self.mesh_as_tensor:
                why = "the port takes its input mesh as an array, which cannot be differentiated"
                self.unmatched = {**self.unmatched, "gradients/mesh": why}
        check_replicas(self.module)
        self.heard = ""
        self._outputs: dict[str, Output] = {}
        official = {row.name for row in network_of(self.stage).taps}
        for tap, name in self.taps.items():
            if tap not in official:
                raise InputError(
                    "tap map", f"unknown tap {tap!r}", f"a tap of the {self.stage} stage"
                )
            self._outputs[tap] = find_output(self.module, tap, name)
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

        from torch_impl.loading import as_array

        self.load(self.module, weights)
        wants = getattr(listen, "wants", None)
        outputs = {} if listen is None else self._outputs
        if wants is not None:
            outputs = {tap: output for tap, output in outputs.items() if wants(tap)}
        joined = _Joined(self.stage, outputs, listen)
        with torch.no_grad(), hooked(outputs, joined.take):
            mesh = self.call(self.module, inputs)
        joined.finish()
        if not isinstance(mesh, torch.Tensor):
            raise InputError("call", f"returned a {type(mesh).__qualname__}", "the mesh, a tensor")
        return as_array(mesh)

    def source_of(self, tap: str) -> str:
        """What computes a tap: the submodule, the types of its parameters, its ``forward``."""
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
            terms, _, _ = self._terms(inputs, weights, None)
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
        if not self.variables:
            raise InputError(
                "--gradients", "a port without variables", "ModulePort(…, variables={key: name})"
            )
        import torch

        for parameter in self.module.parameters():
            parameter.requires_grad_(True)
        with torch.enable_grad():  # a port that only predicts may have switched gradients off
            terms, variables, mesh = self._terms(inputs, weights, watch)
            leaf = mesh if self.mesh_as_tensor else None
            found = gradients_of(self.stage, terms["total"], variables, leaf)
        return {name: float(value.detach()) for name, value in terms.items()}, found

    def _terms(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Any
    ) -> tuple[dict[str, "torch.Tensor"], dict[str, "torch.Tensor"], "torch.Tensor"]:
        """Loss terms, what decays by torch key, and the input mesh, of one forward pass."""
        import torch

        from parity.traces.torch_places import WriteFinder

        self.load(self.module, weights)
        some = next(self.module.parameters(), None)
        if some is None:
            raise InputError("module", "has no parameters", "those of the stage, for the losses")

        def tensor(array: np.ndarray) -> "torch.Tensor":
            kind = np.asarray(array).dtype.kind
            if kind != "f":
                return torch.tensor(np.ascontiguousarray(array), device=some.device)
            narrow = np.ascontiguousarray(array, np.float32)
            return torch.tensor(narrow, dtype=some.dtype, device=some.device)

        mesh = tensor(inputs["mesh"]).requires_grad_(
            self.mesh_as_tensor and torch.is_grad_enabled()
        )
        given = {**inputs, "mesh": mesh} if self.mesh_as_tensor else inputs
        before = mesh.detach().clone()
        with self._watching(watch) as meshes:
            self.call(self.module, given)
        if not torch.equal(mesh, before):
            path = "inputs['mesh']"
            with WriteFinder({path: mesh}):
                self.call(self.module, given)
            raise WrittenError(path)
        named = dict(self.module.named_parameters())
        variables: dict[str, torch.Tensor] = {
            row.torch_key: named[self.variables[row.key]]
            if self.variables
            else tensor(weights[row.key])
            for row in network_of(self.stage).variables
        }
        terms = losses_at(self.stage, inputs, mesh, meshes, NamedVariables(variables), tensor)
        return terms, variables, mesh

    @contextmanager
    def _watching(self, watch: Any) -> Iterator[dict[str, Any]]:
        """The blocks' meshes by tap; ``watch`` is told every tap, and its gradient later."""
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
            array = _official(output, shapes[tap])
            start = seen.get(tap, 0)
            seen[tap] = start + len(array)
            rows = slice(start, seen[tap])
            watch.value(tap, rows, array.copy())
            if output.requires_grad:
                output.register_hook(
                    lambda gradient: watch.gradient(tap, rows, _official(gradient, shapes[tap]))
                )

        with hooked(self._outputs, take, differentiated=torch.is_grad_enabled()):
            yield meshes

    def _check_variables(self) -> None:
        there = {name for name, _ in self.module.named_parameters()}
        for row in network_of(self.stage).variables:
            name = self.variables.get(row.key)
            if name not in there:
                found = "is not mapped" if name is None else f"no parameter {name!r}"
                raise InputError("variable map", f"{row.key}: {found}", "a parameter of the module")


class _Joined:
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
            self._listen(tap, _official(whole, self._shapes[tap]))


def _official(value: "torch.Tensor", shape: tuple[int, ...]) -> np.ndarray:
    """In the official layout: feature maps (N, H, W, C), where torch has (N, C, H, W).

    Nothing else is rearranged: a port that has another shape is told so by the comparison.
    """
    from torch_impl.loading import as_array

    # Views may come one by one. No official map is as high as it has channels.
    turned = (shape[3], shape[1], shape[2]) if len(shape) == 4 else None
    if value.ndim == 4 and tuple(value.shape[1:]) == turned:
        value = value.permute(0, 2, 3, 1)
    return as_array(value)
