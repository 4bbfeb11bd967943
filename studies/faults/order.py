"""In which order results of a run are gone through, so that one is the first that differs."""

from network.registry import network_of


def gradient_order(stage: str) -> tuple[str, ...]:
    """Checkpoint keys as the gradient reaches them, from the loss back to the input ``mesh``.

    Layers come last to first, the variables of a layer in the table's order. The image network,
    which every block reads, comes after all blocks.
    """
    network = network_of(stage)
    layers: dict[str, list[str]] = {}
    for row in network.variables:
        layers.setdefault(network.readers[row.key].name, []).append(row.key)
    backwards = list(reversed(layers))
    backwards.sort(key=lambda layer: network.row(layer).is_map)
    return (*(key for layer in backwards for key in layers[layer]), "mesh")


def step_order(stage: str) -> tuple[str, ...]:
    """Checkpoint keys in the order of the network: a step changes all of them at once."""
    return tuple(row.key for row in network_of(stage).variables)
