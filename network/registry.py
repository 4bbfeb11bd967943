"""Networks by the names that traces have in their ``stage``."""

from network.description import Network
from network.levels import VERTICES
from network.losses import LOSSES
from network.taps import BLOCK_TAPS, TAPS
from network.weights import WEIGHTS

_LEVELS = {"coarse": (0, 1, 2), "refine": (2, 2)}
_NETWORKS: dict[str, Network] = {}


def register(network: Network) -> Network:
    """Make a network known under its name.

    Raises:
        ValueError: another network has the name.
    """
    if _NETWORKS.setdefault(network.name, network) is not network:
        raise ValueError(f"another network is called {network.name}")
    return network


def unregister(name: str) -> None:
    """Forget a network, as a test does with its own."""
    del _NETWORKS[name]


def network_of(name: str) -> Network:
    """The network of a name.

    Raises:
        KeyError: no network has the name.
    """
    return _NETWORKS[name]


def names() -> tuple[str, ...]:
    """The names of all known networks, the official ones first."""
    return tuple(_NETWORKS)


def _official(name: str) -> Network:
    levels = _LEVELS[name]
    # A stage's input is the template's first level, or the mesh that the coarse stage gives.
    vertices = (VERTICES[levels[0]], *(VERTICES[level] for level in levels))
    return Network(
        name,
        TAPS[name],
        WEIGHTS[name],
        {"images": (3, 224, 224, 3), "cameras": (3, 5), "mesh": (vertices[0], 3)},
        BLOCK_TAPS[name],
        TAPS[name][-1].name,
        vertices,
        levels,
        LOSSES[name],
    )


for _name in TAPS:
    register(_official(_name))
