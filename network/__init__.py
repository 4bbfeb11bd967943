"""What a network is, as data; the official stages, and any other that is registered.

A third network is a ``Network`` of its own rows, made known by ``register``: everything else in the
project reads these rows, and knows no network by its names or sizes (``docs/architecture.md``).

The public names below are imported as they are used, so that importing the package is immediate.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from network.description import Network
    from network.layout import Layout
    from network.program import Program, call, trace
    from network.registry import names, network_of, register, registered
    from network.taps import TapRow
    from network.weights import WeightRow

__all__ = [
    "Layout",
    "Network",
    "Program",
    "TapRow",
    "WeightRow",
    "call",
    "names",
    "network_of",
    "register",
    "registered",
    "trace",
]

_HOMES = {
    "Layout": "network.layout",
    "Network": "network.description",
    "Program": "network.program",
    "TapRow": "network.taps",
    "WeightRow": "network.weights",
    "call": "network.program",
    "names": "network.registry",
    "network_of": "network.registry",
    "register": "network.registry",
    "registered": "network.registry",
    "trace": "network.program",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
