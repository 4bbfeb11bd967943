"""What a network is, as data; the official stages, and any other that is registered.

A third network is a ``Network`` of its own rows, made known by ``register``: everything else in the
project reads these rows, and knows no network by its names or sizes.
"""

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
