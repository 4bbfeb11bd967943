"""The exported network on onnxruntime as a backend: NumPy in the checkpoint's layout in and out."""

import importlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inputs.constants import constants_of
from network.taps import TAPS
from torch_impl.onnx_export import OUTPUT, build_model, require
from weight_conversion.errors import InputError

Listen = Callable[[str, np.ndarray], None]
PACKAGES = ("onnx", "onnxruntime")
TYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""NumPy's types by onnxruntime's names, as far as the graphs' inputs have them."""
THREADS = 2
ERRORS_ONLY = 3
"""onnxruntime's severity from which it writes to stderr."""


def factory(stage: str, dtype: str = "float32", device: str = "cpu") -> "OnnxBackend":
    """A backend for one stage.

    Args:
        stage: "coarse" or "refine".
        dtype: "float32", the only one.
        device: "cpu", the only one.

    Raises:
        InputError: another dtype or device, or onnx or onnxruntime is not installed.
    """
    for package in PACKAGES:
        require(package, "backend onnx")
    if dtype != "float32":
        expected = "float32: onnxruntime has no float64 convolution for the CPU"
        raise InputError("--dtype", f"{dtype} with the backend onnx", expected)
    if device != "cpu":
        expected = "cpu: the extra onnx brings onnxruntime for the CPU"
        raise InputError("--device", f"{device!r} with the backend onnx", expected)
    return OnnxBackend(stage)


@dataclass(frozen=True)
class _Loaded:
    """A session and what it was made for, kept for further runs of the same."""

    weights: Mapping[str, np.ndarray]
    values: tuple[str, ...]
    session: Any


class OnnxBackend:
    """Runs one stage's graph, pruned to what is asked for, on the CPU in float32."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._loaded: _Loaded | None = None

    def run(
        self, inputs: Mapping[str, Any], weights: Mapping[str, np.ndarray], listen: Listen | None
    ) -> np.ndarray:
        """Run the stage forward.

        onnxruntime hands out nothing before its run is over; the listener is then called tap by
        tap, and each tap's memory is given back before the next.

        Args:
            inputs: ``images``, ``cameras``, ``mesh``, ``template`` (coarse) or ``hypotheses``
                (refine).
            weights: checkpoint variables by key, in the checkpoint's layout.
            listen: called once a tap with its name and value; its attribute ``wants(tap)``, where
                it has one, selects taps.

        Returns:
            The output mesh (2466, 3), camera frame of view 0.

        Raises:
            InputError: the weights are not those of the stage, or an input has another shape.
        """
        values = self._values(listen)
        arrays = stage_inputs(self.stage, inputs)
        session = self._session(weights, values)
        feeds = {value.name: _fed(value, arrays[value.name]) for value in session.get_inputs()}
        mesh, *rest = session.run_with_ort_values([OUTPUT, *values], feeds)
        if listen is not None:
            pending = deque(rest)
            del rest
            for name in values:
                listen(name, pending.popleft().numpy())
        return np.asarray(mesh.numpy())

    def _values(self, listen: Listen | None) -> tuple[str, ...]:
        """The taps that ``listen`` takes, in the order in which they are passed on."""
        if listen is None:
            return ()
        wants: Callable[[str], bool] = getattr(listen, "wants", lambda _: True)
        return tuple(row.name for row in TAPS[self.stage] if wants(row.name))

    def _session(self, weights: Mapping[str, np.ndarray], values: tuple[str, ...]) -> Any:
        kept = self._loaded
        # Weights are the same if they are the same mapping: comparing takes as long as loading.
        if kept is None or kept.weights is not weights or kept.values != values:
            self._loaded = None
            model = build_model(self.stage, weights, values=values)
            # An arena saves a fifth of the time, but grows with each run that hands out taps: the
            # refine stage's third would take 3.6 GB in place of 2.9.
            session = _open_session(model.SerializeToString(), arena=not values)
            kept = self._loaded = _Loaded(weights, values, session)
        return kept.session


def stage_inputs(stage: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays that the graph of a stage reads, by the names of its inputs."""
    given = {name: inputs[name] for name in ("images", "cameras", "mesh")}
    return {**given, **constants_of(stage, inputs["template"], inputs["hypotheses"])}


def versions() -> dict[str, str]:
    """Versions that the numbers of this backend depend on.

    Raises:
        InputError: onnx or onnxruntime is not installed.
    """
    for package in PACKAGES:
        require(package, "backend onnx")
    return {package: importlib.import_module(package).__version__ for package in PACKAGES}


def _open_session(model: bytes, arena: bool) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = min(THREADS, os.cpu_count() or 1)
    options.enable_cpu_mem_arena = arena
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _fed(value: Any, array: np.ndarray) -> Any:
    """``array`` as the graph's input ``value`` wants it; extents with a name are free."""
    import onnxruntime

    expected = tuple(value.shape)
    fits = len(expected) == array.ndim and all(
        isinstance(extent, str) or extent == found
        for extent, found in zip(expected, array.shape, strict=False)
    )
    if not fits:
        raise InputError(f"input {value.name}", f"shape {array.shape}", str(expected))
    fed = np.ascontiguousarray(array, dtype=TYPES[value.type])
    return onnxruntime.OrtValue.ortvalue_from_numpy(fed)
