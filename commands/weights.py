"""Weights on the command line: reading them with what a person should know, and writing them."""

from pathlib import Path

from commands.console import tell
from weight_conversion.formats import WeightSet, load_weights, save_weights


def read_weights(path: Path) -> WeightSet:
    """The weights in a file; notes about how they were read go to stderr.

    Raises:
        InputError: see ``load_weights``.
    """
    weights = load_weights(path)
    tell(f"{path}: {note}" for note in weights.notes)
    return weights


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
