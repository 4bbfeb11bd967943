"""Pieces of the exported graph, run on inputs of a test's own."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")

from torch_impl.onnx_writer import GraphWriter  # noqa: E402 - it imports onnx


def evaluated(
    build: Callable[[GraphWriter], list[str]],
    feeds: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray] | None = None,
) -> list[np.ndarray]:
    """The values that ``build`` returns of a graph with the inputs ``feeds``."""
    graph = GraphWriter(weights or {})
    for name, array in feeds.items():
        graph.input(name, array.dtype.type, array.shape)
    found = build(graph)
    for name in found:
        graph.describe(name, np.float32, ())
    model = graph.model(found, pruned=True, metadata={}, text="")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    read = {value.name for value in session.get_inputs()}
    results: list[np.ndarray] = session.run(found, {k: v for k, v in feeds.items() if k in read})
    return results
