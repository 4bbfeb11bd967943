"""Finding what runs the network: the built-in backends and a user's own ``module:factory``.

A backend is made by ``factory(stage, dtype, device)`` and has ``run(inputs, weights, listen)``; see
``Backend``. Importing this module imports neither framework; asking for a backend does.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from network.registry import network_of
from network.weights import STAGES
from parity.traces.networks import see_working_folder
from parity.traces.port_guard import PortGuard, importing, making
from weight_conversion.errors import InputError

BUILT_IN = ("torch", "tf", "metagraph", "onnx")
_EXTRAS = {
    "tf": ("tensorflow", "tf"), "metagraph": ("tensorflow", "tf"), "onnx": ("onnxruntime", "onnx")
}  # fmt: skip
"""What must be installed for a backend, and the extra that brings it."""


class Listen(Protocol):
    """What a backend calls once a tap, as soon as it is computed."""

    def __call__(self, tap: str, value: np.ndarray) -> None:
        """Take the activation, in the official layout (``docs/taps.md``, ``network.taps``)."""


class Backend(Protocol):
    """One stage of the network, runnable.

    Optional methods: ``losses(inputs, weights)``, ``gradients(inputs, weights)``, ``steps``, and
    ``watched_gradients(inputs, weights, watch)``, which returns losses and gradients and tells
    ``watch`` the value and the gradient at every tap (``torch_impl.tap_gradients.Watch``). The
    project's own also have ``by_vertices(inputs, weights, listen)``, see ``torch_impl.backend``.

    Optional attributes: ``unmatched``, a mapping of taps that the backend does not have to the
    reason why, and ``lacks``, the same of optional methods, where having one is not enough for it
    to work. A port may also say, for error lines, which tap it computed last where it did not
    call ``listen`` then (``heard``), and what computes a tap (``source_of(tap)``, a few words).
    Where ``listen`` has the attribute ``wants(tap) -> bool``, a backend may skip unwanted taps.
    """

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray | None:
        """Run the stage forward.

        Args:
            inputs: ``images`` (3, 224, 224, 3) float32 NHWC, BGR in [0, 1]; ``cameras`` (3, 5);
                ``mesh`` (V, 3), camera frame of view 0; ``template`` (``inputs.template.Template``)
                and ``hypotheses`` (``inputs.hypotheses.Hypotheses``).
            weights: variables by checkpoint key, in the checkpoint's layout.
            listen: called once a tap; None when nobody listens.

        Returns:
            The output mesh (V, 3), or None where a backend only has taps.
        """


Factory = Callable[[str, str, str], Backend]


def lacking(backend: Backend, method: str) -> str:
    """Why an optional method of a backend cannot be called; empty where it can."""
    if not callable(getattr(backend, method, None)):
        return f"has no {method}()"
    return str((getattr(backend, "lacks", None) or {}).get(method, ""))


def need(name: str, backend: Backend, methods: Iterable[str]) -> None:
    """Refuse a backend without these optional methods.

    Raises:
        InputError: it has not one of them, or one that it says does not work.
    """
    for method in methods:
        if why := lacking(backend, method):
            raise InputError(f"backend {name}", why, f"a backend that computes {method}")


@dataclass(frozen=True)
class BackendChoice:
    """A backend by name, with what the name alone does not say.

    ``metagraph`` is the path of the exported graph (``.meta``), for the backend of that name;
    ``factory`` makes a port that is at hand as a callable, see ``of_factory``.
    """

    name: str
    metagraph: Path | None = None
    factory: Factory | None = None

    @classmethod
    def of_factory(cls, factory: Factory) -> "BackendChoice":
        """A port that this process has already imported, or defined in a notebook."""
        module = getattr(factory, "__module__", type(factory).__module__)
        name = getattr(factory, "__qualname__", type(factory).__qualname__)
        return cls(f"{module}:{name}", factory=factory)

    def check(self) -> None:
        """Import a port's module; nothing is made yet.

        Raises:
            InputError: the backend is unknown, its framework is not installed, or its factory
                cannot be imported.
        """
        if self.name in _EXTRAS:
            _needs(*_EXTRAS[self.name])
        elif self.name not in BUILT_IN and self.factory is None:
            _imported(self.name)

    def check_network(self, stage: str) -> None:
        """Refuse a network that a backend of the project's own does not know.

        Raises:
            InputError: it is one of a user's own.
        """
        if self.name in BUILT_IN and stage not in STAGES:
            known = " and ".join(STAGES)
            raise InputError(
                f"backend {self.name}", f"it knows {known}, not {stage}", "module:factory"
            )

    def make(self, stage: str, dtype: str, device: str) -> Backend:
        """The backend itself, its framework imported.

        Raises:
            InputError: the backend is unknown, its framework is not installed, its factory cannot
                be imported or called, or it is one of the project's own and does not know the
                network.
        """
        self.check_network(stage)
        return self._factory()(stage, dtype, device)

    def versions(self, device: str = "cpu") -> dict[str, str]:
        """Versions that the backend's numbers depend on.

        Where a port of one's own runs on a GPU with PyTorch's products in TF32, ``TF32`` says which
        are: PyTorch's default, or what the port had set when this is asked. The project's own
        backends turn it off.
        """
        import h5py

        found = {
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "h5py": h5py.__version__,
        }
        module = {"torch": "torch_impl", "tf": "tf_reference", "metagraph": "tf_reference"}
        if self.name in module:
            backend = importlib.import_module(f"{module[self.name]}.backend")
            found |= backend.versions()
        elif self.name == "onnx":
            found |= importlib.import_module("torch_impl.onnx_backend").versions()
        elif device != "cpu" and "torch" in sys.modules:
            from torch_impl.precision import tf32_places

            if places := tf32_places():
                found["TF32"] = ", ".join(places)
        return found

    def _factory(self) -> Factory:
        if self.name == "torch":
            from torch_impl.backend import factory as torch_factory

            return torch_factory
        if self.name == "tf":
            self.check()
            from tf_reference.backend import factory as tf_factory

            return tf_factory
        if self.name == "metagraph":
            if self.metagraph is None:
                raise InputError("--metagraph", "not given", "the exported graph's .meta file")
            self.check()
            from tf_reference.backend import metagraph_factory

            return metagraph_factory(self.metagraph)
        if self.name == "onnx":
            self.check()
            from torch_impl.onnx_backend import factory as onnx_factory

            return onnx_factory
        return _guarded(self.name, self.factory or _imported(self.name))


def _needs(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(
            f"backend {extra}", f"{module} is not installed", f"pixel2mesh-parity[{extra}]"
        )


def _imported(name: str) -> Factory:
    """What ``module:factory`` names."""
    module, colon, attribute = name.partition(":")
    if not (colon and module and attribute):
        known = ", ".join(BUILT_IN)
        raise InputError("backend", repr(name), f"one of {known}, or module:factory")
    see_working_folder()
    with importing(name):
        found = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise InputError(f"backend {name}", f"a {type(found).__name__}", "a callable factory")
    return cast(Factory, found)


def _guarded(name: str, found: Factory) -> Factory:
    """The factory, whose failures are about the port and not about this program."""

    def factory(stage: str, dtype: str, device: str) -> Backend:
        with making(name):
            port = found(stage, dtype, device)
            runs = callable(getattr(port, "run", None))
        if not runs:
            raise InputError(f"backend {name}", "its factory's object has no run()", "a Backend")
        return PortGuard(name, port, network_of(stage).output)

    return factory
