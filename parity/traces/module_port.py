"""A ready ``Backend`` around any ``torch.nn.Module``: say which submodule computes which tap."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from network.registry import network_of
from parity.traces.backends import Listen
from parity.traces.module_gradients import NamedVariables, gradients_of, losses_at
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
        taps: for every tap the dotted name of the submodule whose output it is. A submodule that is
            called several times gives several outputs, which are joined along the first axis.
        call: runs the module on the harness's inputs (arrays, see ``Backend.run``) and returns the
            mesh (V, 3).
        load: puts the weights, by checkpoint key and in the checkpoint's layout, into the module.
        unmatched: taps that the port does not have, with the reason.
        variables: for gradients: by checkpoint key the name of the module's parameter, which has
            torch's layout (kernels out × in × height × width).
        mesh_as_tensor: whether ``call`` takes ``inputs["mesh"]`` as a tensor that it must not
            detach; without it the gradient at the input mesh is not known.

    Raises:
        InputError: a tap is unknown, neither mapped nor unmatched, or a submodule or parameter does
            not exist.
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
        official = {row.name for row in network_of(self.stage).taps}
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
            for row in network_of(self.stage).taps:
                parts = outputs.get(self.taps.get(row.name, ""), [])
                if parts:
                    listen(row.name, _official(torch.cat(parts), row.shape))
        return mesh.detach().cpu().numpy()

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
        for parameter in self.module.parameters():
            parameter.requires_grad_(True)
        terms, variables, mesh = self._terms(inputs, weights, watch)
        leaf = mesh if self.mesh_as_tensor else None
        found = gradients_of(self.stage, terms["total"], variables, leaf)
        return {name: float(value.detach()) for name, value in terms.items()}, found

    def _terms(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], watch: Any
    ) -> tuple[dict[str, "torch.Tensor"], dict[str, "torch.Tensor"], "torch.Tensor"]:
        """Loss terms, what decays by torch key, and the input mesh, of one forward pass."""
        import torch

        self.load(self.module, weights)
        some = next(self.module.parameters())

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
        with self._watching(watch) as meshes:
            self.call(self.module, given)
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
        meshes: dict[str, Any] = {}
        seen: dict[str, int] = {}
        shapes = {row.name: row.shape for row in network_of(self.stage).taps}

        def take(tap: str) -> Callable[..., None]:
            def hook(_module: Any, _inputs: Any, output: Any) -> None:
                if tap in network_of(self.stage).meshes:
                    meshes[tap] = output
                if watch is None:
                    return
                array = _official(output.detach(), shapes[tap])
                start = seen.get(tap, 0)
                seen[tap] = start + len(array)
                rows = slice(start, seen[tap])
                watch.value(tap, rows, array.copy())
                if output.requires_grad:
                    output.register_hook(
                        lambda g: watch.gradient(tap, rows, _official(g.detach(), shapes[tap]))
                    )

            return hook

        hooks = [
            self.module.get_submodule(name).register_forward_hook(take(tap))
            for tap, name in self.taps.items()
        ]
        try:
            yield meshes
        finally:
            for hook in hooks:
                hook.remove()

    def _check_variables(self) -> None:
        there = {name for name, _ in self.module.named_parameters()}
        for row in network_of(self.stage).variables:
            name = self.variables.get(row.key)
            if name not in there:
                found = "is not mapped" if name is None else f"no parameter {name!r}"
                raise InputError("variable map", f"{row.key}: {found}", "a parameter of the module")

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
    # Views may come one by one. No official map is as high as it has channels.
    if value.ndim == 4 and tuple(value.shape[1:]) == (shape[3], shape[1], shape[2]):
        value = value.permute(0, 2, 3, 1)
    return np.asarray(value.contiguous().cpu().numpy())
