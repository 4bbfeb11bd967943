"""In which order results of a run are gone through, so that one is the first that differs."""

from network.layout import Layout
from network.weights import WEIGHTS


def gradient_order(stage: str) -> tuple[str, ...]:
    """Checkpoint keys as the gradient reaches them, from the loss back to the input ``mesh``.

    Layers come last to first, the variables of a layer in the table's order. The image network,
    which every block reads, comes after all blocks.
    """
    layers: dict[str, list[str]] = {}
    for row in WEIGHTS[stage]:
        layers.setdefault(row.torch_key.rpartition(".")[0], []).append(row.key)
    convolutions = {row.torch_key.rpartition(".")[0] for row in WEIGHTS[stage]
                    if row.torch_key.startswith("cnn.") and row.layout is Layout.CONV}  # fmt: skip
    backwards = list(reversed(layers))
    graph = [layer for layer in backwards if layer not in convolutions]
    image = [layer for layer in backwards if layer in convolutions]
    return (*(key for layer in graph + image for key in layers[layer]), "mesh")


def step_order(stage: str) -> tuple[str, ...]:
    """Checkpoint keys in the order of the network: a step changes all of them at once."""
    return tuple(row.key for row in WEIGHTS[stage])
