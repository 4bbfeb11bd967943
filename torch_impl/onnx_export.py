"""The whole network of a stage as one ONNX file that any runtime can run by itself.

The file's inputs are named as the arrays under ``/inputs`` of a trace, so that a trace's inputs can
be fed as they are; its output ``vertices`` is the mesh. Its initializers are the weights by
state-dict key, bit for bit and nothing else, with checksums in the metadata: the file is a weight
format too. All other named
results are inner values, since a runtime computes and keeps every output it is given, and those of
the refine stage take 1.5 GB; to fetch some, append their descriptions to the outputs::

    model = onnx.load("refine.onnx")
    model.graph.output.extend(v for v in model.graph.value_info if v.name == "cnn.conv2d_8")
"""

import importlib.util
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from network.taps import TAPS
from weight_conversion.atomic import replacing
from weight_conversion.containers.contents import writing
from weight_conversion.containers.onnx import metadata_of
from weight_conversion.conversion import to_state_dict
from weight_conversion.errors import InputError
from weight_conversion.files import is_folder
from weight_conversion.formats import WeightSet

OUTPUT = "vertices"


def export(weights: WeightSet, destination: Path) -> None:
    """Write the stage that ``weights`` belong to, in float32, with the weights inside.

    Raises:
        InputError: the weights are not exactly those of their stage, the package ``onnx`` is not
            installed, or the file cannot be written; an existing one is then kept.
    """
    require("onnx", destination)
    if is_folder(destination):
        raise InputError(destination, "a folder", "a file's name")
    state = to_state_dict(weights.stage, weights.arrays)
    metadata = metadata_of(state, weights.stage, weights.step)
    model = _model(weights.stage, state, None, metadata)
    with replacing(destination) as temporary, writing(destination):
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def build_model(
    stage: str,
    arrays: Mapping[str, NDArray[Any]],
    *,
    values: Collection[str] | None = None,
) -> Any:
    """One stage as an ``onnx.ModelProto``.

    Args:
        stage: "coarse" or "refine".
        arrays: the weights by checkpoint key, float32 in checkpoint layout.
        values: taps to be outputs after ``vertices``, everything else left out that
            none of them needs; None for the whole network with ``vertices`` as its only output.

    Raises:
        InputError: the weights are not exactly those of ``stage``.
    """
    return _model(stage, to_state_dict(stage, arrays), values, {})


def _model(
    stage: str,
    state: Mapping[str, NDArray[np.float32]],
    values: Collection[str] | None,
    metadata: Mapping[str, str],
) -> Any:
    """As ``build_model``, of a state dict; ``metadata`` is what the model says of itself."""
    from torch_impl.onnx_network import stage as write_stage
    from torch_impl.onnx_writer import GraphWriter

    graph = GraphWriter(state)
    mesh = write_stage(graph, stage)
    rows = TAPS[stage]
    graph.describe(graph.add("Identity", mesh, name=OUTPUT), np.float32, rows[-1].shape)
    for row in rows:
        graph.describe(row.name, np.float32, row.shape)
    return graph.model(
        [OUTPUT, *(values or ())],
        pruned=values is not None,
        metadata=metadata,
        text=f"The {stage} stage of Pixel2Mesh++ with TensorFlow's semantics, one item a run.",
    )


def require(package: str, where: object) -> None:
    """Raise unless ``package`` is installed.

    Raises:
        InputError: naming the extra that brings it.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            where,
            f"the package {package} is not installed",
            "pip install 'pixel2mesh-parity[onnx]'",
        )
