"""Writing weights in every format, the ONNX graph included."""

from pathlib import Path

from weight_conversion.formats import WeightSet, save_weights


def write_weights(destination: Path, weights: WeightSet) -> None:
    """Write ``weights`` in the format of the destination's ending.

    An ``.onnx`` file is the whole network with the weights inside, which only the torch
    implementation can write; all other formats are plain containers.
    """
    if destination.suffix.lower() == ".onnx":
        from torch_impl.onnx_export import export

        export(weights, destination)
        return
    save_weights(destination, weights)
