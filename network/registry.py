"""Networks by the names that traces have in their ``stage``."""

from collections.abc import Iterator
from contextlib import contextmanager

from network.description import Network
from network.levels import VERTICES
from network.losses import LOSSES
from network.taps import BLOCK_TAPS, TAPS, TapRow
from network.weights import WEIGHTS

_LEVELS = {"coarse": (0, 1, 2), "refine": (2, 2)}
_TRAINING = {"coarse": (1e-5, 3 * 9.3e-4), "refine": (2e-5, 3 * 1.1e-3)}
_GRAPHS = {
    "coarse": "coarse_mvp2m/meshnetmvp2m.ckpt-50.meta",
    "refine": "refine_p2mpp/meshnet.ckpt-10.meta",
}
_NETWORKS: dict[str, Network] = {}


def register(network: Network) -> Network:
    """Make a network known under its name.

    Raises:
        ValueError: another network has the name, or its rows do not fit each other.
    """
    network.check()
    if _NETWORKS.setdefault(network.name, network) is not network:
        raise ValueError(f"another network is called {network.name}")
    return network


@contextmanager
def registered(network: Network) -> Iterator[Network]:
    """A network that is known under its name within a block.

    Raises:
        ValueError: another network has the name.
    """
    before = _NETWORKS.get(network.name)
    register(network)
    try:
        yield network
    finally:
        if before is None:
            del _NETWORKS[network.name]


def network_of(name: str) -> Network:
    """The network of a name.

    Raises:
        KeyError: no network has the name.
    """
    return _NETWORKS[name]


def taps_of(name: str) -> tuple[TapRow, ...]:
    """The taps of a network, in the order of computation; none where nobody knows it."""
    return _NETWORKS[name].taps if name in _NETWORKS else ()


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
        "coarse" if name == "refine" else None,
        *_TRAINING[name],
        _GRAPHS[name],
    )


for _name in TAPS:
    register(_official(_name))
