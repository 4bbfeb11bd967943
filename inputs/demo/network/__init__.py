"""The demo's network: one, overfitted on both items, so that its meshes show a plane and a sofa.

Its image encoder was never trained: it comes from a seed again, and is the same in both stages, as
the official refine stage's starts from the coarse stage's. The coarse stage's graph convolutions
were trained (``p2m-parity demo-network``), the refine stage's are seeded. Both are kept beside this
module, rounded to float16. What is loaded is an ordinary float32 set of weights of the official
network, checked against the digest of the set that was kept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from inputs.files import Float32
from inputs.seeded import seeded_weights
from network.layout import Layout
from network.registry import network_of
from network.weights import WeightRow
from weight_conversion.atomic import replacing
from weight_conversion.errors import InputError
from weight_conversion.weight_set import WeightSet, weights_sha256

ENCODER_SEED = 0
"""Of ``seeded_weights``, whose encoder passes on what distinguishes two images."""
SCHEMA = "p2m-parity-demo-network/1"
_EVEN_SCORES = np.float32(0.05)
_COORDINATES = np.float32(3.0)


def demo_network_path(stage: str) -> Path:
    """The file of a stage's graph convolutions."""
    return Path(__file__).with_name(f"{stage}.safetensors")


def demo_weights(stage: str, path: Path | None = None) -> WeightSet:
    """The demo network's weights of one stage.

    Args:
        stage: the network's name.
        path: a file that ``save_graph_weights`` wrote; the one the project carries by default.

    Raises:
        InputError: the file is missing or damaged, is of another stage, or the weights are not
            those that it was made from: then the encoder came out of the seed differently.
    """
    path = demo_network_path(stage) if path is None else path
    found = _encoder(stage)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, SafetensorError) as error:
        raise InputError(path, "missing or damaged", "the demo's graph weights") from error
    if metadata.get("schema") != SCHEMA or metadata.get("stage") != stage:
        raise InputError(path, f"metadata {metadata}", f"graph weights of the {stage} stage")
    for row in _graph_rows(stage):
        array = kept.get(row.torch_key)
        shape = row.layout.torch_shape(row.shape)
        if array is None or array.shape != shape or array.dtype != np.float16:
            raise InputError(path, f"no float16 {row.torch_key} of shape {shape}", "one")
        found[row.key] = row.layout.to_checkpoint(array.astype(np.float32))
    digest, expected = weights_sha256(found), metadata.get("weights_sha256")
    if digest != expected:
        raise InputError(path, f"weights with the digest {digest}", str(expected))
    return WeightSet(stage, found, int(metadata["step"]), f"demo network, {stage}")


def save_graph_weights(
    path: Path, stage: str, weights: Mapping[str, np.ndarray], step: int, training: Any
) -> None:
    """Keep the graph convolutions of ``weights``, rounded to float16.

    Args:
        path: the file, replaced when the new one is whole.
        stage: the network's name.
        weights: by checkpoint key, in the checkpoint's layout; the encoder is ``start_weights``'.
        step: training steps taken.
        training: how they were made, as JSON takes it; kept in the file for people.

    Raises:
        InputError: a value is beyond float16, or the encoder is not the seed's.
    """
    whole = _encoder(stage)
    for key, array in whole.items():
        if not np.array_equal(array, weights[key]):
            raise InputError(key, "another image encoder", f"that of seed {ENCODER_SEED}")
    kept = {}
    for row in _graph_rows(stage):
        rounded = rounded_to_half(weights[row.key])
        if not np.isfinite(rounded).all():
            raise InputError(row.key, "values beyond float16", "at most 65504")
        kept[row.torch_key] = np.ascontiguousarray(row.layout.to_torch(rounded).astype(np.float16))
        whole[row.key] = rounded
    metadata = {
        "schema": SCHEMA,
        "stage": stage,
        "step": str(step),
        "encoder_seed": str(ENCODER_SEED),
        "weights_sha256": weights_sha256(whole),
        "training": json.dumps(training, sort_keys=True),
    }
    with replacing(path) as temporary:
        save_file(kept, temporary, metadata)


def start_weights(stage: str) -> dict[str, Float32]:
    """What the training starts from: seeded weights with two changes.

    The coarse stage's second and third block see coordinates three times as large: less tells new
    vertices apart. The refine stage's scores are nearly even, so that it leaves its vertices where
    the coarse stage put them but for a hundredth of an edge or so; it is not trained.
    """
    found = dict(seeded_weights(stage, ENCODER_SEED)) | _encoder(stage)
    network = network_of(stage)
    unpooled = {row.name for row in network.of_layer("unpooling")}
    for row in _graph_rows(stage):
        later = network.readers[row.key].parents[0] in unpooled
        if row.layout is Layout.MATRIX and later:
            found[row.key][:3] *= _COORDINATES
        elif row.layout is Layout.MATRIX and row.shape[1] == 1:
            found[row.key] = found[row.key] * _EVEN_SCORES
    return found


def rounded_to_half(array: np.ndarray) -> Float32:
    """The nearest float16 values, as float32."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def _encoder(stage: str) -> dict[str, Float32]:
    """The encoder of seeded coarse weights under the keys of ``stage``."""
    network = network_of(stage)
    first = network.follows or stage
    seeded = seeded_weights(first, ENCODER_SEED)
    coarse = {row.torch_key: row.key for row in network_of(first).variables}
    return {row.key: seeded[coarse[row.torch_key]] for row in network.encoder}


def _graph_rows(stage: str) -> list[WeightRow]:
    network = network_of(stage)
    return [row for row in network.variables if row not in network.encoder]
