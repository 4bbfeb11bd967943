"""Candidates that are not this process's torch: other processes, TensorFlow, weights from files."""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from network.registry import network_of
from parity.traces.backends import Factory
from studies.faults.injection import swapped
from weight_conversion.atomic import scratch_folder
from weight_conversion.formats import WeightSet, load_weights, save_weights

_MESH = "output mesh"


@dataclass(frozen=True)
class OtherProcess:
    """A backend that runs in a process of its own, under other environment variables.

    What libraries read only when they are loaded, such as the vector instructions they may use,
    cannot be changed in a process that has loaded them.
    """

    name: str
    stage: str
    dtype: str
    environment: Mapping[str, str]

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        """Run there, and tell the taps when it is over."""
        with scratch_folder() as folder:
            asked, answered = folder / "asked", folder / "answered"
            asked.write_bytes(pickle.dumps((self.name, self.stage, self.dtype, inputs, weights)))
            path = os.pathsep.join(filter(None, sys.path))
            environment = {**os.environ, "PYTHONPATH": path, **self.environment}
            subprocess.run(  # noqa: S603 - this very interpreter and module
                [sys.executable, "-m", __name__, str(asked), str(answered)],
                env=environment, check=True, stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip
            with np.load(answered) as found:
                taps = {name: found[name] for name in found.files}
        mesh = taps.pop(_MESH)
        for tap, value in taps.items():
            listen(tap, value)
        return mesh


def other_process(name: str, **environment: str) -> Factory:
    """A factory of ``OtherProcess`` for the built-in backend ``name``."""
    return lambda stage, dtype, device: OtherProcess(  # noqa: ARG005
        name, stage, dtype, environment
    )


@contextmanager
def as_many_vertices(backend: str, stage: str, inputs: Mapping[str, Any]) -> Iterator[None]:
    """Let the TensorFlow implementation take a probe's number of vertices.

    It computes any number, and checks that it is given the official one.
    """
    if backend != "tf":
        yield
        return
    from tf_reference import parameters

    counts = {**parameters.VERTICES, stage: len(inputs["mesh"])}
    with swapped(parameters, "VERTICES", lambda _: counts):
        yield


class TensorFlow:
    """The TensorFlow implementation, operation by operation, on any number of vertices."""

    def __init__(self, stage: str, dtype: str, device: str) -> None:
        from tf_reference.backend import factory

        self._stage, self._inner = stage, factory(stage, dtype, device)

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        """Run the stage forward."""
        with as_many_vertices("tf", self._stage, inputs):
            return self._inner.run(inputs, weights, listen)


class TensorFlowGraph:
    """The TensorFlow implementation traced into one graph and run as such."""

    def __init__(self, stage: str, dtype: str) -> None:
        self._stage, self._dtype = stage, dtype

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        """Trace, run, and tell the taps when it is over."""
        from tf_reference.coarse import coarse
        from tf_reference.parameters import network_inputs, network_weights
        from tf_reference.refine import refine
        from tf_reference.runtime import tf, tf_dtype

        dtype = tf_dtype(self._dtype)
        with as_many_vertices("tf", self._stage, inputs):
            prepared = network_inputs(self._stage, inputs, dtype)
        tensors = network_weights(self._stage, weights, dtype)
        network = {"coarse": coarse, "refine": refine}[self._stage]

        def traced() -> tuple[Any, dict[str, Any]]:
            taps: dict[str, Any] = {}
            return network(prepared, tensors, taps.__setitem__)[-1], taps

        mesh, taps = tf.function(traced)()
        for row in sorted(_rows(self._stage), key=lambda row: row.order):
            listen(row.name, taps[row.name].numpy())
        found: np.ndarray = mesh.numpy()
        return found


def tensorflow_graph() -> Factory:
    """A factory of ``TensorFlowGraph``."""
    return lambda stage, dtype, device: TensorFlowGraph(stage, dtype)  # noqa: ARG005


def _rows(stage: str) -> Any:

    return network_of(stage).taps


class ThroughFile:
    """The torch implementation on weights that went through a file of some format."""

    def __init__(self, suffix: str, stage: str, dtype: str, device: str) -> None:
        from torch_impl.backend import factory

        self._suffix, self._stage = suffix, stage
        self._inner = factory(stage, dtype, device)

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Any
    ) -> np.ndarray:
        """Write, read back, run."""
        with scratch_folder() as folder:
            path = Path(folder, f"weights{self._suffix}")
            save_weights(path, WeightSet(self._stage, dict(weights), 0, "probe"))
            read = load_weights(path).arrays
        return self._inner.run(inputs, read, listen)


def through_file(suffix: str) -> Factory:
    """A factory of ``ThroughFile``; the suffix as ``weight_conversion.formats`` knows it."""
    return lambda stage, dtype, device: ThroughFile(suffix, stage, dtype, device)


def missing(module: str) -> Callable[[], str]:
    """Why a variation that needs ``module`` cannot be tried here, or nothing."""

    def reason() -> str:
        return "" if importlib.util.find_spec(module) else f"{module} is not installed"

    return reason


def no_compiler() -> str:
    """Why torch cannot compile for the processor here, or nothing."""
    return "" if shutil.which("g++") or shutil.which("clang++") else "there is no C++ compiler"


def _main() -> None:
    """Answer a question of ``OtherProcess``, in files that it names."""
    asked, answered = Path(sys.argv[1]), Path(sys.argv[2])
    # Written a moment ago by the process that started this one.
    name, stage, dtype, inputs, weights = pickle.loads(asked.read_bytes())  # noqa: S301
    from parity.traces.backends import BackendChoice

    taps: dict[str, np.ndarray] = {}
    backend = BackendChoice(name).make(stage, dtype, "cpu")

    def listen(tap: str, value: np.ndarray) -> None:
        taps[tap] = np.array(value)

    with as_many_vertices(name, stage, inputs):
        mesh = backend.run(inputs, weights, listen)
    with answered.open("wb") as stream:
        np.savez(stream, **{_MESH: mesh}, **taps)  # type: ignore[arg-type]


if __name__ == "__main__":
    _main()
